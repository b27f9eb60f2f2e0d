"""Gemma 2: norms around attention and MLP, capped logits, every other layer in a window.

Gains are stored less 1.

Source: Gemma Team 2024, "Gemma 2", section 2.
"""

from __future__ import annotations

import math
from typing import Any

from llmctl.core.errors import DataError
from llmctl.core.language_model.families import llama
from llmctl.core.language_model.families.config_fields import (
    flag,
    number,
    optional_number,
)
from llmctl.core.language_model.families.decoder_fields import (
    FULL_ATTENTION,
    SLIDING_ATTENTION,
    activation,
    decoder_fields,
    num_layers,
    windows,
)
from llmctl.core.language_model.families.family import Config, Family
from llmctl.core.language_model.families.rotary_fields import read_rotary
from llmctl.core.model.architecture import Architecture, Layer, Norm

_LAYER = "model.layers.#"
NAMES = {
    **llama.NAMES,
    "blocks.#.attention_post_norm.gain": f"{_LAYER}.post_attention_layernorm.weight",
    "blocks.#.mlp_norm.gain": f"{_LAYER}.pre_feedforward_layernorm.weight",
    "blocks.#.mlp_post_norm.gain": f"{_LAYER}.post_feedforward_layernorm.weight",
}


def gemma_fields(config: Config) -> dict[str, Any]:
    """Return an architecture's fields that Gemma 2 and 3 share; raises DataError."""
    if config.get("use_bidirectional_attention"):
        raise DataError("config.json: use_bidirectional_attention: a text is read forwards only")
    fields = decoder_fields(
        config, default_key_value_heads=4, default_head_width=256, default_tie=True
    )
    has_bias = flag(config, "attention_bias", False)
    return fields | {
        "norm": Norm(fields["norm"].epsilon, gain_offset=1.0),
        "activation": activation(config, "hidden_activation", "gelu_pytorch_tanh"),
        "norms_after": True,
        "embedding_scale": math.sqrt(fields["width"]),
        "query_key_value_bias": has_bias,
        "attention_output_bias": has_bias,
    }


def attention_scale(config: Config) -> float:
    """Return what multiplies queries times keys; raises DataError."""
    return number(config, "query_pre_attn_scalar", 256) ** -0.5


def read(config: Config) -> Architecture:
    """Return the architecture that a config.json describes; raises DataError."""
    fields = gemma_fields(config)
    rotary, scale = read_rotary(config, fields["head_width"]), attention_scale(config)
    layers = num_layers(config)
    types = [FULL_ATTENTION if index % 2 else SLIDING_ATTENTION for index in range(layers)]
    return Architecture(
        **fields,
        layers=tuple(Layer(scale, rotary, window) for window in windows(config, types)),
        attention_softcap=optional_number(config, "attn_logit_softcapping", 50.0),
        logit_softcap=optional_number(config, "final_logit_softcapping", 30.0),
    )


FAMILY = Family("gemma2", "Gemma2ForCausalLM", NAMES, read)
