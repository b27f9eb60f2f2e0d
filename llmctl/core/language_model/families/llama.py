"""Llama 1 to 3, and what is made alike: TinyLlama, SmolLM 1 and 2.

RMSNorm, rotary positions, grouped queries, SwiGLU.

Source: Touvron et al. 2023, "LLaMA", section 2.2; "Llama 2", section 2.1.
"""

from __future__ import annotations

from llmctl.core.language_model.families.config_fields import flag
from llmctl.core.language_model.families.decoder_fields import decoder_fields, num_layers
from llmctl.core.language_model.families.family import Config, Family
from llmctl.core.language_model.families.rotary_fields import read_rotary
from llmctl.core.model.architecture import Architecture, Layer

_LAYER, _ATTENTION, _MLP = (f"model.layers.#{path}" for path in ("", ".self_attn", ".mlp"))
NAMES = {
    "embedding.weight": "model.embed_tokens.weight",
    "blocks.#.attention_norm.gain": f"{_LAYER}.input_layernorm.weight",
    "blocks.#.attention.query.weight": f"{_ATTENTION}.q_proj.weight",
    "blocks.#.attention.key.weight": f"{_ATTENTION}.k_proj.weight",
    "blocks.#.attention.value.weight": f"{_ATTENTION}.v_proj.weight",
    "blocks.#.attention.output.weight": f"{_ATTENTION}.o_proj.weight",
    "blocks.#.attention.query.bias": f"{_ATTENTION}.q_proj.bias",
    "blocks.#.attention.key.bias": f"{_ATTENTION}.k_proj.bias",
    "blocks.#.attention.value.bias": f"{_ATTENTION}.v_proj.bias",
    "blocks.#.attention.output.bias": f"{_ATTENTION}.o_proj.bias",
    "blocks.#.mlp_norm.gain": f"{_LAYER}.post_attention_layernorm.weight",
    "blocks.#.mlp.gate.weight": f"{_MLP}.gate_proj.weight",
    "blocks.#.mlp.up.weight": f"{_MLP}.up_proj.weight",
    "blocks.#.mlp.down.weight": f"{_MLP}.down_proj.weight",
    "blocks.#.mlp.gate.bias": f"{_MLP}.gate_proj.bias",
    "blocks.#.mlp.up.bias": f"{_MLP}.up_proj.bias",
    "blocks.#.mlp.down.bias": f"{_MLP}.down_proj.bias",
    "final_norm.gain": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
HEAD_NORM_NAMES = {
    "blocks.#.attention.query_norm.gain": f"{_ATTENTION}.q_norm.weight",
    "blocks.#.attention.key_norm.gain": f"{_ATTENTION}.k_norm.weight",
}


def read(config: Config) -> Architecture:
    """Return the architecture that a config.json describes; raises DataError."""
    fields = decoder_fields(config)
    has_bias = flag(config, "attention_bias", False)
    layer = Layer(fields["head_width"] ** -0.5, read_rotary(config, fields["head_width"]))
    return Architecture(
        **fields,
        layers=(layer,) * num_layers(config),
        query_key_value_bias=has_bias,
        attention_output_bias=has_bias,
        mlp_bias=flag(config, "mlp_bias", False),
    )


FAMILY = Family("llama", "LlamaForCausalLM", NAMES, read)
