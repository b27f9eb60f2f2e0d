"""The config.json of an exported model: what it says, in words that old and new readers know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmctl.core.language_model.families.decoder_fields import FULL_ATTENTION, SLIDING_ATTENTION
from llmctl.core.language_model.families.family import Config, Family
from llmctl.core.language_model.families.rotary_fields import PLAIN
from llmctl.core.model.architecture import Architecture

# A path on the machine of whoever wrote it.
_DROPPED = ("_name_or_path",)
# Kinds of scaling that transformers knew before it renamed `type` to `rope_type`: what is
# younger than 4.43 reads both, what is older the first only, and then no key beyond its own.
_OLD_KINDS = ("linear", "dynamic", "yarn", "longrope")
_NEW_NAMES = {"su": "longrope"}
_ORIGINAL_CONTEXT = "original_max_position_embeddings"


def exported_config(
    config: Config, family: Family, architecture: Architecture, dtype: str
) -> dict[str, Any]:
    """Return the config.json to be written beside the tensors.

    The fields of the original stay; those that only some readers look for are added. None
    that would make it another architecture is.

    Args:
        config: The original.
        family: Its family.
        architecture: What the original describes.
        dtype: Of the tensors, e.g. bfloat16.
    """
    kept = {name: value for name, value in config.items() if name not in _DROPPED}
    written = {
        **kept,
        "architectures": [family.architecture],
        # transformers 5 reads the first, older readers the second.
        "dtype": dtype,
        "torch_dtype": dtype,
        "tie_word_embeddings": architecture.tie_embeddings,
    }
    if architecture.has_position_table:
        # llama.cpp's converter reads the second, which transformers no longer writes.
        written |= dict.fromkeys(("n_positions", "n_ctx"), architecture.context_tokens)
    for names in family.renamed.items():
        found = [config[name] for name in names if name in config]
        written |= dict.fromkeys(names, found[-1]) if found else {}
    for addition in _rotary_spellings(config, family, architecture):
        if family.read({**written, **addition}) == architecture:
            written |= addition
    return written


def _rotary_spellings(
    config: Config, family: Family, architecture: Architecture
) -> list[dict[str, Any]]:
    """Return rotary positions as transformers 5 spells them, then the spellings of 4."""
    bases: dict[str, float] = {}
    for layer in architecture.layers:
        if layer.rotary is not None:
            kind = FULL_ATTENTION if layer.window is None else SLIDING_ATTENTION
            bases[kind] = layer.rotary.base
    if not bases:
        return []
    new, old = (_object(config.get(name)) for name in ("rope_parameters", "rope_scaling"))
    if not family.has_rotary_by_kind:
        base = next(iter(bases.values()))
        parameters = _named({**(old or new), "rope_theta": base})
        return [{"rope_parameters": parameters}, _old_spelling(parameters, config)]
    by_kind: dict[str, dict[str, Any]] = {}
    for kind, base in bases.items():
        scaling = old if kind == FULL_ATTENTION else {}
        by_kind[kind] = _named({**_object(new.get(kind)), "rope_theta": base, **scaling})
    spellings: list[dict[str, Any]] = [{"rope_parameters": {**new, **by_kind}}]
    if FULL_ATTENTION in by_kind:
        spellings.append(_old_spelling(by_kind[FULL_ATTENTION], config, old_kinds=()))
    if SLIDING_ATTENTION in bases and family.old_window_base is not None:
        spellings.append({family.old_window_base: bases[SLIDING_ATTENTION]})
    return spellings


def _object(value: object) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def _named(parameters: Config) -> dict[str, Any]:
    """Return the parameters with their kind under its present name."""
    kind = parameters.get("rope_type", parameters.get("type", PLAIN))
    rest = {name: value for name, value in parameters.items() if name not in ("rope_type", "type")}
    return {"rope_type": _NEW_NAMES.get(kind, kind), **rest}


def _old_spelling(
    parameters: Config, config: Config, old_kinds: tuple[str, ...] = _OLD_KINDS
) -> dict[str, Any]:
    """Return theta, the share and the scaling as fields of their own.

    Args:
        parameters: In the new spelling.
        config: The original, whose `rope_scaling` stays as it is.
        old_kinds: Those whose kind stands under `type`.
    """
    # Where the config itself has the original context, old readers allow it nowhere else.
    rest = {
        name: value
        for name, value in parameters.items()
        if name != _ORIGINAL_CONTEXT or config.get(name) is None
    }
    spelled: dict[str, Any] = {"rope_theta": rest.pop("rope_theta")}
    share = rest.pop("partial_rotary_factor", None)
    if share is not None:
        spelled["partial_rotary_factor"] = share
    kind = rest.pop("rope_type")
    if kind != PLAIN and not config.get("rope_scaling"):
        spelled["rope_scaling"] = {"type" if kind in old_kinds else "rope_type": kind, **rest}
    return spelled
