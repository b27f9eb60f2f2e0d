"""Small wrongs, at least one for each thing that a family computes in its own way.

Each is a change of config.json or of a tensor, after which the logits must be others.
"""

import json
import shutil
from dataclasses import dataclass, field
from functools import partial

import safetensors.torch
import torch
from core.language_model.family_cases import (
    FULL,
    LONG_FACTORS,
    ORIGINAL_CONTEXT,
    SHORT_FACTORS,
    SLIDING,
    WINDOW,
)

LAYER = "model.layers.1."
ATTENTION = LAYER + "self_attn."
MLP = LAYER + "mlp."
GPT2_LAYER = "transformer.h.1."


@dataclass(frozen=True)
class Mutant:
    """A case with one thing wrong.

    Attributes:
        case_id: Whose model.
        changes: Fields of config.json, one inside another as "outer.inner"; ... drops one.
        edit: Tensors by name → None, changing them.
    """

    case_id: str
    changes: dict = field(default_factory=dict)
    edit: partial | None = None

    @property
    def name(self):
        if self.edit is None:
            return " ".join([self.case_id, *(f"{key}={self.changes[key]}" for key in self.changes)])
        return " ".join([self.case_id, self.edit.func.__name__, *map(str, self.edit.args)])


def fill(value, name, tensors):
    """Put one value everywhere: a bias dropped, a norm's gain ignored."""
    tensors[name] = torch.full_like(tensors[name], value)


def transpose(name, tensors):
    tensors[name] = tensors[name].T.contiguous()


def swap(one, other, tensors):
    tensors[one], tensors[other] = tensors[other], tensors[one]


def turn_rows(num_rows, name, tensors):
    """Move the parts of a fused matrix into one another's places."""
    tensors[name] = tensors[name].roll(num_rows, 0).contiguous()


def turn_columns(num_columns, name, tensors):
    tensors[name] = tensors[name].roll(num_columns, -1).contiguous()


def scale(factor, name, tensors):
    tensors[name] = tensors[name] * factor


def configs(case_id, **values):
    """One mutant for each value of each field; "__" stands for the dot."""
    return [
        Mutant(case_id, {name.replace("__", "."): value})
        for name, field_values in values.items()
        for value in field_values
    ]


def edits(case_id, *changes):
    return [Mutant(case_id, edit=partial(function, *args)) for function, *args in changes]


def neutral_norms(case_id, gain, *names):
    return edits(case_id, *[(fill, gain, name) for name in (*names, "model.norm.weight")])


def no_biases(case_id, *names):
    return edits(case_id, *[(fill, 0.0, name + ".bias") for name in names])


PRE_NORMS = [LAYER + "input_layernorm.weight", LAYER + "post_attention_layernorm.weight"]
POST_NORMS = [
    LAYER + "post_attention_layernorm.weight",
    LAYER + "post_feedforward_layernorm.weight",
]
HEAD_NORMS = [ATTENTION + "q_norm.weight", ATTENTION + "k_norm.weight"]
SWAPPED_GATE = (swap, MLP + "gate_proj.weight", MLP + "up_proj.weight")
SWAPPED_KEY = (swap, ATTENTION + "k_proj.weight", ATTENTION + "v_proj.weight")
QKV = [ATTENTION + name for name in ("q_proj", "k_proj", "v_proj")]
GATED = [MLP + name for name in ("gate_proj", "up_proj", "down_proj")]

GPT2_MUTANTS = [
    *configs(
        "gpt2",
        layer_norm_epsilon=[2e-3],
        activation_function=["relu", "gelu"],
        scale_attn_by_inverse_layer_idx=[True],
        scale_attn_weights=[False],
    ),
    *configs("gpt2-inverse-layer", scale_attn_by_inverse_layer_idx=[False]),
    *configs("gpt2-unscaled", scale_attn_weights=[True, ...]),
    *configs("gpt2-gelu", activation_function=["gelu_new", ...]),
    *edits(
        "gpt2",
        *[
            (fill, 0.0, GPT2_LAYER + name + ".bias")
            for name in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj", "ln_1", "ln_2")
        ],
        (fill, 0.0, "transformer.ln_f.bias"),
        (fill, 1.0, GPT2_LAYER + "ln_1.weight"),
        (fill, 1.0, GPT2_LAYER + "ln_2.weight"),
        (fill, 1.0, "transformer.ln_f.weight"),
        (transpose, GPT2_LAYER + "attn.c_proj.weight"),
        (turn_columns, 48, GPT2_LAYER + "attn.c_attn.weight"),
        (turn_rows, 1, "transformer.wpe.weight"),
        (fill, 0.0, "transformer.wpe.weight"),
    ),
]
LLAMA_MUTANTS = [
    *configs(
        "llama",
        rope_parameters__rope_theta=[51.0],
        rms_norm_eps=[2e-3],
        hidden_act=["gelu_pytorch_tanh"],
    ),
    *configs("llama-gelu", hidden_act=["gelu", "silu"]),
    *neutral_norms("llama", 1.0, *PRE_NORMS),
    *edits(
        "llama",
        SWAPPED_GATE,
        SWAPPED_KEY,
        (transpose, ATTENTION + "q_proj.weight"),
        (transpose, ATTENTION + "o_proj.weight"),
    ),
    *no_biases("llama-biases", *QKV, ATTENTION + "o_proj", *GATED),
    *configs("llama-linear", rope_parameters__factor=[3.9], rope_parameters__rope_type=["default"]),
    *configs(
        "llama-dynamic",
        rope_parameters__factor=[3.9],
        max_position_embeddings=[ORIGINAL_CONTEXT + 1],
    ),
    *configs(
        "llama-llama3",
        rope_parameters__factor=[7.0],
        rope_parameters__low_freq_factor=[1.1],
        rope_parameters__high_freq_factor=[4.5],
        rope_parameters__original_max_position_embeddings=[30],
    ),
    *configs(
        "llama-yarn",
        rope_parameters__factor=[7.9],
        rope_parameters__attention_factor=[1.0],
        rope_parameters__rope_theta=[51.0],
    ),
    *configs(
        "llama-yarn-betas",
        rope_parameters__beta_fast=[8, ...],
        rope_parameters__beta_slow=[0.02, ...],
        rope_parameters__truncate=[False],
        rope_parameters__original_max_position_embeddings=[2 * ORIGINAL_CONTEXT],
    ),
    *configs("llama-yarn-whole", rope_parameters__truncate=[True, ...]),
    *configs("llama-yarn-factor", rope_parameters__attention_factor=[0.81, ...]),
    *configs(
        "llama-yarn-mscale", rope_parameters__mscale=[0.8, ...], rope_parameters__mscale_all_dim=[1]
    ),
    *configs("llama-old", rope_theta=[51.0], rope_scaling__factor=[3.9], rope_scaling=[None]),
    *configs("llama-old-llama3", rope_scaling__factor=[7.0]),
    *configs("llama-old-yarn", rope_theta=[51.0], rope_scaling__beta_slow=[...]),
]
WINDOWS = [WINDOW - 1, WINDOW + 1]
MISTRAL_MUTANTS = [
    *configs(
        "mistral", sliding_window=[*WINDOWS, None, ...], rms_norm_eps=[2e-3], hidden_act=["gelu"]
    ),
    *neutral_norms("mistral", 1.0, *PRE_NORMS),
    *configs("mistral-old", rope_theta=[51.0, ...], sliding_window=[None]),
]
QWEN2_MUTANTS = [
    *configs("qwen2", rms_norm_eps=[2e-3], rope_parameters__rope_theta=[9000.0]),
    *no_biases("qwen2", *QKV),
    *neutral_norms("qwen2", 1.0, *PRE_NORMS),
    *configs(
        "qwen2-windows", sliding_window=WINDOWS, layer_types=[[FULL] * 3, [SLIDING, SLIDING, FULL]]
    ),
    *configs(
        "qwen2-old",
        max_window_layers=[1, 3],
        use_sliding_window=[False],
        rope_scaling__factor=[7.0],
    ),
]
QWEN3_MUTANTS = [
    *configs("qwen3", rms_norm_eps=[2e-3], rope_parameters__rope_theta=[51.0]),
    *neutral_norms("qwen3", 1.0, *PRE_NORMS, *HEAD_NORMS),
    *edits("qwen3", SWAPPED_GATE, SWAPPED_KEY, (swap, *HEAD_NORMS)),
    *no_biases("qwen3-biases", *QKV, ATTENTION + "o_proj"),
    *configs("qwen3-yarn", rope_parameters__factor=[7.0]),
    *configs("qwen3-windows", sliding_window=WINDOWS, layer_types=[[SLIDING, SLIDING, FULL]]),
    *configs("qwen3-old", max_window_layers=[1], use_sliding_window=[False]),
]
MOE_MUTANTS = [
    *configs(
        "qwen3-moe",
        norm_topk_prob=[False, ...],
        num_experts_per_tok=[2, 4],
        hidden_act=["gelu"],
        rms_norm_eps=[2e-3],
        rope_parameters__rope_theta=[9000.0],
    ),
    *configs("qwen3-moe-unnormalised", norm_topk_prob=[True]),
    *configs("qwen3-moe-window", sliding_window=WINDOWS, use_sliding_window=[False]),
    *neutral_norms("qwen3-moe", 1.0, *PRE_NORMS, *HEAD_NORMS),
    *edits(
        "qwen3-moe",
        (turn_rows, 1, MLP + "gate.weight"),
        (swap, MLP + "experts.4.gate_proj.weight", MLP + "experts.4.up_proj.weight"),
        (swap, MLP + "experts.0.down_proj.weight", MLP + "experts.5.down_proj.weight"),
    ),
]
GEMMA_NORMS = [*PRE_NORMS, LAYER + "pre_feedforward_layernorm.weight", POST_NORMS[1]]
GEMMA2_MUTANTS = [
    *configs(
        "gemma2",
        attn_logit_softcapping=[1.55, None, ...],
        final_logit_softcapping=[4.1, None, ...],
        query_pre_attn_scalar=[16, ...],
        sliding_window=WINDOWS,
        layer_types=[[FULL, SLIDING, FULL, SLIDING]],
        hidden_activation=["gelu", "silu"],
        rms_norm_eps=[2e-3],
        rope_parameters__rope_theta=[9000.0],
    ),
    *neutral_norms("gemma2", 0.0, *GEMMA_NORMS),
    *edits("gemma2-untied", (scale, 48**-0.5, "model.embed_tokens.weight")),
    *no_biases("gemma2-biases", *QKV, ATTENTION + "o_proj"),
    *configs("gemma2-old", attn_logit_softcapping=[None], rope_theta=[9000.0]),
]
LOCAL, GLOBAL = f"rope_parameters.{SLIDING}.", f"rope_parameters.{FULL}."
GEMMA3_MUTANTS = [
    Mutant("gemma3", {LOCAL + "rope_theta": 31.0}),
    Mutant("gemma3", {LOCAL + "rope_theta": 90.0}),
    Mutant("gemma3", {GLOBAL + "rope_theta": 92.0}),
    Mutant("gemma3", {GLOBAL + "factor": 3.9}),
    Mutant("gemma3", {GLOBAL + "rope_type": "default"}),
    *configs(
        "gemma3",
        sliding_window=WINDOWS,
        layer_types=[[SLIDING] * 4, [SLIDING, SLIDING, SLIDING, FULL]],
        query_pre_attn_scalar=[16],
        hidden_activation=["gelu"],
        rms_norm_eps=[2e-3],
    ),
    *neutral_norms("gemma3", 0.0, *GEMMA_NORMS, *HEAD_NORMS),
    *configs("gemma3-capped", final_logit_softcapping=[4.1, None]),
    *configs(
        "gemma3-old",
        rope_local_base_freq=[31.0, ...],
        rope_theta=[92.0, ...],
        sliding_window_pattern=[2, ...],
        rope_scaling=[None],
    ),
]
PHI3_MUTANTS = [
    *configs("phi3", rope_parameters__rope_theta=[51.0], rms_norm_eps=[2e-3], hidden_act=["gelu"]),
    *neutral_norms("phi3", 1.0, *PRE_NORMS),
    *edits(
        "phi3",
        (turn_rows, 70, MLP + "gate_up_proj.weight"),
        (turn_rows, 24, ATTENTION + "qkv_proj.weight"),
        (transpose, ATTENTION + "o_proj.weight"),
    ),
    Mutant(
        "phi3-partial", {"partial_rotary_factor": 0.5, "rope_parameters.partial_rotary_factor": 0.5}
    ),
    Mutant(
        "phi3-partial", {"partial_rotary_factor": ..., "rope_parameters.partial_rotary_factor": ...}
    ),
    *configs("phi3-window", sliding_window=[*WINDOWS, None, ...]),
    *configs(
        "phi3-longrope",
        rope_parameters__long_factor=[SHORT_FACTORS],
        max_position_embeddings=[100],
    ),
    Mutant(
        "phi3-longrope",
        {
            "original_max_position_embeddings": 48,
            "rope_parameters.original_max_position_embeddings": 48,
        },
    ),
    *configs("phi3-longrope-short", rope_parameters__short_factor=[LONG_FACTORS]),
    *configs("phi3-longrope-factor", rope_parameters__attention_factor=[0.92, ...]),
    *configs("phi3-old", original_max_position_embeddings=[48], rope_theta=[51.0]),
]
OLMO_MUTANTS = [
    *configs("olmo2", rms_norm_eps=[2e-3], rope_parameters__rope_theta=[9000.0]),
    *neutral_norms("olmo2", 1.0, *POST_NORMS, *HEAD_NORMS),
    *edits("olmo2", SWAPPED_GATE),
    *no_biases("olmo2-biases", *QKV, ATTENTION + "o_proj"),
    *neutral_norms("olmo3", 1.0, *POST_NORMS, *HEAD_NORMS),
    *configs(
        "olmo3",
        rms_norm_eps=[2e-3],
        sliding_window=WINDOWS,
        layer_types=[[FULL] * 4, [FULL, SLIDING, SLIDING, SLIDING]],
    ),
    Mutant("olmo3", {GLOBAL + "factor": 7.9}),
    Mutant("olmo3", {GLOBAL + "rope_theta": 51.0}),
    Mutant("olmo3", {GLOBAL + "original_max_position_embeddings": 2 * ORIGINAL_CONTEXT}),
    Mutant("olmo3", {LOCAL + "rope_theta": 51.0}),
    *configs("olmo3-old", rope_theta=[51.0], rope_scaling__factor=[7.9], rope_scaling=[None]),
]
SMOLLM3_MUTANTS = [
    *configs(
        "smollm3",
        rope_parameters__rope_theta=[51.0],
        rms_norm_eps=[2e-3],
        no_rope_layers=[[1, 1, 1, 1], [1, 1, 0, 1]],
    ),
    *neutral_norms("smollm3", 1.0, *PRE_NORMS),
    *no_biases("smollm3-biases", *QKV, ATTENTION + "o_proj", *GATED),
    *configs("smollm3-windows", sliding_window=WINDOWS, layer_types=[[FULL] * 3, [SLIDING] * 3]),
    *configs("smollm3-old", rope_theta=[51.0], no_rope_layers=[[1, 0, 0, 1]]),
]
MUTANTS = {
    mutant.name: mutant
    for mutant in (
        *GPT2_MUTANTS,
        *LLAMA_MUTANTS,
        *MISTRAL_MUTANTS,
        *QWEN2_MUTANTS,
        *QWEN3_MUTANTS,
        *MOE_MUTANTS,
        *GEMMA2_MUTANTS,
        *GEMMA3_MUTANTS,
        *PHI3_MUTANTS,
        *OLMO_MUTANTS,
        *SMOLLM3_MUTANTS,
    )
}


def write_mutant(mutant, made, directory):
    """Copy a made model's directory and do the one thing wrong."""
    shutil.copytree(made, directory)
    path = directory / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    for name, value in mutant.changes.items():
        *outer, last = name.split(".")
        inner = config
        for key in outer:
            inner = inner[key]
        inner[last] = value
        if value is ...:
            del inner[last]
    path.write_text(json.dumps(config), encoding="utf-8")
    if mutant.edit is not None:
        path = directory / "model.safetensors"
        tensors = safetensors.torch.load_file(path)
        mutant.edit(tensors)
        path.unlink()  # its memory may still be mapped
        safetensors.torch.save_file(tensors, path, {"format": "pt"})
