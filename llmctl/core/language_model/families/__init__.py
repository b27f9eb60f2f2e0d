"""The public families of models that llmctl reads and writes, by config.json's model_type."""

from __future__ import annotations

from llmctl.core.language_model.families import qwen3
from llmctl.core.language_model.families.family import Family

FAMILIES: dict[str, Family] = {family.model_type: family for family in (qwen3.FAMILY,)}
