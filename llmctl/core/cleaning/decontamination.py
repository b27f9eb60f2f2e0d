"""Evaluation files and documents brought together: what is dropped, or cut, for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from llmctl.core.artifacts.evaluation_items import read_evaluation_items
from llmctl.core.artifacts.sources import Source
from llmctl.core.clean_plan import DecontaminationPlan
from llmctl.core.text.contamination import EvaluationIndex, Hit
from llmctl.core.text.contamination_arrays import EvaluationItem

RULE = "contaminated"


@dataclass(frozen=True, slots=True)
class Contamination:
    """What was found in a document, and what is left of it.

    Attributes:
        hits: At least one, in the order of the document.
        text: The document without the sentences that hold a hit; None: it is dropped, be it
            because nothing else is in it.
    """

    hits: list[Hit]
    text: str | None


def load_evaluation_index(plan: DecontaminationPlan, sources: Sequence[Source]) -> EvaluationIndex:
    """Read the items of a plan's files and make them ready to be looked for.

    Args:
        plan: The fields, and how long an n-gram is.
        sources: The plan's files, as `evaluation_sources` found them.

    Raises:
        DataError: A file is damaged or holds no item.
        MissingInputError: A file has gone.
    """
    items = (EvaluationItem(*found) for found in read_evaluation_items(sources, plan.fields))
    return EvaluationIndex.build(
        items, ngram_words=plan.ngram_words, ngram_characters=plan.ngram_characters
    )


def decontaminate(
    index: EvaluationIndex, text: str, action: Literal["drop", "cut"]
) -> Contamination | None:
    """Look for evaluation items in a document; None where there are none."""
    hits = index.find(text)
    if not hits:
        return None
    left = index.cut(text, hits) if action == "cut" else ""
    return Contamination(hits, left if left.strip() else None)
