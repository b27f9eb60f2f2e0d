"""What there is to see of a model's way with a text, found and written as it was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmctl.core import atomic
from llmctl.core.artifacts.attention_report import attention_page
from llmctl.core.artifacts.html_report import render
from llmctl.core.language_model.inspection import (
    AttentionMap,
    Inspection,
    attention_map,
    inspect_text,
    layer_and_head,
)
from llmctl.core.language_model.language_model import LanguageModel
from llmctl.core.language_model.neighbours import Neighbourhood, neighbourhoods
from llmctl.core.recipe import GeneratePlan


@dataclass(frozen=True)
class Questions:
    """What is asked.

    Attributes:
        attention: LAYER or LAYER.HEAD, or None.
        word: Whose neighbours in the embedding are wanted, or None.
        num_neighbours: How many.
        num_candidates: How many tokens that might come next are told at each step.
        plan: The temperature and samplers that these pass.
    """

    attention: str | None = None
    word: str | None = None
    num_neighbours: int = 10
    num_candidates: int = 0
    plan: GeneratePlan | None = None


@dataclass(frozen=True)
class Findings:
    """What was found; None for what was not asked."""

    inspection: Inspection | None = None
    attention: AttentionMap | None = None
    neighbourhoods: Sequence[Neighbourhood] | None = None

    def record(self) -> dict[str, Any]:
        """Return everything as JSON has it."""
        found: dict[str, Any] = {}
        if self.inspection is not None:
            found |= self.inspection.record()
        if self.attention is not None:
            found["attention"] = self.attention.record()
        if self.neighbourhoods is not None:
            found["neighbours"] = [each.record() for each in self.neighbourhoods]
        return found


def inspect(
    model: LanguageModel, text: str | None, questions: Questions, html: Path | None = None
) -> Findings:
    """Answer questions about a text; without any, how likely each of its tokens is.

    Args:
        model: The model.
        text: The text; None where only neighbours are asked.
        questions: What is asked.
        html: Where the map of attention goes as a page.

    Raises:
        UsageError: The text or the word is empty, or there is no such layer or head.
        DataError: The text is longer than the context, or than a map can be.
        NumericsError: The model's logits are not finite.
        OutputError: The page cannot be created.
    """
    if html is not None:
        atomic.require_place(html)
    inspection = attention = near = None
    if questions.word is not None:
        near = neighbourhoods(model, questions.word, questions.num_neighbours)
    if text is not None and questions.attention is not None:
        attention = attention_map(model, text, *layer_and_head(questions.attention))
        if html is not None:
            weights = dict(zip(attention.heads, attention.weights_HTT, strict=True))
            page = attention_page(text, attention.pieces, attention.layer, weights)
            atomic.write_file(html, render(page).encode("utf-8"))
    is_plain = attention is None and near is None
    if text is not None and (is_plain or questions.num_candidates):
        inspection = inspect_text(
            model, text, plan=questions.plan, num_candidates=questions.num_candidates
        )
    return Findings(inspection, attention, near)
