"""The small models that stand for every public family: what each one's config says.

Windows and original contexts are shorter than the tests' texts, and no matrix that could
be mistaken for its transpose or its neighbour has an equal shape where the family lets it
differ.
"""

from dataclasses import dataclass, field

VOCAB_SIZE = 300
CONTEXT = 128
ORIGINAL_CONTEXT = 16
WINDOW = 6

COMMON = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 48,
    "intermediate_size": 70,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": 0,
    "rms_norm_eps": 1e-3,
}
GPT2 = {
    "vocab_size": VOCAB_SIZE,
    "n_embd": 48,
    "n_layer": 3,
    "n_head": 4,
    "n_positions": CONTEXT,
    "layer_norm_epsilon": 1e-3,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
MOE = {
    "head_dim": 16,
    "num_experts": 6,
    "num_experts_per_tok": 3,
    "moe_intermediate_size": 20,
    "norm_topk_prob": True,
}
GEMMA = {
    "num_hidden_layers": 4,
    "head_dim": 16,
    "sliding_window": WINDOW,
    "query_pre_attn_scalar": 24,
}
PARTIAL = {"hidden_size": 64, "partial_rotary_factor": 0.75}  # 12 of 16 dimensions are turned
SHORT_FACTORS = [1.0, 1.1, 1.3, 1.5, 1.7, 2.0]
LONG_FACTORS = [1.0, 1.5, 2.0, 4.0, 6.0, 8.0]


def rotary(rope_type, theta=50.0, **parameters):
    return {"rope_type": rope_type, "rope_theta": theta, **parameters}


def yarn(**parameters):
    return rotary(
        "yarn", factor=8.0, original_max_position_embeddings=ORIGINAL_CONTEXT, **parameters
    )


LONGROPE = rotary("longrope", short_factor=SHORT_FACTORS, long_factor=LONG_FACTORS)
LLAMA3 = rotary(
    "llama3",
    factor=8.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=32,
)
BETAS = {"beta_fast": 0.9, "beta_slow": 0.1}
FULL, SLIDING = "full_attention", "sliding_attention"


# What a config may leave unsaid; of the contexts, one that is said serves gpt2 as well.
DEFAULTED = frozenset(
    {
        "activation_function",
        "attention_bias",
        "attn_logit_softcapping",
        "decoder_sparse_step",
        "final_logit_softcapping",
        "head_dim",
        "hidden_act",
        "hidden_activation",
        "layer_norm_epsilon",
        "layer_types",
        "max_window_layers",
        "mlp_bias",
        "mlp_only_layers",
        "n_inner",
        "no_rope_layer_interval",
        "no_rope_layers",
        "norm_topk_prob",
        "num_key_value_heads",
        "original_max_position_embeddings",
        "query_pre_attn_scalar",
        "reorder_and_upcast_attn",
        "rms_norm_eps",
        "rope_parameters",
        "scale_attn_by_inverse_layer_idx",
        "scale_attn_weights",
        "sliding_window",
        "tie_word_embeddings",
        "use_bidirectional_attention",
        "use_sliding_window",
    }
)


@dataclass(frozen=True)
class Case:
    """A model to be made.

    Attributes:
        model_type: Its family.
        settings: What its config is given beyond the family's common settings.
        is_main: The family's ordinary case, on which everything is tested.
        length_matters: Rotary frequencies depend on how long the text is, so what a cache
            holds was turned otherwise than the same tokens read at once.
        old: Its config.json is rewritten as transformers 4 wrote it.
        bare: Its config.json is left without any field that has a default.
    """

    model_type: str
    settings: dict = field(default_factory=dict)
    is_main: bool = False
    length_matters: bool = False
    old: bool = False
    bare: bool = False


CASES = {
    "gpt2": Case("gpt2", is_main=True),
    "gpt2-inner": Case("gpt2", {"n_inner": 70}),
    "gpt2-inverse-layer": Case("gpt2", {"scale_attn_by_inverse_layer_idx": True}),
    "gpt2-unscaled": Case("gpt2", {"scale_attn_weights": False}),
    "gpt2-upcast": Case("gpt2", {"reorder_and_upcast_attn": True}),
    "gpt2-gelu": Case("gpt2", {"activation_function": "gelu"}),
    "gpt2-relu": Case("gpt2", {"activation_function": "relu"}),
    "gpt2-untied": Case("gpt2", {"tie_word_embeddings": False}),
    "gpt2-old": Case("gpt2", old=True),
    "llama": Case("llama", {"rope_parameters": rotary("default")}, is_main=True),
    "llama-tied": Case("llama", {"tie_word_embeddings": True}),
    "llama-biases": Case("llama", {"attention_bias": True, "mlp_bias": True}),
    "llama-head": Case("llama", {"head_dim": 16}),
    "llama-gelu": Case("llama", {"hidden_act": "gelu_pytorch_tanh"}),
    "llama-linear": Case("llama", {"rope_parameters": rotary("linear", factor=4.0)}),
    "llama-dynamic": Case(
        "llama",
        {
            "rope_parameters": rotary("dynamic", factor=4.0),
            "max_position_embeddings": ORIGINAL_CONTEXT,
        },
        length_matters=True,
    ),
    "llama-llama3": Case("llama", {"rope_parameters": LLAMA3}),
    "llama-yarn": Case("llama", {"rope_parameters": yarn()}),
    "llama-yarn-betas": Case("llama", {"rope_parameters": yarn(**BETAS)}),
    "llama-yarn-whole": Case("llama", {"rope_parameters": yarn(truncate=False, **BETAS)}),
    "llama-yarn-factor": Case("llama", {"rope_parameters": yarn(attention_factor=0.8)}),
    "llama-yarn-mscale": Case(
        "llama", {"rope_parameters": yarn(mscale=0.7, mscale_all_dim=1.2, **BETAS)}
    ),
    "llama-old": Case("llama", {"rope_parameters": rotary("linear", factor=4.0)}, old=True),
    "llama-old-llama3": Case("llama", {"rope_parameters": LLAMA3}, old=True),
    "llama-old-yarn": Case("llama", {"rope_parameters": yarn(**BETAS)}, old=True),
    "mistral": Case("mistral", {"sliding_window": WINDOW}, is_main=True),
    "mistral-full": Case("mistral", {"sliding_window": None, "head_dim": 16}),
    "mistral-old": Case(
        "mistral", {"sliding_window": WINDOW, "rope_parameters": rotary("default")}, old=True
    ),
    "qwen2": Case("qwen2", is_main=True),
    "qwen2-tied": Case("qwen2", {"tie_word_embeddings": True}),
    "qwen2-windows": Case(
        "qwen2", {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 1}
    ),
    "qwen2-unused-window": Case("qwen2", {"sliding_window": WINDOW, "max_window_layers": 1}),
    "qwen2-old": Case(
        "qwen2",
        {
            "use_sliding_window": True,
            "sliding_window": WINDOW,
            "max_window_layers": 2,
            "rope_parameters": yarn(),
        },
        old=True,
    ),
    "qwen3": Case("qwen3", {"head_dim": 16, "rope_parameters": rotary("default")}, is_main=True),
    "qwen3-tied": Case("qwen3", {"head_dim": 16, "tie_word_embeddings": True}),
    "qwen3-biases": Case("qwen3", {"head_dim": 16, "attention_bias": True}),
    "qwen3-yarn": Case("qwen3", {"head_dim": 16, "rope_parameters": yarn()}),
    "qwen3-windows": Case(
        "qwen3",
        {
            "head_dim": 16,
            "use_sliding_window": True,
            "sliding_window": WINDOW,
            "layer_types": [SLIDING, FULL, SLIDING],
        },
    ),
    "qwen3-old": Case(
        "qwen3",
        {
            "head_dim": 16,
            "use_sliding_window": True,
            "sliding_window": WINDOW,
            "max_window_layers": 2,
        },
        old=True,
    ),
    "qwen3-moe": Case("qwen3_moe", MOE, is_main=True),
    "qwen3-moe-unnormalised": Case("qwen3_moe", MOE | {"norm_topk_prob": False}),
    "qwen3-moe-sparse-step": Case("qwen3_moe", MOE | {"decoder_sparse_step": 2}),
    "qwen3-moe-dense-layer": Case("qwen3_moe", MOE | {"mlp_only_layers": [1]}),
    "qwen3-moe-window": Case(
        "qwen3_moe", MOE | {"use_sliding_window": True, "sliding_window": WINDOW}
    ),
    "qwen3-moe-narrow-head": Case(
        "qwen3_moe", {name: MOE[name] for name in MOE if name != "head_dim"}
    ),
    "qwen3-moe-old": Case("qwen3_moe", MOE, old=True),
    "gemma2": Case(
        "gemma2",
        GEMMA | {"attn_logit_softcapping": 1.5, "final_logit_softcapping": 4.0},
        is_main=True,
    ),
    "gemma2-uncapped": Case(
        "gemma2", GEMMA | {"attn_logit_softcapping": None, "final_logit_softcapping": None}
    ),
    "gemma2-biases": Case("gemma2", GEMMA | {"attention_bias": True}),
    "gemma2-untied": Case("gemma2", GEMMA | {"tie_word_embeddings": False}),
    "gemma2-old": Case("gemma2", GEMMA, old=True),
    "gemma3": Case(
        "gemma3_text",
        GEMMA
        | {
            "layer_types": [SLIDING, SLIDING, FULL, SLIDING],
            "rope_parameters": {
                FULL: rotary("linear", 90.0, factor=4.0),
                SLIDING: rotary("default", 30.0),
            },
        },
        is_main=True,
    ),
    "gemma3-defaults": Case("gemma3_text", GEMMA | {"num_hidden_layers": 7}),
    "gemma3-capped": Case(
        "gemma3_text",
        GEMMA | {"attn_logit_softcapping": 1.5, "final_logit_softcapping": 4.0},
    ),
    "gemma3-old": Case(
        "gemma3_text",
        GEMMA
        | {
            "sliding_window_pattern": 3,
            "rope_parameters": {
                FULL: rotary("linear", 90.0, factor=4.0),
                SLIDING: rotary("default", 30.0),
            },
        },
        old=True,
    ),
    "phi3": Case("phi3", {"rope_parameters": rotary("default")}, is_main=True),
    "phi3-partial": Case("phi3", PARTIAL),
    "phi3-window": Case("phi3", {"sliding_window": WINDOW}),
    "phi3-longrope": Case(
        "phi3",
        PARTIAL
        | {
            "original_max_position_embeddings": ORIGINAL_CONTEXT,
            "rope_parameters": LONGROPE,
        },
        length_matters=True,
    ),
    "phi3-longrope-short": Case(
        "phi3",
        PARTIAL
        | {
            "original_max_position_embeddings": CONTEXT // 2,
            "rope_parameters": LONGROPE,
        },
        length_matters=True,
    ),
    "phi3-longrope-factor": Case(
        "phi3",
        PARTIAL
        | {
            "original_max_position_embeddings": ORIGINAL_CONTEXT,
            "rope_parameters": LONGROPE | {"attention_factor": 0.9},
        },
        length_matters=True,
    ),
    "phi3-old": Case(
        "phi3",
        PARTIAL
        | {
            "original_max_position_embeddings": ORIGINAL_CONTEXT,
            "rope_parameters": LONGROPE,
        },
        length_matters=True,
        old=True,
    ),
    "olmo2": Case("olmo2", is_main=True),
    "olmo2-biases": Case("olmo2", {"attention_bias": True}),
    "olmo2-old": Case("olmo2", {"rope_parameters": rotary("default")}, old=True),
    "olmo3": Case(
        "olmo3",
        {
            "num_hidden_layers": 4,
            "sliding_window": WINDOW,
            "rope_parameters": {FULL: yarn(), SLIDING: rotary("default")},
        },
        is_main=True,
    ),
    "olmo3-pattern": Case(
        "olmo3", {"sliding_window": WINDOW, "layer_types": [FULL, SLIDING, FULL]}
    ),
    "olmo3-old": Case(
        "olmo3",
        {
            "num_hidden_layers": 4,
            "sliding_window": WINDOW,
            # Of the old spelling's theta, transformers lets the sliding layers know nothing.
            "rope_parameters": {FULL: yarn(), SLIDING: rotary("default", 500000.0)},
        },
        old=True,
    ),
    "smollm3": Case(
        "smollm3", {"num_hidden_layers": 4, "rope_parameters": rotary("default")}, is_main=True
    ),
    "smollm3-no-rope": Case("smollm3", {"no_rope_layers": [0, 1, 1]}),
    "smollm3-interval": Case("smollm3", {"no_rope_layer_interval": 2}),
    "smollm3-biases": Case("smollm3", {"attention_bias": True, "mlp_bias": True}),
    "smollm3-windows": Case(
        "smollm3",
        {"use_sliding_window": True, "sliding_window": WINDOW, "no_rope_layer_interval": 2},
    ),
    "smollm3-old": Case(
        "smollm3",
        {"num_hidden_layers": 4, "rope_parameters": yarn(), "no_rope_layer_interval": 2},
        old=True,
    ),
    "gpt2-bare": Case("gpt2", bare=True),
    "llama-bare": Case("llama", bare=True),
    "mistral-bare": Case("mistral", {"num_attention_heads": 8}, bare=True),
    "qwen2-bare": Case("qwen2", {"num_attention_heads": 32, "hidden_size": 64}, bare=True),
    "qwen3-bare": Case("qwen3", {"num_attention_heads": 32, "hidden_size": 64}, bare=True),
    "qwen3-moe-bare": Case("qwen3_moe", MOE, bare=True),
    "gemma2-bare": Case("gemma2", bare=True),
    "gemma3-bare": Case("gemma3_text", {"num_hidden_layers": 7}, bare=True),
    "phi3-bare": Case("phi3", bare=True),
    "olmo2-bare": Case("olmo2", bare=True),
    "olmo3-bare": Case("olmo3", {"num_hidden_layers": 4}, bare=True),
    "smollm3-bare": Case("smollm3", {"num_hidden_layers": 4}, bare=True),
}
