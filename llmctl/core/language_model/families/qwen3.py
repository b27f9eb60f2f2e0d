"""Qwen3: queries and keys normalised head by head. It is also what `llmctl train` writes.

Source: Qwen Team 2025, "Qwen3 Technical Report", section 2.
"""

from __future__ import annotations

from typing import Any

from llmctl.core.language_model.families import llama
from llmctl.core.language_model.families.config_fields import flag
from llmctl.core.language_model.families.decoder_fields import decoder_fields, late_windows
from llmctl.core.language_model.families.family import Config, Family
from llmctl.core.language_model.families.rotary_fields import read_rotary
from llmctl.core.model.architecture import Architecture, Layer


def read(config: Config) -> Architecture:
    """Return the architecture that a config.json describes; raises DataError."""
    fields = decoder_fields(config, default_key_value_heads=32, default_head_width=128)
    width = fields["head_width"]
    rotary, has_bias = read_rotary(config, width), flag(config, "attention_bias", False)
    return Architecture(
        **fields,
        layers=tuple(Layer(width**-0.5, rotary, window) for window in late_windows(config)),
        query_key_norm="head",
        query_key_value_bias=has_bias,
        attention_output_bias=has_bias,
    )


def write(architecture: Architecture) -> dict[str, Any]:
    """Return the fields of config.json for a model that `llmctl train` made.

    Raises:
        ValueError: It is none: its rotary positions are scaled or differ between layers.
    """
    rotary = architecture.layers[0].rotary
    if rotary is None or architecture != read(_fields(architecture, rotary.base)):
        raise ValueError("only an architecture from a ModelShape can be written")
    return _fields(architecture, rotary.base)


def _fields(architecture: Architecture, base: float) -> dict[str, Any]:
    return {
        "vocab_size": architecture.vocab_size,
        "hidden_size": architecture.width,
        "intermediate_size": architecture.mlp_width,
        "num_hidden_layers": len(architecture.layers),
        "num_attention_heads": architecture.num_heads,
        "num_key_value_heads": architecture.num_key_value_heads,
        "head_dim": architecture.head_width,
        "hidden_act": "silu",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "use_sliding_window": False,
        "max_position_embeddings": architecture.context_tokens,
        "rms_norm_eps": architecture.norm.epsilon,
        # transformers 5 reads the first, older readers and llama.cpp's converter the second.
        "rope_parameters": {"rope_type": "default", "rope_theta": base},
        "rope_theta": base,
        "tie_word_embeddings": architecture.tie_embeddings,
        "use_cache": True,
    }


FAMILY = Family("qwen3", "Qwen3ForCausalLM", {**llama.NAMES, **llama.HEAD_NORM_NAMES}, read, write)
