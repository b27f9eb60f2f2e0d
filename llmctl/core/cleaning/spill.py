"""Records on the disk, divided by a number, so that each part fits into memory."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

PART_RECORDS = 1 << 20
"""About so many records are held at a time."""


class Spill:
    """Takes records in any order and gives them back part by part.

    Args:
        directory: Where the parts lie until they are read.
        dtype: Of a record.
        num_records: About how many there will be; decides the number of parts.
    """

    def __init__(self, directory: Path, dtype: np.dtype[Any], num_records: int) -> None:
        self._directory = directory
        self._dtype = dtype
        self.num_parts = max(1, math.ceil(num_records / PART_RECORDS))
        self._waiting: list[tuple[NDArray[Any], NDArray[np.int64]]] = []
        self._num_waiting = 0
        directory.mkdir()

    def add(self, records: NDArray[Any], parts: NDArray[np.int64]) -> None:
        """Take records, each for a part below `num_parts`."""
        self._waiting.append((records, parts))
        self._num_waiting += len(records)
        if self._num_waiting >= PART_RECORDS:
            self._write()

    def add_by_hash(self, records: NDArray[Any], hashes: NDArray[np.uint64]) -> None:
        """Take records, divided by the first bits of a hash; parts are in the hashes' order."""
        high = hashes >> np.uint64(32)
        self.add(records, ((high * np.uint64(self.num_parts)) >> np.uint64(32)).astype(np.int64))

    def part(self, number: int) -> NDArray[Any]:
        """Return a part's records, in no order, and forget them."""
        self._write()
        path = self._path(number)
        if not path.exists():
            return np.empty(0, self._dtype)
        records = np.fromfile(path, self._dtype)
        path.unlink()
        return records

    def _path(self, number: int) -> Path:
        return self._directory / f"{number:05d}"

    def _write(self) -> None:
        if not self._waiting:
            return
        records = np.concatenate([pair[0] for pair in self._waiting])
        parts = np.concatenate([pair[1] for pair in self._waiting])
        self._waiting, self._num_waiting = [], 0
        order = np.argsort(parts, kind="stable")
        records, parts = records[order], parts[order]
        present = np.unique(parts)
        stops = np.searchsorted(parts, present, side="right")
        start = 0
        for number, stop in zip(present.tolist(), stops.tolist(), strict=True):
            with self._path(number).open("ab") as handle:
                handle.write(records[start:stop].tobytes())
            start = stop
