"""What many documents cost a model, a resumable unit of work at a time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from llmctl.core import atomic
from llmctl.core.errors import NumericsError
from llmctl.core.progress import Progress
from llmctl.core.scores.documents import DocumentScore
from llmctl.core.text.language import language_of

if TYPE_CHECKING:  # comparing texts with references must not wait for torch
    from llmctl.core.language_model.language_model import LanguageModel

# A unit of work: what a kill may cost, and how often an early end is asked about.
UNIT_BYTES = 1 << 18
UNIT_DOCUMENTS = 256
# The beginning of a text tells its language.
LANGUAGE_CHARACTERS = 100_000


def score_documents(
    model: LanguageModel, texts: Sequence[str], progress: Progress, units: Path | None = None
) -> list[DocumentScore]:
    """Score every document, taking up the units of work that an earlier start finished.

    Args:
        model: What scores.
        texts: The documents.
        progress: Told of every document; asked for an early end between units.
        units: Beginning of the units' paths; None keeps none.

    Raises:
        NumericsError: The model gives a document no finite likelihood.
    """
    scores: list[DocumentScore] = []
    nats = 0.0
    num_bytes = 0
    progress.begin("evaluate", len(texts), "documents")
    try:
        for index, unit in enumerate(_units(texts)):
            progress.check()
            path = units and units.with_name(f"{units.name}-{index:05d}.json")
            found = _score_unit(model, unit, len(scores), path)
            scores += found
            nats += sum(score.nats for score in found)
            num_bytes += sum(score.num_bytes for score in found)
            bits = nats / math.log(2) / max(1, num_bytes)
            progress.advance(len(unit), **{"bits/byte": bits})
    finally:
        progress.end()
    return scores


def _units(texts: Iterable[str]) -> Iterator[list[str]]:
    unit: list[str] = []
    size = 0
    for text in texts:
        unit.append(text)
        size += len(text.encode())
        if size >= UNIT_BYTES or len(unit) >= UNIT_DOCUMENTS:
            yield unit
            unit, size = [], 0
    if unit:
        yield unit


def _score_unit(
    model: LanguageModel, texts: list[str], first: int, path: Path | None
) -> list[DocumentScore]:
    if path is not None and path.exists():
        return [DocumentScore(*row) for row in orjson.loads(path.read_bytes())]
    scores: list[DocumentScore] = []
    for index, (text, score) in enumerate(zip(texts, model.score(texts), strict=True), first):
        nats = float(score.nats_N.sum())
        if not math.isfinite(nats):
            raise NumericsError(
                f"document {index}: the model gives it {nats} nats; its weights are damaged, or "
                "its training went astray"
            )
        language = language_of(text[:LANGUAGE_CHARACTERS])
        num_bytes = len(text.encode())
        scores.append(DocumentScore(nats, score.nats_N.size, num_bytes, len(text), language))
    if path is not None:
        atomic.write_file(path, orjson.dumps([astuple(score) for score in scores]))
    return scores
