"""What is decided about the documents that no rule dropped, over all units together.

Duplicates first, then the shares of a mix, drawn among what is left.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from llmctl.core.artifacts.duplicate_pairs import PAIRS_NAME, DuplicatePair, write_pairs
from llmctl.core.artifacts.fingerprint_units import FingerprintUnit, FingerprintUnits
from llmctl.core.clean_plan import CleanPlan, MixPlan
from llmctl.core.cleaning.boilerplate import boilerplate_lines
from llmctl.core.cleaning.duplicates import Duplicates, resolve
from llmctl.core.cleaning.fingerprinting import EarlierCorpus
from llmctl.core.cleaning.mixing import (
    CHARACTERS_RULE,
    WEIGHT_RULE,
    MixDecision,
    Mixer,
    draw,
)
from llmctl.core.cleaning.unit_files import Record, UnitFiles, UnitIndex
from llmctl.core.cleaning.unit_writer import PartJob
from llmctl.core.progress import Progress

EXACT_DUPLICATE = "exact_duplicate"
NEAR_DUPLICATE = "near_duplicate"


@dataclass(frozen=True)
class Mixed:
    """What the mix makes of the candidates that are no duplicates. C candidates, D of these.

    Attributes:
        place_C: The place of each candidate in `decision`, -1 for a duplicate.
        decision: Copies, or why there are none.
    """

    place_C: NDArray[np.int64]
    decision: MixDecision

    def of_documents(self, start: int, stop: int) -> tuple[dict[int, Record], dict[int, int]]:
        """Return the verdicts and the copies where not one, by number from `start`."""
        dropped: dict[int, Record] = {}
        copies: dict[int, int] = {}
        found = self.decision
        for number, place in enumerate(self.place_C[start:stop].tolist()):
            count = 1 if place < 0 else int(found.copies_D[place])
            if count == 0:
                dropped[number] = {
                    "rule": WEIGHT_RULE if found.lacks_weight_D[place] else CHARACTERS_RULE,
                    "value": round(float(found.values_D[place]), 4),
                    "threshold": float(found.thresholds_D[place]),
                }
            elif count > 1:
                copies[number] = count
        return dropped, copies


@dataclass(frozen=True)
class Decisions:
    """The verdicts, unit by unit.

    Attributes:
        plan: The recipe's section.
        units: The units of the input, in order.
        starts: The number of each one's first candidate, and of one after the last.
        duplicates: Among all candidates.
        mixed: How many copies of each, or None where nothing is mixed.
        boilerplate: File of the hashes of lines to cut out, or None.
    """

    plan: CleanPlan
    units: Sequence[UnitFiles]
    starts: Sequence[int]
    duplicates: Duplicates
    mixed: Mixed | None
    boilerplate: Path | None

    def jobs(self) -> Iterator[PartJob]:
        """Yield what is to be written of each unit."""
        for position, unit in enumerate(self.units):
            start, stop = self.starts[position], self.starts[position + 1]
            found = self.duplicates.of_documents(start, stop)
            dropped = {number: self._verdict(pair) for number, pair in found.dropped.items()}
            copies: dict[int, int] = {}
            if self.mixed is not None:
                left_out, copies = self.mixed.of_documents(start, stop)
                dropped |= {n: verdict for n, verdict in left_out.items() if n not in dropped}
            yield PartJob(unit.name, dropped, copies, found.cluster_sizes)

    def _verdict(self, pair: DuplicatePair) -> Record:
        verdict: Record = {
            "rule": EXACT_DUPLICATE if pair.exact else NEAR_DUPLICATE,
            "value": round(pair.similarity, 4),
            "threshold": 1.0 if pair.exact else self.plan.duplicates.similarity,
            "duplicate_of": pair.duplicate_of,
            "cluster": pair.cluster,
        }
        return verdict if pair.corpus is None else {**verdict, "corpus": pair.corpus}

    def write_pairs(self, directory: Path) -> None:
        """Write which documents repeat which, where some do."""
        if len(self.duplicates):
            write_pairs(directory / PAIRS_NAME, self.duplicates.named_pairs())


def decide(
    plan: CleanPlan,
    units: Sequence[UnitFiles],
    sources: Sequence[str],
    earlier: Sequence[EarlierCorpus],
    scratch: Path,
    progress: Progress,
) -> Decisions:
    """Find the duplicates, draw the mix.

    Args:
        plan: The recipe's section.
        units: The units of the input, in order.
        sources: Names of the inputs.
        earlier: Fingerprints of earlier corpora.
        scratch: A directory for temporary files.
        progress: Who watches.

    Raises:
        RecipeError: The mix names a source that there is none of.
        Interrupted, OutOfTime: `progress` asked for the end.
    """
    progress.begin("find duplicates")
    paths = [unit.fingerprints for unit in units]
    starts = [0]
    for path in paths:
        starts.append(starts[-1] + len(FingerprintUnits([path])))
    duplicates = resolve(paths, plan.duplicates, scratch, progress.check, earlier)
    boilerplate = None
    most = plan.duplicates.max_line_documents
    if most is not None:
        boilerplate = scratch / "boilerplate.u64"
        boilerplate_lines(paths, most, duplicates, scratch, progress.check).tofile(boilerplate)
    mixed = None
    if plan.mix.weights or plan.mix.max_characters:
        mixed = _mix(plan.mix, units, sources, duplicates.kept(0, starts[-1]))
    progress.end()
    return Decisions(plan, units, starts, duplicates, mixed, boilerplate)


def _mix(
    plan: MixPlan,
    units: Sequence[UnitFiles],
    sources: Sequence[str],
    is_kept_C: NDArray[np.bool_],
) -> Mixed:
    mixer = Mixer(plan, sources)
    numbers = {name: number for number, name in enumerate(sources)}
    source_C, draw_C, characters_C = array("q"), array("Q"), array("q")
    for unit in units:
        found = FingerprintUnit.read(unit.fingerprints)
        source_C.extend(numbers[name] for name in UnitIndex.read(unit.index).sources)
        draw_C.extend(draw(plan.seed, found.identifier(number)) for number in range(len(found)))
        characters_C.extend(found.lengths_N.tolist())
    decision = mixer.decide(
        np.array(source_C, np.int64)[is_kept_C],
        np.array(draw_C, np.uint64)[is_kept_C],
        np.array(characters_C, np.int64)[is_kept_C],
    )
    place_C = np.where(is_kept_C, np.cumsum(is_kept_C) - 1, -1)
    return Mixed(place_C, decision)
