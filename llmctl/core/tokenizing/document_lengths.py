"""Lengths of documents in tokens, counted in bins that keep quantiles to two per cent.

A bin holds one length below 64, and above it a thirty-second of an octave, so that a whole
distribution is some hundred numbers and the sum of two is that of both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmctl.core.artifacts.shards_facts import LengthFacts

QUANTILES = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99)
_BINS_BITS = 5  # in an octave
_BARS_BITS = 2  # in an octave, too
_OCTAVES = 63


class DocumentLengths:
    """Counts of documents by their length."""

    def __init__(self) -> None:
        self._bins = np.zeros(_bins_of(np.array([1 << (_OCTAVES - 1)]))[0] + 1, dtype=np.int64)
        self._tokens = 0
        self._shortest: int | None = None
        self._longest = 0

    def add(self, lengths_D: Sequence[int] | NDArray[np.integer]) -> None:
        """Count documents by their tokens."""
        lengths = np.asarray(lengths_D, dtype=np.int64)
        if not len(lengths):
            return
        self._bins += np.bincount(_bins_of(lengths), minlength=len(self._bins))
        self._add_extent(int(lengths.sum()), int(lengths.min()), int(lengths.max()))

    def _add_extent(self, tokens: int, shortest: int, longest: int) -> None:
        self._tokens += tokens
        self._shortest = shortest if self._shortest is None else min(shortest, self._shortest)
        self._longest = max(longest, self._longest)

    def as_json(self) -> dict[str, Any]:
        """Return everything, for `add_json`."""
        places = np.flatnonzero(self._bins)
        return {
            "tokens": self._tokens,
            "shortest": self._shortest,
            "longest": self._longest,
            "bins": [[int(place), int(self._bins[place])] for place in places],
        }

    def add_json(self, content: Mapping[str, Any]) -> None:
        """Add what another's `as_json` returned."""
        if content["shortest"] is None:
            return
        for place, count in content["bins"]:
            self._bins[place] += count
        self._add_extent(content["tokens"], content["shortest"], content["longest"])

    def facts(self) -> LengthFacts | None:
        """Return what a report says of them; None without documents."""
        if self._shortest is None:
            return None
        places = np.flatnonzero(self._bins)
        counts = self._bins[places]
        starts = _starts_of(places)
        middles = (starts + _starts_of(places + 1) - 1) // 2
        up_to = np.cumsum(counts)
        total = int(up_to[-1])
        shown = np.clip(middles, self._shortest, self._longest)
        quantiles = {
            share: int(shown[np.searchsorted(up_to, np.ceil(share * total))]) for share in QUANTILES
        }
        edges = _bar_edges(self._longest)
        bars = np.bincount(np.searchsorted(edges, starts, side="right") - 1, counts).astype(int)
        first = int(np.flatnonzero(bars)[0])
        return LengthFacts(
            documents=total,
            tokens=self._tokens,
            shortest=self._shortest,
            longest=self._longest,
            quantiles=quantiles,
            edges=edges[first : len(bars) + 1],
            counts=bars[first:].tolist(),
        )


def _bins_of(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    # frexp gives the bit length; what it rounds up to the next octave is longer than any text.
    octaves = np.maximum(np.frexp(lengths)[1].astype(np.int64) - (_BINS_BITS + 1), 0)
    return (octaves << _BINS_BITS) + (lengths >> octaves)


def _starts_of(bins: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the least length of each bin."""
    octaves = np.maximum((bins >> _BINS_BITS) - 1, 0)
    return (bins - (octaves << _BINS_BITS)) << octaves


def _bar_edges(longest: int) -> list[int]:
    """Return 0, 1, … 8, 10, 12, 14, 16, 20 and so on, up to beyond the longest."""
    edges = list(range(1 << _BARS_BITS))
    step = 1
    while edges[-1] <= longest:
        first = step << _BARS_BITS
        edges += range(first, 2 * first, step)
        step *= 2
    return edges
