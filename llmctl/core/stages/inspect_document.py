"""What became of one document of a corpus, and what every rule finds in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import pydantic

from llmctl.core.artifacts.corpus_search import FoundLine, find_documents
from llmctl.core.clean_plan import CleanPlan
from llmctl.core.errors import DataError, MissingInputError
from llmctl.core.manifest import read_manifest
from llmctl.core.text import quality


class _Explains(Protocol):
    def explain(
        self, text: str, language: str, score: float, /
    ) -> Sequence[tuple[str, float, float, bool]]: ...


@dataclass(frozen=True, slots=True)
class RuleFigure:
    """What one rule finds in a text.

    Attributes:
        rule: The rule's name.
        value: What it measures.
        threshold: Its bound for the text's language.
        passed: Whether the value keeps to it.
    """

    rule: str
    value: float
    threshold: float
    passed: bool


@dataclass(frozen=True, slots=True)
class DocumentFindings:
    """One document and its account.

    Attributes:
        line: The document as the corpus has it, and why where it was dropped.
        rules: Every rule of its language that is on, measured on the text as it stands there.
    """

    line: FoundLine
    rules: tuple[RuleFigure, ...]

    def record(self) -> dict[str, Any]:
        """Return everything as JSON has it."""
        return {
            "kept": self.line.is_kept,
            "file": self.line.file,
            **self.line.record,
            "rules": [asdict(figure) for figure in self.rules],
        }


def inspect_document(corpus: Path, identifier: str) -> list[DocumentFindings]:
    """Find a document, kept or dropped, and measure it by the rules of its corpus.

    Args:
        corpus: The corpus's directory.
        identifier: The document's id; several sources may use the same.

    Raises:
        MissingInputError: There is no such document, or no manifest; the message names ids
            that are close.
        DataError: A file is damaged, or the recipe is of another version.
    """
    lines = find_documents(corpus, identifier)
    judge: _Explains = quality.Judge(_plan(corpus))
    return [DocumentFindings(line, tuple(_rules(judge, line.record))) for line in lines]


def _plan(corpus: Path) -> CleanPlan:
    manifest = read_manifest(corpus)
    if manifest is None:
        raise MissingInputError(f"{corpus}: no manifest, so its rules are not known")
    try:
        return CleanPlan.model_validate(manifest.plan)
    except pydantic.ValidationError as error:
        raise DataError(
            f"{corpus}: its recipe has keys that this version does not know; clean it again: "
            f"{error.errors()[0]['msg']}"
        ) from error


def _rules(judge: _Explains, record: dict[str, Any]) -> Iterator[RuleFigure]:
    # How sure the language was is not written down, and is no matter of the text's quality.
    for rule, value, threshold, passed in judge.explain(record["text"], record["language"], 1.0):
        if rule != "min_language_score":
            yield RuleFigure(rule, value, threshold, passed)
