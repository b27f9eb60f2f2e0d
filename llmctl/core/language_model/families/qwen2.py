"""Qwen2 and 2.5: a Llama with biases on queries, keys and values, windows in late layers.

Source: Yang et al. 2024, "Qwen2 Technical Report", section 2.2.
"""

from __future__ import annotations

from llmctl.core.language_model.families import llama
from llmctl.core.language_model.families.decoder_fields import decoder_fields, late_windows
from llmctl.core.language_model.families.family import Config, Family
from llmctl.core.language_model.families.rotary_fields import read_rotary
from llmctl.core.model.architecture import Architecture, Layer


def read(config: Config) -> Architecture:
    """Return the architecture that a config.json describes; raises DataError."""
    fields = decoder_fields(config, default_key_value_heads=32)
    width = fields["head_width"]
    rotary = read_rotary(config, width)
    layers = (Layer(width**-0.5, rotary, window) for window in late_windows(config))
    return Architecture(**fields, layers=tuple(layers), query_key_value_bias=True)


FAMILY = Family("qwen2", "Qwen2ForCausalLM", llama.NAMES, read)
