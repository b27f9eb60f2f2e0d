"""Mistral: a Llama whose every layer may look back through a window only.

Source: Jiang et al. 2023, "Mistral 7B", section 2.
"""

from __future__ import annotations

from llmctl.core.language_model.families import llama
from llmctl.core.language_model.families.decoder_fields import (
    SLIDING_ATTENTION,
    decoder_fields,
    num_layers,
    windows,
)
from llmctl.core.language_model.families.family import Config, Family
from llmctl.core.language_model.families.rotary_fields import read_rotary
from llmctl.core.model.architecture import Architecture, Layer


def read(config: Config) -> Architecture:
    """Return the architecture that a config.json describes; raises DataError."""
    fields = decoder_fields(config, default_key_value_heads=8)
    width = fields["head_width"]
    rotary = read_rotary(config, width)
    # Ministral, which says for each layer whether it has a window, goes by this name, too.
    found = windows(config, [SLIDING_ATTENTION] * num_layers(config))
    layers = tuple(Layer(width**-0.5, rotary, window) for window in found)
    return Architecture(**fields, layers=layers)


FAMILY = Family("mistral", "MistralForCausalLM", llama.NAMES, read)
