"""The public families of models that llmctl reads, by config.json's model_type."""

from __future__ import annotations

from llmctl.core.language_model.families import (
    gemma2,
    gemma3,
    gpt2,
    llama,
    mistral,
    olmo2,
    olmo3,
    phi3,
    qwen2,
    qwen3,
    qwen3_moe,
    smollm3,
)
from llmctl.core.language_model.families.family import Family

_MODULES = (
    gpt2,
    llama,
    mistral,
    qwen2,
    qwen3,
    qwen3_moe,
    gemma2,
    gemma3,
    phi3,
    olmo2,
    olmo3,
    smollm3,
)
_ALL = [*(module.FAMILY for module in _MODULES), gemma3.FAMILY_WITH_PICTURES]
FAMILIES: dict[str, Family] = {family.model_type: family for family in _ALL}
