"""What the config.json of nearly every decoder says in the same words."""

from __future__ import annotations

from collections.abc import Sequence
from reprlib import repr as shortened
from typing import Any

from llmctl.core.errors import DataError
from llmctl.core.language_model.families.config_fields import (
    count,
    flag,
    number,
    optional_count,
    require,
)
from llmctl.core.language_model.families.family import Config
from llmctl.core.language_model.families.rotary_fields import context_tokens
from llmctl.core.model.architecture import Activation, Norm

FULL_ATTENTION = "full_attention"
SLIDING_ATTENTION = "sliding_attention"
# Far beyond any model; each is described before the weights are seen.
_MOST_LAYERS = 2**12
ACTIVATIONS: dict[str, Activation] = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}


def decoder_fields(
    config: Config,
    *,
    default_key_value_heads: int | None = None,
    default_head_width: int | None = None,
    default_epsilon: float = 1e-6,
    default_tie: bool = False,
) -> dict[str, Any]:
    """Return an architecture's fields, without its layers.

    Args:
        config: config.json.
        default_key_value_heads: Where the field is missing; None for a key head a query head.
        default_head_width: Where the field is missing; None for width / heads.
        default_epsilon: Of the norms.
        default_tie: Whether embedding and output are one where the field is missing.

    Raises:
        DataError: A field is missing or not of its kind, or asks for what is not computed.
    """
    require(config, "quantization_config", None)
    width, num_heads = count(config, "hidden_size"), count(config, "num_attention_heads")
    fallback = num_heads if "num_key_value_heads" in config else default_key_value_heads
    num_key_value_heads = count(config, "num_key_value_heads", fallback or num_heads)
    if num_heads % num_key_value_heads:
        raise DataError(
            f"config.json: num_key_value_heads: {num_key_value_heads} does not divide "
            f"num_attention_heads, which is {num_heads}"
        )
    head_width = count(config, "head_dim", default_head_width or _whole(width, num_heads))
    if head_width % 2:
        raise DataError(f"config.json: head_dim: expected an even number, found {head_width}")
    return {
        "vocab_size": count(config, "vocab_size"),
        "width": width,
        "num_heads": num_heads,
        "num_key_value_heads": num_key_value_heads,
        "head_width": head_width,
        "mlp_width": count(config, "intermediate_size"),
        "context_tokens": context_tokens(config),
        "norm": Norm(number(config, "rms_norm_eps", default_epsilon)),
        "tie_embeddings": flag(config, "tie_word_embeddings", default_tie),
        "activation": activation(config, "hidden_act", "silu"),
    }


def _whole(width: int, num_heads: int) -> int:
    if width % num_heads:
        raise DataError(
            f"config.json: hidden_size {width} is no multiple of num_attention_heads {num_heads}, "
            "and there is no head_dim"
        )
    return width // num_heads


def activation(config: Config, name: str, default: str) -> Activation:
    """Return a field that names an activation.

    Raises:
        DataError: It is none of those computed.
    """
    value = config.get(name) or default
    if not isinstance(value, str) or value not in ACTIVATIONS:
        known = ", ".join(ACTIVATIONS)
        raise DataError(f"config.json: {name} is {shortened(value)}; expected one of {known}")
    return ACTIVATIONS[value]


def num_layers(config: Config, name: str = "num_hidden_layers") -> int:
    """Return the number of layers; raises DataError."""
    return count(config, name, largest=_MOST_LAYERS)


def windows(
    config: Config, default_types: Sequence[str], default_window: int | None = 4096
) -> list[int | None]:
    """Return each layer's window, or None where it has none.

    Args:
        config: config.json.
        default_types: Of every layer, where `layer_types` is missing.
        default_window: Where `sliding_window` is missing.

    Raises:
        DataError: A field is not of its kind.
    """
    types = config.get("layer_types") or default_types
    known = (FULL_ATTENTION, SLIDING_ATTENTION)
    if not isinstance(types, list) or not all(kind in known for kind in types):
        raise DataError(f"config.json: layer_types: expected a list of {' and '.join(known)}")
    if len(types) != len(default_types):
        raise DataError(
            f"config.json: layer_types: expected {len(default_types)} of them, found {len(types)}"
        )
    window = optional_count(config, "sliding_window", default_window)
    return [window if kind == SLIDING_ATTENTION else None for kind in types]


def late_windows(config: Config) -> list[int | None]:
    """Return each layer's window where `use_sliding_window` and `max_window_layers` say it.

    Raises:
        DataError: A field is not of its kind.
    """
    layers = num_layers(config)
    if not flag(config, "use_sliding_window", False):
        return [None] * layers
    first = config.get("max_window_layers", 28)
    if not isinstance(first, int) or first < 0:
        raise DataError(
            f"config.json: max_window_layers: expected a count, found {shortened(first)}"
        )
    full = min(first, layers)
    return windows(config, [FULL_ATTENTION] * full + [SLIDING_ATTENTION] * (layers - full))
