"""Encoded documents on their way into shards: units of work, in the order of the corpus.

D documents in a unit or in all, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from llmctl.core import atomic
from llmctl.core.errors import DataError

IDS_DTYPE = np.dtype("<u4")
_LENGTHS_DTYPE = np.dtype("<u8")


@dataclass(frozen=True)
class EncodedUnit:
    """A stretch of documents, one after the other, without the tokens that end them.

    The file is D and the length of each document in tokens, uint64, then all ids, uint32.

    Attributes:
        lengths_D: Tokens of each document.
        ids: The ids of all.
    """

    lengths_D: NDArray[np.uint64]
    ids: NDArray[np.uint32]

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all.

        Raises:
            StorageError: The disk is full.
        """
        header = np.array([len(self.lengths_D), *self.lengths_D], dtype=_LENGTHS_DTYPE)
        atomic.write_file(path, header.tobytes() + self.ids.astype(IDS_DTYPE).tobytes())

    @classmethod
    def read(cls, path: Path, num_documents: int) -> EncodedUnit:
        """Map a file into memory.

        Raises:
            DataError: It is not one of so many documents.
        """
        header = np.fromfile(path, dtype=_LENGTHS_DTYPE, count=1 + num_documents)
        num_ids = int(header[1:].sum())
        num_bytes = header.nbytes + num_ids * IDS_DTYPE.itemsize
        if header[:1].tolist() != [num_documents] or path.stat().st_size != num_bytes:
            raise DataError(f"{path}: damaged; remove it and run the same command again")
        ids: NDArray[np.uint32] = np.empty(0, IDS_DTYPE)
        if num_ids:  # nothing cannot be mapped
            ids = np.memmap(path, dtype=IDS_DTYPE, mode="r", offset=header.nbytes)
        return cls(header[1:], ids)


class EncodedDocuments:
    """The ids of every document of a corpus, by its number.

    Args:
        units: In the order of the corpus.
    """

    def __init__(self, units: Sequence[EncodedUnit]) -> None:
        self._units = units
        self._stops = [np.cumsum(unit.lengths_D) for unit in units]
        self._first_documents = np.cumsum([0, *(len(unit.lengths_D) for unit in units)])
        self.lengths_D = np.concatenate([unit.lengths_D for unit in units])

    def __getitem__(self, document: int) -> NDArray[np.uint32]:
        unit = int(np.searchsorted(self._first_documents, document, side="right")) - 1
        stop = int(self._stops[unit][document - self._first_documents[unit]])
        return self._units[unit].ids[stop - int(self.lengths_D[document]) : stop]

    def occurrences(self, vocab_size: int) -> NDArray[np.int64]:
        """Return how often each id occurs, shape (V,)."""
        found_V = np.zeros(vocab_size, dtype=np.int64)
        for unit in self._units:
            found_V += np.bincount(unit.ids, minlength=vocab_size)
        return found_V
