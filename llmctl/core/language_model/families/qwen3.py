"""Qwen3: RMSNorm, rotary positions, grouped queries with QK-norm, SwiGLU, no biases.

Source: Qwen Team 2025, "Qwen3 Technical Report", section 2.
"""

from __future__ import annotations

from typing import Any

import pydantic

from llmctl.core.errors import DataError
from llmctl.core.language_model.families import config_fields
from llmctl.core.language_model.families.family import Config, Family
from llmctl.core.recipe import ModelShape

_DEFAULT_HEAD_WIDTH = 128
_DEFAULT_NORM_EPSILON = 1e-6
_LONGEST_CONTEXT_TOKENS = 2**31 - 1
_FULL_ATTENTION = "full_attention"


def shape_from_config(config: Config) -> tuple[ModelShape, int]:
    """Return the shape and the vocabulary size that a config.json describes.

    Raises:
        DataError: A field is missing or not of its kind, or asks for what is not computed.
    """
    config_fields.require(config, "hidden_act", "silu")
    config_fields.require(config, "attention_bias", False)
    config_fields.require(config, "use_sliding_window", False)
    config_fields.require(config, "quantization_config", None)
    layer_types = config.get("layer_types") or [_FULL_ATTENTION]
    if not isinstance(layer_types, list) or set(map(str, layer_types)) != {_FULL_ATTENTION}:
        raise DataError(
            f"config.json: layer_types: only {_FULL_ATTENTION!r} can be computed yet, "
            f"found {layer_types!r}"
        )
    num_heads = config_fields.count(config, "num_attention_heads")
    fields: dict[str, Any] = {
        "num_layers": config_fields.count(config, "num_hidden_layers"),
        "width": config_fields.count(config, "hidden_size"),
        "num_heads": num_heads,
        "num_key_value_heads": config_fields.count(config, "num_key_value_heads", num_heads),
        "head_width": config_fields.count(config, "head_dim", _DEFAULT_HEAD_WIDTH),
        "mlp_width": config_fields.count(config, "intermediate_size"),
        "context_tokens": config_fields.count(
            config, "max_position_embeddings", largest=_LONGEST_CONTEXT_TOKENS
        ),
        "tie_embeddings": config_fields.flag(config, "tie_word_embeddings", default=False),
        "rotary_base": config_fields.rotary_base(config),
        "norm_epsilon": config_fields.number(config, "rms_norm_eps", _DEFAULT_NORM_EPSILON),
    }
    try:
        return ModelShape(**fields), config_fields.count(config, "vocab_size")
    except pydantic.ValidationError as error:
        item = error.errors()[0]
        field = ".".join(str(part) for part in item["loc"])
        raise DataError(f"config.json: {field}: {item['msg']}, found {item['input']!r}") from error


def config_from_shape(shape: ModelShape) -> dict[str, Any]:
    """Return the fields of config.json that describe a shape."""
    return {
        "hidden_size": shape.width,
        "intermediate_size": shape.mlp_width,
        "num_hidden_layers": shape.num_layers,
        "num_attention_heads": shape.num_heads,
        "num_key_value_heads": shape.num_key_value_heads,
        "head_dim": shape.head_width,
        "hidden_act": "silu",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "use_sliding_window": False,
        "max_position_embeddings": shape.context_tokens,
        "rms_norm_eps": shape.norm_epsilon,
        # transformers 5 reads the first, older readers and llama.cpp's converter the second.
        "rope_parameters": {"rope_type": "default", "rope_theta": shape.rotary_base},
        "rope_theta": shape.rotary_base,
        "tie_word_embeddings": shape.tie_embeddings,
        "use_cache": True,
    }


FAMILY = Family(
    model_type="qwen3",
    architecture="Qwen3ForCausalLM",
    tensor_names={
        "embedding.weight": "model.embed_tokens.weight",
        "blocks.{layer}.attention_norm.gain": "model.layers.{layer}.input_layernorm.weight",
        "blocks.{layer}.attention.query.weight": "model.layers.{layer}.self_attn.q_proj.weight",
        "blocks.{layer}.attention.key.weight": "model.layers.{layer}.self_attn.k_proj.weight",
        "blocks.{layer}.attention.value.weight": "model.layers.{layer}.self_attn.v_proj.weight",
        "blocks.{layer}.attention.output.weight": "model.layers.{layer}.self_attn.o_proj.weight",
        "blocks.{layer}.attention.query_norm.gain": "model.layers.{layer}.self_attn.q_norm.weight",
        "blocks.{layer}.attention.key_norm.gain": "model.layers.{layer}.self_attn.k_norm.weight",
        "blocks.{layer}.mlp_norm.gain": "model.layers.{layer}.post_attention_layernorm.weight",
        "blocks.{layer}.mlp.gate.weight": "model.layers.{layer}.mlp.gate_proj.weight",
        "blocks.{layer}.mlp.up.weight": "model.layers.{layer}.mlp.up_proj.weight",
        "blocks.{layer}.mlp.down.weight": "model.layers.{layer}.mlp.down_proj.weight",
        "final_norm.gain": "model.norm.weight",
        "output.weight": "lm_head.weight",
    },
    output_name="lm_head.weight",
    shape_from_config=shape_from_config,
    config_from_shape=config_from_shape,
)
