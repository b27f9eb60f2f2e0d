"""Qwen3-MoE: a Qwen3 with many MLPs in a layer, of which each token passes through a few.

Source: Qwen Team 2025, "Qwen3 Technical Report", section 2.
"""

from __future__ import annotations

from llmctl.core.errors import DataError
from llmctl.core.language_model.families import llama
from llmctl.core.language_model.families.config_fields import count, flag, optional_count
from llmctl.core.language_model.families.decoder_fields import decoder_fields, num_layers
from llmctl.core.language_model.families.family import Config, Family
from llmctl.core.language_model.families.rotary_fields import read_rotary
from llmctl.core.model.architecture import Architecture, Experts, Layer

_MLP = "model.layers.#.mlp"
_NAMES = {
    **llama.NAMES,
    **llama.HEAD_NORM_NAMES,
    "blocks.#.experts.router.weight": f"{_MLP}.gate.weight",
    "blocks.#.experts.#.gate.weight": f"{_MLP}.experts.#.gate_proj.weight",
    "blocks.#.experts.#.up.weight": f"{_MLP}.experts.#.up_proj.weight",
    "blocks.#.experts.#.down.weight": f"{_MLP}.experts.#.down_proj.weight",
}


def read(config: Config) -> Architecture:
    """Return the architecture that a config.json describes; raises DataError."""
    fields = decoder_fields(config, default_key_value_heads=4)
    width, has_bias = fields["head_width"], flag(config, "attention_bias", False)
    rotary, experts = read_rotary(config, width), _experts(config)
    window = None
    if flag(config, "use_sliding_window", False):
        window = optional_count(config, "sliding_window", 4096)
    dense, step = _dense_layers(config), count(config, "decoder_sparse_step", 1)
    return Architecture(
        **fields,
        layers=tuple(
            Layer(
                width**-0.5,
                rotary,
                window,
                experts if index not in dense and (index + 1) % step == 0 else None,
            )
            for index in range(num_layers(config))
        ),
        query_key_norm="head",
        query_key_value_bias=has_bias,
        attention_output_bias=has_bias,
    )


def _experts(config: Config) -> Experts:
    # transformers 5 writes the second name.
    name = "num_experts" if "num_experts" in config else "num_local_experts"
    num_experts = count(config, name, 128)
    num_chosen = count(config, "num_experts_per_tok", 8)
    if num_chosen > num_experts:
        raise DataError(f"config.json: num_experts_per_tok: {num_chosen} of {num_experts} experts")
    return Experts(
        num_experts,
        num_chosen,
        count(config, "moe_intermediate_size", 768),
        flag(config, "norm_topk_prob", False),
    )


def _dense_layers(config: Config) -> frozenset[int]:
    layers = config.get("mlp_only_layers") or []
    if not isinstance(layers, list) or not all(isinstance(layer, int) for layer in layers):
        raise DataError("config.json: mlp_only_layers: expected a list of layers' numbers")
    return frozenset(layers)


FAMILY = Family(
    "qwen3_moe",
    "Qwen3MoeForCausalLM",
    _NAMES,
    read,
    renamed={"num_local_experts": "num_experts"},
)
