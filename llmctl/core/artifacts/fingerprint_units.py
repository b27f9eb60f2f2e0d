"""Fingerprints of the documents of a unit of work, in a file beside it, mapped when read.

The file is a mark of eight bytes, five counts (N, H, S, L and the bytes of all ids) and a
checksum of these, then the arrays of `FingerprintUnit` in the order of its attributes,
each beginning at a multiple of eight bytes. All is little-endian.

Shapes: N documents, H hash functions, S shingles of all documents, L lines of all.
"""

from __future__ import annotations

import bisect
import itertools
import mmap
import os
import struct
import zlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmctl.core import atomic
from llmctl.core.errors import DataError, MissingInputError

_MARK = b"llmctlF1"
_HEADER_BYTES = 56
# Some systems give 256 file descriptors to a process.
_MAX_OPEN = 100


@dataclass(frozen=True, slots=True)
class FingerprintUnit:
    """Fingerprints of documents in order; what they mean is `core.text.fingerprints`' matter.

    Attributes:
        digests_N2: Equal for exact duplicates.
        lengths_N: Characters.
        signatures_NH: MinHash.
        shingle_ends_N: Where each document's shingles end.
        shingles_S: Shingles of one document after the other.
        line_ends_N: Where each document's lines end.
        lines_L: Hashes of lines of one document after the other.
        id_ends_N: Where each document's id ends.
        ids: UTF-8 of all ids.
    """

    digests_N2: NDArray[np.uint64]
    lengths_N: NDArray[np.uint32]
    signatures_NH: NDArray[np.uint16]
    shingle_ends_N: NDArray[np.int64]
    shingles_S: NDArray[np.uint32]
    line_ends_N: NDArray[np.int64]
    lines_L: NDArray[np.uint64]
    id_ends_N: NDArray[np.int64]
    ids: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.lengths_N)

    def shingles(self, document: int) -> NDArray[np.uint32]:
        """Return the shingles of a document."""
        return _part(self.shingles_S, self.shingle_ends_N, document)

    def identifier(self, document: int) -> str:
        """Return the id of a document."""
        return _part(self.ids, self.id_ends_N, document).tobytes().decode("utf-8", "surrogatepass")

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all.

        Raises:
            StorageError: The disk is full or failing.
        """
        counts = (
            *self.signatures_NH.shape,
            len(self.shingles_S),
            len(self.lines_L),
            len(self.ids),
        )
        parts = [_header(counts)]
        for (name, dtype, _), start, stop in _layout(counts):
            data = np.ascontiguousarray(getattr(self, name), dtype=dtype).tobytes()
            parts += [data, bytes(stop - start - len(data))]
        atomic.write_file(path, b"".join(parts))

    @classmethod
    def read(cls, path: Path) -> FingerprintUnit:
        """Map a file into memory.

        Raises:
            DataError: It is damaged.
            MissingInputError: It is not there.
        """
        counts = _read_counts(path)
        layout = _layout(counts)
        num_bytes = layout[-1][2]
        if path.stat().st_size != num_bytes:
            raise _damaged(path)
        with path.open("rb") as handle:
            mapped = mmap.mmap(handle.fileno(), num_bytes, access=mmap.ACCESS_READ)
        return cls(
            *(
                np.frombuffer(mapped, dtype, int(np.prod(shape)), start).reshape(shape)
                for (_, dtype, shape), start, _ in layout
            )
        )


class FingerprintUnits:
    """The documents of many units by number; few files are open at a time, none is mapped.

    Args:
        paths: The files, in order.

    Raises:
        DataError: One is damaged.
        MissingInputError: One is not there.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = tuple(paths)
        self._open: OrderedDict[int, int] = OrderedDict()
        counts = [_read_counts(path) for path in paths]
        self._firsts = list(itertools.accumulate((count[0] for count in counts), initial=0))
        self._num_hashes = counts[0][1] if counts else 0
        self._starts = [_starts(count) for count in counts]
        self.num_shingles = sum(count[2] for count in counts)
        self.num_lines = sum(count[3] for count in counts)

    def __del__(self) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)

    def __len__(self) -> int:
        return self._firsts[-1]

    def __iter__(self) -> Iterator[tuple[int, FingerprintUnit]]:
        """Yield the number of each unit's first document, and the unit."""
        for number, path in enumerate(self._paths):
            yield self._firsts[number], FingerprintUnit.read(path)

    def shingles(self, document: int) -> NDArray[np.uint32]:
        """Return the shingles of a document."""
        return np.frombuffer(self._part(document, "shingle_ends_N", "shingles_S", 4), "<u4")

    def identifier(self, document: int) -> str:
        """Return the id of a document."""
        return self._part(document, "id_ends_N", "ids", 1).decode("utf-8", "surrogatepass")

    def signatures_NH(self, documents: Sequence[int]) -> NDArray[np.uint16]:  # noqa: N802
        """Return the signatures of documents."""
        row_bytes = 2 * self._num_hashes
        rows: list[bytes] = []
        for document in documents:
            unit, place = self._place(document)
            start = self._starts[unit]["signatures_NH"] + place * row_bytes
            rows.append(self._read(unit, row_bytes, start))
        return np.frombuffer(b"".join(rows), "<u2").reshape(len(documents), self._num_hashes)

    def _place(self, document: int) -> tuple[int, int]:
        unit = bisect.bisect_right(self._firsts, document) - 1
        return unit, document - self._firsts[unit]

    def _part(self, document: int, ends: str, values: str, item_bytes: int) -> bytes:
        unit, place = self._place(document)
        starts = self._starts[unit]
        if place:
            found = self._read(unit, 16, starts[ends] + 8 * (place - 1))
            first, last = struct.unpack("<2q", found)
        else:
            first, (last,) = 0, struct.unpack("<q", self._read(unit, 8, starts[ends]))
        return self._read(unit, item_bytes * (last - first), starts[values] + item_bytes * first)

    def _read(self, unit: int, num_bytes: int, start: int) -> bytes:
        if unit in self._open:
            self._open.move_to_end(unit)
        else:
            self._open[unit] = os.open(self._paths[unit], os.O_RDONLY)
            if len(self._open) > _MAX_OPEN:
                os.close(self._open.popitem(last=False)[1])
        data = os.pread(self._open[unit], num_bytes, start)
        if len(data) != num_bytes:
            raise _damaged(self._paths[unit])
        return data


def _part(values: NDArray[Any], ends_N: NDArray[np.int64], document: int) -> NDArray[Any]:
    return values[int(ends_N[document - 1]) if document else 0 : int(ends_N[document])]


def _layout(counts: Sequence[int]) -> list[tuple[tuple[str, str, tuple[int, ...]], int, int]]:
    """Return name, type and shape of each array, and where it starts and ends in the file."""
    num_documents, num_hashes, num_shingles, num_lines, num_bytes = counts
    arrays: list[tuple[str, str, tuple[int, ...]]] = [
        ("digests_N2", "<u8", (num_documents, 2)),
        ("lengths_N", "<u4", (num_documents,)),
        ("signatures_NH", "<u2", (num_documents, num_hashes)),
        ("shingle_ends_N", "<i8", (num_documents,)),
        ("shingles_S", "<u4", (num_shingles,)),
        ("line_ends_N", "<i8", (num_documents,)),
        ("lines_L", "<u8", (num_lines,)),
        ("id_ends_N", "<i8", (num_documents,)),
        ("ids", "u1", (num_bytes,)),
    ]
    start = _HEADER_BYTES
    places: list[tuple[tuple[str, str, tuple[int, ...]], int, int]] = []
    for name, dtype, shape in arrays:
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        places.append(((name, dtype, shape), start, start + size + -size % 8))
        start = places[-1][2]
    return places


def _starts(counts: Sequence[int]) -> dict[str, int]:
    return {name: start for (name, _, _), start, _ in _layout(counts)}


def _header(counts: Sequence[int]) -> bytes:
    content = _MARK + np.array(counts, dtype="<u8").tobytes()
    return content + np.array([zlib.crc32(content)], dtype="<u8").tobytes()


def _read_counts(path: Path) -> tuple[int, ...]:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError as error:
        raise MissingInputError(f"{path}: not there; run the same command again") from error
    try:
        header = os.pread(descriptor, _HEADER_BYTES, 0)
    finally:
        os.close(descriptor)
    counts = tuple(np.frombuffer(header[8:48], "<u8").tolist()) if len(header) >= 48 else ()
    if len(counts) != 5 or header != _header(counts):
        raise _damaged(path)
    return counts


def _damaged(path: Path) -> DataError:
    return DataError(f"{path}: damaged; remove it and run the same command again")
