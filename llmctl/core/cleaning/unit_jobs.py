"""The units of cleaning: what each is made of, and what the workers are told.

Whoever only hands units out imports this and not what works on texts.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from llmctl.core.artifacts.documents import Document, Unreadable
from llmctl.core.artifacts.sources import Source
from llmctl.core.artifacts.stretches import Stretch, read_piece, read_stretch
from llmctl.core.clean_plan import CleanPlan
from llmctl.core.cleaning.mixing import draw
from llmctl.core.worker_pool import Advance, Done

if TYPE_CHECKING:
    from llmctl.core.cleaning.unit_maker import UnitMaker
    from llmctl.core.text.contamination import EvaluationIndex

SAMPLE_SEED = 0


@dataclass(frozen=True, slots=True)
class UnitJob:
    """One unit to make.

    Attributes:
        name: Of its files.
        stretches: What to read, in order.
        num_bytes: How much that is, as it lies in the files.
        piece: The stretch is the whole of this file, unpacked from its source; it is removed
            once the unit is made.
        earlier: Instead of stretches, a file of an earlier corpus.
    """

    name: str
    stretches: tuple[Stretch, ...] = ()
    num_bytes: int = 0
    piece: Path | None = None
    earlier: Path | None = None

    def remove_piece(self) -> None:
        """Remove the piece, where there is one, now that its unit is made."""
        if self.piece is not None:
            self.piece.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class UnitSetting:
    """What every worker knows.

    Attributes:
        plan: The recipe's section.
        sources: The inputs, which stretches name by their number.
        directory: Where the units lie.
        evaluation: What evaluation data to look for.
        sample_below: Only documents whose draw is lower are cleaned; None: all.
    """

    plan: CleanPlan
    sources: Sequence[Source]
    directory: Path
    evaluation: EvaluationIndex | None = None
    sample_below: int | None = None


def unit_maker(setting: UnitSetting) -> UnitMaker:
    """Return what makes units."""
    from llmctl.core.cleaning.unit_maker import UnitMaker

    return UnitMaker(setting)


def read_unit(
    job: UnitJob, sources: Sequence[Source], advance: Advance
) -> Iterator[tuple[str, Document | Unreadable]]:
    """Yield what a unit is made of, each with the name of its source."""
    for stretch in job.stretches:
        source = sources[stretch.source_index]
        if job.piece is None:
            items = read_stretch(source, stretch, lambda count: advance(Done(count)))
        else:
            items = read_piece(source, job.piece, stretch.first_number)
        for item in items:
            yield source.name, item
    if job.piece is not None:
        advance(Done(job.num_bytes))


def drawn(source: str, item: Document | Unreadable) -> int:
    """Return the draw that decides whether something of a source belongs to a sample."""
    name = item.place if isinstance(item, Unreadable) else item.id
    return draw(SAMPLE_SEED, f"{source}\n{name}")


class DrawCollector:
    """Finds the lowest draws of a unit's documents, for a sample of the whole input."""

    def __init__(self, sources: Sequence[Source], num_wanted: int) -> None:
        self._sources = sources
        self._num_wanted = num_wanted

    def __call__(self, job: UnitJob, advance: Advance) -> tuple[NDArray[np.uint64], int]:
        """Return the lowest draws of the unit's documents, and how many documents it has."""
        if job.earlier is not None:
            return np.empty(0, np.uint64), 0
        draws = array("Q", (drawn(*found) for found in read_unit(job, self._sources, advance)))
        job.remove_piece()
        return np.sort(np.array(draws, np.uint64))[: self._num_wanted], len(draws)
