"""Reading rotary positions from a config.json, in the spelling of transformers 5 or 4."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from reprlib import repr as shortened
from typing import Any

from llmctl.core.errors import DataError
from llmctl.core.language_model.families.config_fields import count, flag, number, numbers
from llmctl.core.language_model.families.family import Config
from llmctl.core.model.rotary import Rotary
from llmctl.core.model.rotary_scaling import (
    DynamicScaling,
    LinearScaling,
    Llama3Scaling,
    LongRopeScaling,
    RotaryScaling,
    YarnScaling,
)

PLAIN = "default"
_LONGEST_TOKENS = 2**31 - 1
_YARN_TURNS = (32.0, 1.0)


def read_rotary(
    config: Config,
    head_width: int,
    *,
    default_base: float = 10_000.0,
    parameters: Mapping[str, Any] | None = None,
) -> Rotary:
    """Return a model's rotary positions.

    Args:
        config: config.json.
        head_width: K.
        default_base: Theta where the config names none.
        parameters: Those of one kind of layers, where there are several; by default the
            config's `rope_scaling` (the old spelling) or `rope_parameters` (the new).

    Raises:
        DataError: A field is missing or not of its kind, or the scaling is unknown.
    """
    found = rotary_parameters(config) if parameters is None else parameters
    base = number(
        found if found.get("rope_theta") is not None else config, "rope_theta", default_base
    )
    if base <= 1:  # all would turn alike, and the logarithm of 1 divides in YaRN
        raise DataError(f"config.json: rope_theta: expected more than 1, found {base:g}")
    kind = found.get("rope_type", found.get("type", PLAIN))
    if not isinstance(kind, str) or kind not in _SCALINGS:
        known = ", ".join(_SCALINGS)
        raise DataError(
            f"config.json: unknown rope_type {shortened(kind)}; expected one of {known}"
        )
    share_holder = found if "partial_rotary_factor" in found else config
    share = number(share_holder, "partial_rotary_factor", 1.0)
    num_dimensions = int(head_width * share)
    if share > 1 or num_dimensions < 2 or num_dimensions % 2:
        raise DataError(
            f"config.json: partial_rotary_factor {share:g} of a head of {head_width} leaves "
            f"{num_dimensions} dimensions; expected an even number from 2 to {head_width}"
        )
    return Rotary(base, num_dimensions, _SCALINGS[kind](found, config, num_dimensions))


def layer_rotaries(
    config: Config, head_width: int, base: float, window_base: float
) -> tuple[Rotary, Rotary]:
    """Return the rotary positions of layers that see all and of those in a window.

    The new spelling has an object for each; what the old one says of scaling is meant for
    the layers that see all.

    Args:
        config: config.json.
        head_width: K.
        base: Theta of layers that see all, where their object names none.
        window_base: Likewise of layers in a window.

    Raises:
        DataError: A field is not of its kind, or a scaling is unknown.
    """
    new, old = config.get("rope_parameters") or {}, config.get("rope_scaling") or {}
    if not isinstance(new, dict) or not isinstance(old, dict):
        raise DataError("config.json: rope_parameters and rope_scaling: expected objects")
    found: list[Rotary] = []
    for kind, theta in (("full_attention", base), ("sliding_attention", window_base)):
        parameters = new.get(kind) or {}
        if not isinstance(parameters, dict):
            raise DataError(f"config.json: rope_parameters: {kind}: expected an object")
        named = {"rope_type": PLAIN, "rope_theta": theta, **parameters}
        if kind == "full_attention":
            named |= old
        found.append(read_rotary(config, head_width, parameters=named))
    return found[0], found[1]


def rotary_parameters(config: Config) -> Mapping[str, Any]:
    """Return the object that describes rotary positions; an empty one where there is none.

    Raises:
        DataError: It is no object.
    """
    parameters = config.get("rope_scaling") or config.get("rope_parameters") or {}
    if not isinstance(parameters, dict):
        raise DataError(
            f"config.json: rope_parameters: expected an object, found {shortened(parameters)}"
        )
    return parameters


def context_tokens(config: Config, default: int | None = None) -> int:
    """Return `max_position_embeddings`, times the factor where the base grows with the text.

    Raises:
        DataError: It is missing without a default, or not of its kind.
    """
    tokens = count(config, "max_position_embeddings", default, largest=_LONGEST_TOKENS)
    parameters = rotary_parameters(config)
    if parameters.get("rope_type", parameters.get("type")) == "dynamic":
        tokens = min(int(tokens * number(parameters, "factor")), _LONGEST_TOKENS)
    return tokens


def _plain(_parameters: Config, _config: Config, _num_dimensions: int) -> RotaryScaling:
    return RotaryScaling()


def _linear(parameters: Config, _config: Config, _num_dimensions: int) -> RotaryScaling:
    return LinearScaling(factor=number(parameters, "factor"))


def _dynamic(parameters: Config, config: Config, num_dimensions: int) -> RotaryScaling:
    if num_dimensions == 2:
        raise DataError("config.json: rope_type 'dynamic' needs more than 2 rotated dimensions")
    original = count(config, "max_position_embeddings", largest=_LONGEST_TOKENS)
    return DynamicScaling(factor=number(parameters, "factor"), original_context_tokens=original)


def _llama3(parameters: Config, config: Config, _num_dimensions: int) -> RotaryScaling:
    low, high = (number(parameters, f"{name}_freq_factor") for name in ("low", "high"))
    if low >= high:
        raise DataError(
            f"config.json: low_freq_factor {low:g} is not below high_freq_factor {high:g}"
        )
    return Llama3Scaling(
        factor=number(parameters, "factor"),
        low_frequency_factor=low,
        high_frequency_factor=high,
        original_context_tokens=_original_tokens(parameters, config),
    )


def _yarn(parameters: Config, config: Config, _num_dimensions: int) -> RotaryScaling:
    original = _original_tokens(parameters, config)
    factor = _factor(parameters, config, original)
    fast, slow = (
        number({name: parameters.get(name) or default}, name)
        for name, default in zip(("beta_fast", "beta_slow"), _YARN_TURNS, strict=True)
    )
    attention_factor = parameters.get("attention_factor")
    if attention_factor is None:
        numerator, denominator = parameters.get("mscale"), parameters.get("mscale_all_dim")
        if numerator and denominator:
            attention_factor = _magnitude(factor, number(parameters, "mscale")) / _magnitude(
                factor, number(parameters, "mscale_all_dim")
            )
        else:
            attention_factor = _magnitude(factor, 1.0)
    # transformers looks for it beside the kinds of layers, not in one of them.
    truncate = flag(rotary_parameters(config), "truncate", True)
    return YarnScaling(
        attention_factor=number({"attention_factor": attention_factor}, "attention_factor"),
        factor=factor,
        fast_turns=fast,
        slow_turns=slow,
        original_context_tokens=original,
        is_truncated=truncate,
    )


def _magnitude(factor: float, weight: float) -> float:
    """Peng et al. 2023, "YaRN", equation 22, as a factor of cosines and sines."""
    return 1.0 if factor <= 1 else 0.1 * weight * math.log(factor) + 1.0


def _longrope(parameters: Config, config: Config, num_dimensions: int) -> RotaryScaling:
    original = _original_tokens(parameters, config)
    factor = _factor(parameters, config, original)
    attention_factor = parameters.get("attention_factor")
    if attention_factor is None:
        stretch = 1 + math.log(max(1.0, factor)) / math.log(max(2, original))
        attention_factor = math.sqrt(stretch)
    return LongRopeScaling(
        attention_factor=number({"attention_factor": attention_factor}, "attention_factor"),
        short_factors=numbers(parameters, "short_factor", num_dimensions // 2),
        long_factors=numbers(parameters, "long_factor", num_dimensions // 2),
        original_context_tokens=original,
    )


def _original_tokens(parameters: Config, config: Config) -> int:
    name = "original_max_position_embeddings"
    if config.get(name) is not None:  # Phi-3 keeps it there, and there it has the last word
        return count(config, name, largest=_LONGEST_TOKENS)
    if parameters.get(name) is not None:
        return count(parameters, name, largest=_LONGEST_TOKENS)
    return count(config, "max_position_embeddings", largest=_LONGEST_TOKENS)


def _factor(parameters: Config, config: Config, original: int) -> float:
    context = count(config, "max_position_embeddings", original, largest=_LONGEST_TOKENS)
    return number({"factor": parameters.get("factor")}, "factor", context / original)


_SCALINGS: dict[str, Callable[[Config, Config, int], RotaryScaling]] = {
    PLAIN: _plain,
    "linear": _linear,
    "dynamic": _dynamic,
    "llama3": _llama3,
    "yarn": _yarn,
    "longrope": _longrope,
}
