"""Mistral: a Llama whose every layer may look back through a window only.

Source: Jiang et al. 2023, "Mistral 7B", section 2.
"""

from __future__ import annotations

from llmctl.core.language_model.families import llama
from llmctl.core.language_model.families.config_fields import optional_count
from llmctl.core.language_model.families.decoder_fields import decoder_fields, num_layers
from llmctl.core.language_model.families.family import Config, Family
from llmctl.core.language_model.families.rotary_fields import read_rotary
from llmctl.core.model.architecture import Architecture, Layer

_DEFAULT_WINDOW = 4096


def read(config: Config) -> Architecture:
    """Return the architecture that a config.json describes; raises DataError."""
    fields = decoder_fields(config, default_key_value_heads=8)
    width = fields["head_width"]
    window = optional_count(config, "sliding_window", _DEFAULT_WINDOW)
    layer = Layer(width**-0.5, read_rotary(config, width), window)
    return Architecture(**fields, layers=(layer,) * num_layers(config))


FAMILY = Family("mistral", "MistralForCausalLM", llama.NAMES, read)
