"""OLMo 2: norms after attention and MLP alone; queries and keys normalised over their width.

Source: OLMo Team 2024, "2 OLMo 2 Furious", section 2.
"""

from __future__ import annotations

from typing import Any

from llmctl.core.language_model.families import llama
from llmctl.core.language_model.families.config_fields import flag
from llmctl.core.language_model.families.decoder_fields import decoder_fields, num_layers
from llmctl.core.language_model.families.family import Config, Family
from llmctl.core.language_model.families.rotary_fields import read_rotary
from llmctl.core.model.architecture import Architecture, Layer

NAMES = {
    **llama.NAMES,
    **llama.HEAD_NORM_NAMES,
    "blocks.#.attention_post_norm.gain": "model.layers.#.post_attention_layernorm.weight",
    "blocks.#.mlp_post_norm.gain": "model.layers.#.post_feedforward_layernorm.weight",
}


def olmo_fields(config: Config) -> dict[str, Any]:
    """Return an architecture's fields that OLMo 2 and 3 share; raises DataError."""
    has_bias = flag(config, "attention_bias", False)
    return decoder_fields(config, default_epsilon=1e-5) | {
        "norms_before": False,
        "norms_after": True,
        "query_key_norm": "width",
        "query_key_value_bias": has_bias,
        "attention_output_bias": has_bias,
    }


def read(config: Config) -> Architecture:
    """Return the architecture that a config.json describes; raises DataError."""
    fields = olmo_fields(config)
    layer = Layer(fields["head_width"] ** -0.5, read_rotary(config, fields["head_width"]))
    return Architecture(**fields, layers=(layer,) * num_layers(config))


FAMILY = Family("olmo2", "Olmo2ForCausalLM", NAMES, read)
