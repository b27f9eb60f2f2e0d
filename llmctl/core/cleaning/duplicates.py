"""Duplicates among the documents of all units: which are dropped, and for which others.

Of duplicates the longest stays, of equally long ones the first; documents of earlier
corpora always stay. Each drop is verified against a document that is kept: chains (A like
B, B like C) merge nothing. The result depends on the documents and their order only, not
on how they are divided into units. About 24 bytes for a document are held in memory, the
rest is on the disk.

Documents have numbers from 0 in the order of the units; those of earlier corpora go on
after the last. Shapes: N documents here, D dropped ones, C clusters.
"""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from llmctl.core import atomic
from llmctl.core.artifacts.duplicate_pairs import DuplicatePair
from llmctl.core.artifacts.fingerprint_units import FingerprintUnits
from llmctl.core.clean_plan import DuplicatesPlan
from llmctl.core.cleaning.duplicate_buckets import Buckets
from llmctl.core.cleaning.duplicate_candidates import Searched, anchored_buckets, banded_buckets
from llmctl.core.cleaning.fingerprinting import EarlierCorpus
from llmctl.core.cleaning.spill import Spill
from llmctl.core.text.near_duplicates import likely, may_reach, similarity

Between = Callable[[], object]

_DIGEST = np.dtype([("high", "<u8"), ("low", "<u8"), ("rank", "<u4")])
# Fewer are compared at once; more are first held against a sample.
_FEW = 4


@dataclass(frozen=True, slots=True)
class UnitDuplicates:
    """What is to be done with the documents of one unit; numbers count from its first.

    Attributes:
        dropped: The dropped documents.
        cluster_sizes: Of the kept documents, how many they stand for, themselves included,
            where these are several.
    """

    dropped: Mapping[int, DuplicatePair]
    cluster_sizes: Mapping[int, int]


class Duplicates:
    """The dropped documents, and for each the one that it repeats.

    Attributes:
        dropped_D: Their numbers, in order.
        survivors_D: Numbers of the documents that they repeat.
        clusters_D: Numbers of the kept documents that stand for them; another one where
            the survivor was itself dropped for a third.
        similarities_D: 1 for exact duplicates.
        is_exact_D: Whether the two are equal but for case, width and white space.
    """

    def __init__(
        self,
        documents: _Documents,
        exact: NDArray[np.uint32],
        near: tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.float64]],
    ) -> None:
        self._documents = documents
        near_D, near_survivors_D, near_similarities_D = near
        ours = exact[: documents.num_ours]
        exact_D = np.flatnonzero(ours != np.arange(len(ours), dtype=np.uint32)).astype(np.uint32)
        dropped = np.concatenate([exact_D, near_D])
        order = np.argsort(dropped)
        self.dropped_D = dropped[order]
        self.survivors_D = np.concatenate([ours[exact_D], near_survivors_D])[order]
        self.is_exact_D = (np.arange(len(dropped)) < len(exact_D))[order]
        self.similarities_D = np.concatenate([np.ones(len(exact_D)), near_similarities_D])[order]
        self.clusters_D = self.survivors_D.copy()
        places_D = np.searchsorted(self.dropped_D, self.survivors_D)
        places_D[places_D == len(self.dropped_D)] = 0
        if len(places_D):
            is_dropped_D = self.dropped_D[places_D] == self.survivors_D
            self.clusters_D[is_dropped_D] = self.survivors_D[places_D[is_dropped_D]]
        self.clusters_C, sizes_C = np.unique(self.clusters_D, return_counts=True)
        self.cluster_sizes_C = sizes_C + 1

    def __len__(self) -> int:
        return len(self.dropped_D)

    def kept(self, start: int, stop: int) -> NDArray[np.bool_]:
        """Return which of the documents from `start` to before `stop` are kept."""
        result = np.ones(stop - start, dtype=bool)
        first, last = np.searchsorted(self.dropped_D, [start, stop])
        result[self.dropped_D[first:last].astype(np.int64) - start] = False
        return result

    def pairs(self) -> Iterator[tuple[int, int, float]]:
        """Yield the number of each dropped document, of its survivor, and how alike they are."""
        yield from zip(
            self.dropped_D.tolist(),
            self.survivors_D.tolist(),
            self.similarities_D.tolist(),
            strict=True,
        )

    def named_pairs(self) -> Iterator[DuplicatePair]:
        """Yield the same with ids, as `duplicate_pairs.write_pairs` takes them."""
        return map(self._named, range(len(self)))

    def of_documents(self, start: int, stop: int) -> UnitDuplicates:
        """Return what concerns the documents from `start` to before `stop`."""
        first, last = np.searchsorted(self.dropped_D, [start, stop]).tolist()
        dropped = {
            int(self.dropped_D[place]) - start: self._named(place) for place in range(first, last)
        }
        first, last = np.searchsorted(self.clusters_C, [start, min(stop, self._documents.num_ours)])
        sizes = {
            cluster - start: size
            for cluster, size in zip(
                self.clusters_C[first:last].tolist(),
                self.cluster_sizes_C[first:last].tolist(),
                strict=True,
            )
        }
        return UnitDuplicates(dropped, sizes)

    def _named(self, place: int) -> DuplicatePair:
        names = self._documents
        cluster = int(self.clusters_D[place])
        return DuplicatePair(
            id=names.identifier(int(self.dropped_D[place])),
            duplicate_of=names.identifier(int(self.survivors_D[place])),
            cluster=names.identifier(cluster),
            similarity=float(self.similarities_D[place]),
            exact=bool(self.is_exact_D[place]),
            corpus=names.corpus(cluster),
        )


def resolve(
    units: Sequence[Path],
    plan: DuplicatesPlan,
    scratch: Path,
    between: Between = lambda: None,
    earlier: Sequence[EarlierCorpus] = (),
) -> Duplicates:
    """Decide which documents to drop.

    Args:
        units: The files of fingerprints, in order; they have to stay as long as the result.
        plan: What counts as a duplicate.
        scratch: A directory for temporary files.
        between: Called between documents, and may raise to end early.
        earlier: Fingerprints of earlier corpora.

    Raises:
        DataError: A file is damaged.
        StorageError: The disk is full or failing.
    """
    with (
        atomic.storage_errors(scratch),
        tempfile.TemporaryDirectory(dir=scratch, prefix="duplicates-") as temporary,
    ):
        directory = Path(temporary)
        documents = _Documents(units, earlier)
        exact = np.arange(len(documents), dtype=np.uint32)
        if plan.exact:
            exact = _exact_survivors(documents, directory, between)
        near = _NearSearch(documents, exact, plan, between).run(directory)
    return Duplicates(documents, exact, near)


class _Documents:
    """All documents, and their order by who survives.

    Attributes:
        units: Of this run, then of the earlier corpora.
        num_ours: Documents of this run.
        by_rank: Numbers, the best first: those of earlier corpora, then the longest.
        rank_of: The rank of each document.
    """

    def __init__(self, units: Sequence[Path], earlier: Sequence[EarlierCorpus]) -> None:
        self._earlier = earlier
        self.units = FingerprintUnits([*units, *(path for each in earlier for path in each.units)])
        self._firsts = np.cumsum(
            [len(FingerprintUnits(units)), *(len(FingerprintUnits(each.units)) for each in earlier)]
        )
        self.num_ours = int(self._firsts[0])
        # Upside down: the longest first.
        keys = np.empty(len(self.units), np.uint32)
        for first, unit in self.units:
            np.invert(unit.lengths_N, out=keys[first : first + len(unit)])
        ours = np.argsort(keys[: self.num_ours], kind="stable").astype(np.uint32)
        others = np.argsort(keys[self.num_ours :], kind="stable").astype(np.uint32)
        self.by_rank = np.concatenate([others + np.uint32(self.num_ours), ours])
        self.rank_of = keys
        self.rank_of[self.by_rank] = np.arange(len(keys), dtype=np.uint32)

    def __len__(self) -> int:
        return len(self.units)

    @property
    def num_earlier(self) -> int:
        return len(self) - self.num_ours

    def identifier(self, number: int) -> str:
        return self.units.identifier(number)

    def corpus(self, number: int) -> str | None:
        if number < self.num_ours:
            return None
        return self._earlier[int(np.searchsorted(self._firsts, number, side="right")) - 1].name


def _exact_survivors(
    documents: _Documents, directory: Path, between: Between
) -> NDArray[np.uint32]:
    """Return for each document the number of the one that stands for its digest."""
    spill = Spill(directory / "digests", _DIGEST, len(documents))
    for first, unit in documents.units:
        between()
        records = np.empty(len(unit), _DIGEST)
        records["high"], records["low"] = unit.digests_N2.T
        records["rank"] = documents.rank_of[first : first + len(unit)]
        spill.add_by_hash(records, records["high"])
    survivors = np.arange(len(documents), dtype=np.uint32)
    for part in range(spill.num_parts):
        between()
        found = spill.part(part)
        found = found[np.lexsort((found["rank"], found["low"], found["high"]))]
        is_first = np.ones(len(found), dtype=bool)
        is_first[1:] = (found["high"][1:] != found["high"][:-1]) | (
            found["low"][1:] != found["low"][:-1]
        )
        best = found["rank"][np.flatnonzero(is_first)[np.cumsum(is_first) - 1]]
        survivors[documents.by_rank[found["rank"]]] = documents.by_rank[best]
    return survivors


class _NearSearch:
    """Near-duplicates among those documents that are no exact ones."""

    def __init__(
        self,
        documents: _Documents,
        exact: NDArray[np.uint32],
        plan: DuplicatesPlan,
        between: Between,
    ) -> None:
        self._documents = documents
        self._exact = exact
        self._plan = plan
        self._between = between

    def run(
        self, directory: Path
    ) -> tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.float64]]:
        """Return the dropped documents, their survivors, and how alike they are."""
        dropped, survivors, similarities = array("I"), array("I"), array("d")
        if self._plan.similarity is not None:
            documents = self._documents
            buckets = self._buckets(directory, self._plan.similarity)
            for rank, members in buckets.in_rank_order(self._between):
                number = int(documents.by_rank[rank])
                found = None
                if rank >= documents.num_earlier:
                    others = documents.by_rank[members.survivors()].astype(np.int64)
                    found = self._survivor(number, others, self._plan.similarity)
                if found is None:
                    members.join(rank)
                    continue
                dropped.append(number)
                survivors.append(found[0])
                similarities.append(found[1])
        return (
            np.array(dropped, np.uint32),
            np.array(survivors, np.uint32),
            np.array(similarities, np.float64),
        )

    def _buckets(self, directory: Path, threshold: float) -> Buckets:
        search = banded_buckets if self._plan.measure == "jaccard" else anchored_buckets
        documents = self._documents
        searched = Searched(documents.units, documents.rank_of, self._exact, documents.num_earlier)
        return search(searched, threshold, directory, self._between)

    def _survivor(
        self, number: int, others: NDArray[np.int64], threshold: float
    ) -> tuple[int, float] | None:
        """Return the first of `others` that the document is so alike, and how alike."""
        if not len(others):
            return None
        units, measure = self._documents.units, self._plan.measure
        are_many = len(others) > _FEW
        if are_many and measure == "jaccard":
            signature_H = units.signatures_NH([number])[0]
            others_NH = units.signatures_NH(others.tolist())
            others = others[likely(signature_H, others_NH, threshold)]
        mine = units.shingles(number)
        for other in others.tolist():
            theirs = units.shingles(other)
            if are_many and not may_reach(mine, theirs, measure, threshold):
                continue
            value = similarity(mine, theirs, measure)
            if value >= threshold:
                return other, value
        return None
