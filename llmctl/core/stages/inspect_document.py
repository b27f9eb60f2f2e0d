"""What became of one document of a corpus, and what every rule finds in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pydantic

from llmctl.core.artifacts.corpus_search import FoundLine, find_documents
from llmctl.core.clean_plan import CleanPlan
from llmctl.core.errors import DataError, MissingInputError
from llmctl.core.manifest import read_manifest
from llmctl.core.text import quality
from llmctl.core.text.quality import Finding


@dataclass(frozen=True, slots=True)
class DocumentFindings:
    """One document and its account.

    Attributes:
        line: The document as the corpus has it, and why where it was dropped.
        rules: Every rule of its language that is on, measured on the text as it stands there.
    """

    line: FoundLine
    rules: tuple[Finding, ...]

    def record(self) -> dict[str, Any]:
        """Return everything as JSON has it."""
        return {
            "kept": self.line.is_kept,
            "file": self.line.file,
            **self.line.record,
            "rules": [asdict(finding) for finding in self.rules],
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
    judge = quality.Judge(_plan(corpus))
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


def _rules(judge: quality.Judge, record: dict[str, Any]) -> Iterator[Finding]:
    if "text" in record:
        for finding in judge.explain(record["text"], record["language"]):
            # How sure the language was is not written down.
            if finding.rule != "min_language_score":
                yield finding
