"""Candidates for near-duplicates among all units, put into buckets.

Shapes: N documents of a unit, S shingles of a unit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from llmctl.core.artifacts.fingerprint_units import FingerprintUnit, FingerprintUnits
from llmctl.core.cleaning.duplicate_buckets import Buckets
from llmctl.core.cleaning.spill import Spill
from llmctl.core.text.near_duplicates import NUM_HASHES, band_keys, band_rows, num_anchors
from llmctl.core.text.polynomial_hashes import mixed

_ANCHOR = np.dtype("<u4")
_SLICE_DOCUMENTS = 1 << 14
_SLICE_SHINGLES = 1 << 20
_FILTER_BITS = 24
_FILTER_SHIFT = np.uint32(32 - _FILTER_BITS)


@dataclass(frozen=True, slots=True)
class Searched:
    """The documents among which near-duplicates are sought.

    Attributes:
        units: All of them.
        ranks: The rank of each document.
        exact: For each document the number of the one that is as good as equal to it;
            only documents that stand for themselves are searched.
        num_earlier: Ranks below this are of earlier corpora.
    """

    units: FingerprintUnits
    ranks: NDArray[np.uint32]
    exact: NDArray[np.uint32]
    num_earlier: int

    def chosen(self) -> Iterator[tuple[FingerprintUnit, NDArray[np.int64], NDArray[np.uint32]]]:
        """Yield each unit, which of its documents are searched, and their ranks."""
        for first, unit in self.units:
            sizes_N = np.diff(unit.shingle_ends_N, prepend=0)
            numbers_N = np.arange(first, first + len(unit), dtype=np.uint32)
            chosen = np.flatnonzero(
                (self.exact[first : first + len(unit)] == numbers_N) & (sizes_N > 0)
            )
            yield unit, chosen, self.ranks[first + chosen]


def banded_buckets(
    searched: Searched, threshold: float, scratch: Path, between: Callable[[], object]
) -> Buckets:
    """Put documents whose MinHash signatures share a band into one bucket."""
    num_bands = NUM_HASHES // band_rows(threshold)
    buckets = Buckets(
        scratch, len(searched.ranks) * num_bands, len(searched.ranks), searched.num_earlier
    )
    for unit, chosen, ranks in searched.chosen():
        for start in range(0, len(chosen), _SLICE_DOCUMENTS):
            between()
            part = slice(start, start + _SLICE_DOCUMENTS)
            keys = band_keys(unit.signatures_NH[chosen[part]], threshold)
            buckets.add(keys.ravel(), np.repeat(ranks[part], num_bands))
    return buckets


def anchored_buckets(
    searched: Searched, threshold: float, scratch: Path, between: Callable[[], object]
) -> Buckets:
    """Put each document into a bucket with those that hold one of its anchors.

    Anchors are a document's smallest hashes, a sample of its shingles without bias.
    """
    most = num_anchors(threshold)
    num_anchored = most * len(searched.ranks)
    anchors = Spill(scratch / "anchors", _ANCHOR, num_anchored)
    for unit, chosen, _ in searched.chosen():
        between()
        found = unit.shingles_S[_anchor_places(unit, chosen, most)]
        # Anchors are small numbers: only mixed are they spread evenly over the parts.
        anchors.add_by_hash(found, mixed(found.astype(np.uint64)))
    buckets = Buckets(
        scratch,
        min(searched.units.num_shingles, 4 * num_anchored),
        len(searched.ranks),
        searched.num_earlier,
    )
    for part in range(anchors.num_parts):
        table = _Anchors(anchors.part(part), most)
        for unit, chosen, ranks in searched.chosen():
            between()
            _add_holders(buckets, unit, chosen, ranks, table)
    return buckets


def _add_holders(
    buckets: Buckets,
    unit: FingerprintUnit,
    chosen: NDArray[np.int64],
    ranks: NDArray[np.uint32],
    anchors: _Anchors,
) -> None:
    """Add the documents of a unit that hold one of the anchors."""
    rank_N = np.zeros(len(unit), np.uint32)
    rank_N[chosen] = ranks
    is_chosen_N = np.zeros(len(unit), dtype=bool)
    is_chosen_N[chosen] = True
    starts_N = np.concatenate([[0], unit.shingle_ends_N[:-1]])
    for start in range(0, len(unit.shingles_S), _SLICE_SHINGLES):
        places = start + anchors.found_in(unit.shingles_S[start : start + _SLICE_SHINGLES])
        documents = np.searchsorted(unit.shingle_ends_N, places, side="right")
        places, documents = places[is_chosen_N[documents]], documents[is_chosen_N[documents]]
        keys = mixed(unit.shingles_S[places].astype(np.uint64))
        seeks = places < starts_N[documents] + anchors.per_document
        buckets.add(keys, rank_N[documents], seeks)


class _Anchors:
    """A part of all anchors, to look shingles up in.

    Args:
        anchors: With repeats, in any order.
        per_document: How many each document has.
    """

    def __init__(self, anchors: NDArray[np.uint32], per_document: int) -> None:
        self.per_document = per_document
        self._sorted = np.unique(anchors)
        self._is_possible = np.zeros(1 << _FILTER_BITS, dtype=bool)
        self._is_possible[self._sorted >> _FILTER_SHIFT] = True

    def found_in(self, shingles_S: NDArray[np.uint32]) -> NDArray[np.intp]:
        """Return the places of those shingles that are anchors."""
        if not len(self._sorted):
            return np.empty(0, np.intp)
        places = np.flatnonzero(self._is_possible[shingles_S >> _FILTER_SHIFT])
        shingles = shingles_S[places]
        rows = np.searchsorted(self._sorted, shingles)
        rows[rows == len(self._sorted)] = 0
        return places[self._sorted[rows] == shingles]


def _anchor_places(
    unit: FingerprintUnit, chosen: NDArray[np.int64], most: int
) -> NDArray[np.int64]:
    """Return where the anchors of the chosen documents are among the unit's shingles."""
    sizes = np.diff(unit.shingle_ends_N, prepend=0)[chosen]
    counts = np.minimum(sizes, most)
    starts = unit.shingle_ends_N[chosen] - sizes
    return np.repeat(starts - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
