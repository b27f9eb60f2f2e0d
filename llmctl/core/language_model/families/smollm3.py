"""SmolLM3: a Llama whose every fourth layer knows no positions.

Source: Bakouch et al. 2025, "SmolLM3"; Yang et al. 2025, "Rope to Nope and Back Again".
"""

from __future__ import annotations

from llmctl.core.errors import DataError
from llmctl.core.language_model.families import llama
from llmctl.core.language_model.families.config_fields import count, flag
from llmctl.core.language_model.families.decoder_fields import (
    FULL_ATTENTION,
    SLIDING_ATTENTION,
    decoder_fields,
    num_layers,
    windows,
)
from llmctl.core.language_model.families.family import Config, Family
from llmctl.core.language_model.families.rotary_fields import read_rotary
from llmctl.core.model.architecture import Architecture, Layer

_DEFAULT_BASE = 2_000_000.0
_DEFAULT_INTERVAL = 4


def read(config: Config) -> Architecture:
    """Return the architecture that a config.json describes; raises DataError."""
    fields = decoder_fields(config, default_key_value_heads=4, default_tie=True)
    width, has_bias = fields["head_width"], flag(config, "attention_bias", False)
    rotary = read_rotary(config, width, default_base=_DEFAULT_BASE)
    turning = _turning_layers(config)
    return Architecture(
        **fields,
        layers=tuple(
            Layer(width**-0.5, rotary if turns else None, window)
            for turns, window in zip(turning, _windows(config, turning), strict=True)
        ),
        query_key_value_bias=has_bias,
        attention_output_bias=has_bias,
        mlp_bias=flag(config, "mlp_bias", False),
    )


def _turning_layers(config: Config) -> list[bool]:
    layers = num_layers(config)
    interval = count(config, "no_rope_layer_interval", _DEFAULT_INTERVAL)
    found = config.get("no_rope_layers")
    if found is None:
        return [(index + 1) % interval != 0 for index in range(layers)]
    if not isinstance(found, list) or len(found) != layers or not set(found) <= {0, 1}:
        raise DataError(f"config.json: no_rope_layers: expected {layers} numbers, each 0 or 1")
    return list(map(bool, found))


def _windows(config: Config, turning: list[bool]) -> list[int | None]:
    if not flag(config, "use_sliding_window", False):
        return [None] * len(turning)
    types = [FULL_ATTENTION if turns else SLIDING_ATTENTION for turns in turning]
    return windows(config, types, default_window=None)


FAMILY = Family("smollm3", "SmolLM3ForCausalLM", llama.NAMES, read)
