"""GPT-2: LayerNorm, learned positions, biases everywhere, matrices stored (inputs, outputs).

Source: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", section 2.3.
"""

from __future__ import annotations

from llmctl.core.errors import DataError
from llmctl.core.language_model.families.config_fields import count, flag, number, require
from llmctl.core.language_model.families.decoder_fields import activation, num_layers
from llmctl.core.language_model.families.family import Config, Family
from llmctl.core.model.architecture import Architecture, Layer, Norm

_LAYER = "transformer.h.#"
_MATRICES = {
    "blocks.#.attention.qkv.weight": f"{_LAYER}.attn.c_attn.weight",
    "blocks.#.attention.output.weight": f"{_LAYER}.attn.c_proj.weight",
    "blocks.#.mlp.up.weight": f"{_LAYER}.mlp.c_fc.weight",
    "blocks.#.mlp.down.weight": f"{_LAYER}.mlp.c_proj.weight",
}
_NAMES = {
    **_MATRICES,
    "embedding.weight": "transformer.wte.weight",
    "position_table.weight": "transformer.wpe.weight",
    "blocks.#.attention_norm.gain": f"{_LAYER}.ln_1.weight",
    "blocks.#.attention_norm.bias": f"{_LAYER}.ln_1.bias",
    "blocks.#.attention.qkv.bias": f"{_LAYER}.attn.c_attn.bias",
    "blocks.#.attention.output.bias": f"{_LAYER}.attn.c_proj.bias",
    "blocks.#.mlp_norm.gain": f"{_LAYER}.ln_2.weight",
    "blocks.#.mlp_norm.bias": f"{_LAYER}.ln_2.bias",
    "blocks.#.mlp.up.bias": f"{_LAYER}.mlp.c_fc.bias",
    "blocks.#.mlp.down.bias": f"{_LAYER}.mlp.c_proj.bias",
    "final_norm.gain": "transformer.ln_f.weight",
    "final_norm.bias": "transformer.ln_f.bias",
    "output.weight": "lm_head.weight",
}


def read(config: Config) -> Architecture:
    """Return the architecture that a config.json describes; raises DataError."""
    require(config, "quantization_config", None)
    require(config, "add_cross_attention", False)
    width, num_heads = count(config, "n_embd", 768), count(config, "n_head", 12)
    if width % num_heads:
        raise DataError(f"config.json: n_embd {width} is no multiple of n_head {num_heads}")
    head_width = width // num_heads
    scale = head_width**-0.5 if flag(config, "scale_attn_weights", True) else 1.0
    is_divided = flag(config, "scale_attn_by_inverse_layer_idx", False)
    layers = num_layers({"n_layer": 12, **config}, "n_layer")
    return Architecture(
        vocab_size=count(config, "vocab_size", 50257),
        width=width,
        num_heads=num_heads,
        num_key_value_heads=num_heads,
        head_width=head_width,
        mlp_width=count(config, "n_inner", 4 * width),
        context_tokens=count(config, "n_positions", count(config, "n_ctx", 1024)),
        layers=tuple(
            Layer(scale / (index + 1) if is_divided else scale) for index in range(layers)
        ),
        norm=Norm(number(config, "layer_norm_epsilon", 1e-5), kind="layer"),
        tie_embeddings=flag(config, "tie_word_embeddings", True),
        activation=activation(config, "activation_function", "gelu_new"),
        has_gate=False,
        query_key_value_bias=True,
        attention_output_bias=True,
        mlp_bias=True,
        has_position_table=True,
    )


FAMILY = Family(
    "gpt2",
    "GPT2LMHeadModel",
    _NAMES,
    read,
    transposed=frozenset(_MATRICES),
    optional_prefix="transformer.",
    ignored=r".*\.attn\.(bias|masked_bias)",
)
