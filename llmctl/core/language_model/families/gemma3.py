"""Gemma 3: Gemma 2 with normalised queries and keys and two kinds of positions.

Layers in a window turn by a small base, the others by a large one. Of the models that see
pictures, too, the half that reads and writes text is taken.

Source: Gemma Team 2025, "Gemma 3 Technical Report", section 2.
"""

from __future__ import annotations

from llmctl.core.errors import DataError
from llmctl.core.language_model.families import gemma2, llama
from llmctl.core.language_model.families.config_fields import count, number, optional_number
from llmctl.core.language_model.families.decoder_fields import (
    FULL_ATTENTION,
    SLIDING_ATTENTION,
    num_layers,
    windows,
)
from llmctl.core.language_model.families.family import Config, Family
from llmctl.core.language_model.families.rotary_fields import layer_rotaries
from llmctl.core.model.architecture import Architecture, Layer

_GLOBAL_BASE, _LOCAL_BASE = 1_000_000.0, 10_000.0
_DEFAULT_PATTERN = 6
# What the released text_config objects leave unsaid.
_DEFAULTS = {
    "vocab_size": 262_208,
    "num_attention_heads": 8,
    "max_position_embeddings": 131_072,
}
_TOP_LEVEL = {"quantization_config", "tie_word_embeddings"}
_TEXT_PREFIX = "language_model."
_PICTURES = r"(vision_tower|multi_modal_projector)\..*"


def read_with_pictures(config: Config) -> Architecture:
    """Return the architecture of the text half of a config.json; raises DataError."""
    text = config.get("text_config")
    if not isinstance(text, dict):
        raise DataError(f"config.json: text_config: expected an object, found {text!r}")
    return read({name: config[name] for name in _TOP_LEVEL & config.keys()} | text)


def read(config: Config) -> Architecture:
    """Return the architecture that a config.json describes; raises DataError."""
    config = {**_DEFAULTS, **config}
    fields = gemma2.gemma_fields(config)
    scale, layers = gemma2.attention_scale(config), num_layers(config)
    pattern = count(config, "sliding_window_pattern", _DEFAULT_PATTERN)
    types = [
        SLIDING_ATTENTION if (index + 1) % pattern else FULL_ATTENTION for index in range(layers)
    ]
    whole, local = layer_rotaries(
        config,
        fields["head_width"],
        number(config, "rope_theta", _GLOBAL_BASE),
        number(config, "rope_local_base_freq", _LOCAL_BASE),
    )
    return Architecture(
        **fields,
        layers=tuple(
            Layer(scale, whole if window is None else local, window)
            for window in windows(config, types)
        ),
        query_key_norm="head",
        logit_softcap=optional_number(config, "final_logit_softcapping"),
    )


_NAMES = {**gemma2.NAMES, **llama.HEAD_NORM_NAMES}
FAMILY = Family(
    "gemma3_text",
    "Gemma3ForCausalLM",
    _NAMES,
    read,
    has_rotary_by_kind=True,
    old_window_base="rope_local_base_freq",
)
FAMILY_WITH_PICTURES = Family(
    "gemma3",
    "Gemma3ForConditionalGeneration",
    {ours: _TEXT_PREFIX + theirs for ours, theirs in _NAMES.items()},
    read_with_pictures,
    ignored=_PICTURES,
    is_half=True,
)
