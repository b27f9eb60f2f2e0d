"""Encoded documents on their way into shards: the files of each unit, and all of them as one.

A document is one sequence of ids, a preference two: the chosen and the rejected. D sequences,
N tokens.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from llmctl.core import atomic
from llmctl.core.errors import DataError
from llmctl.core.tokenizing.string_columns import StringColumn

if TYPE_CHECKING:  # which costs a worker pydantic
    from llmctl.core.artifacts.shards import Content, Ids

MASK_DTYPE = np.dtype("u1")


@dataclass(frozen=True, slots=True)
class Sequences:
    """What is known of each sequence of a unit, or of all.

    Attributes:
        ids: Of its document.
        sources: Names of the inputs.
        sources_D: The number in `sources` of the one that its document was read from.
        hashes_D: The content hash of its document.
        num_bytes_D: Bytes of its document's text.
        lengths_D: Tokens, without the one that ends it.
        numbers_D: 1 for the rejected answer of a preference, 0 for all else.
        is_end_learned_D: Whether the token that ends it is learned.
        num_unlearned: Sequences of which nothing is learned.
        num_lost: Texts that do not come back whole.
    """

    ids: StringColumn
    sources: StringColumn
    sources_D: NDArray[np.int64]
    hashes_D: NDArray[np.uint64]
    num_bytes_D: NDArray[np.int64]
    lengths_D: NDArray[np.int64]
    numbers_D: NDArray[np.uint8]
    is_end_learned_D: NDArray[np.bool_]
    num_unlearned: int = 0
    num_lost: int = 0

    @classmethod
    def together(cls, units: Sequence[Sequences]) -> Sequences:
        """Put units together."""
        sources: dict[str, int] = {}
        numbers = [
            np.array(
                [sources.setdefault(name, len(sources)) for name in unit.sources],
                dtype=np.int64,
            )
            for unit in units
        ]
        return cls(
            StringColumn.together([unit.ids for unit in units]),
            StringColumn.of(list(sources)),
            np.concatenate([own[unit.sources_D] for own, unit in zip(numbers, units, strict=True)]),
            np.concatenate([unit.hashes_D for unit in units]),
            np.concatenate([unit.num_bytes_D for unit in units]),
            np.concatenate([unit.lengths_D for unit in units]),
            np.concatenate([unit.numbers_D for unit in units]),
            np.concatenate([unit.is_end_learned_D for unit in units]),
            sum(unit.num_unlearned for unit in units),
            sum(unit.num_lost for unit in units),
        )

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all.

        Raises:
            StorageError: The disk is full.
        """
        content = io.BytesIO()
        np.savez(
            content,
            ids=self.ids.data,
            ids_ends=self.ids.ends_S,
            sources=self.sources.data,
            sources_ends=self.sources.ends_S,
            source=self.sources_D,
            content_hash=self.hashes_D,
            num_bytes=self.num_bytes_D,
            num_tokens=self.lengths_D,
            number=self.numbers_D,
            is_end_learned=self.is_end_learned_D,
            num_unlearned=self.num_unlearned,
            num_lost=self.num_lost,
        )
        atomic.write_file(path, content.getvalue())

    @classmethod
    def read(cls, path: Path) -> Sequences:
        """Read a file that `write` made.

        Raises:
            DataError: It is damaged.
        """
        with as_damage(path), path.open("rb") as file, np.load(file, allow_pickle=False) as found:
            return cls(
                StringColumn(found["ids"], found["ids_ends"]),
                StringColumn(found["sources"], found["sources_ends"]),
                found["source"],
                found["content_hash"],
                found["num_bytes"],
                found["num_tokens"],
                found["number"],
                found["is_end_learned"],
                int(found["num_unlearned"]),
                int(found["num_lost"]),
            )


@dataclass(frozen=True, slots=True)
class UnitFiles:
    """Where the files of a unit lie.

    Attributes:
        directory: Of all units.
        name: Of this one.
    """

    directory: Path
    name: str

    @property
    def ids(self) -> Path:
        """The ids of its documents, one after the other, without the tokens that end them."""
        return self.directory / f"{self.name}.ids"

    @property
    def mask(self) -> Path:
        """For each id whether it is learned; not there where all are."""
        return self.directory / f"{self.name}.mask"

    @property
    def tally(self) -> Path:
        """What was counted; see `TokenTally`."""
        return self.directory / f"{self.name}.tally"

    @property
    def sample(self) -> Path:
        """Some of its text, for comparing tokenizers; see `sampling`."""
        return self.directory / f"{self.name}.sample"

    @property
    def sequences(self) -> Path:
        """What is known of each sequence; written last."""
        return self.directory / f"{self.name}.npz"

    @property
    def is_finished(self) -> bool:
        """Whether the unit is whole."""
        return self.sequences.exists()

    def write(self, ids: Ids, mask: NDArray[np.uint8] | None, sequences: Sequences) -> None:
        """Write ids, mask and what is known of each sequence, the last file of a unit.

        Raises:
            StorageError: The disk is full.
        """
        atomic.write_file(self.ids, ids.tobytes())
        if mask is not None:
            atomic.write_file(self.mask, mask.astype(MASK_DTYPE).tobytes())
        sequences.write(self.sequences)


@dataclass(frozen=True, slots=True)
class EncodedUnit:
    """One unit's documents.

    Attributes:
        first_document: The number of the first.
        lengths_D: Tokens of each.
        ids: Of all.
    """

    first_document: int
    lengths_D: NDArray[np.int64]
    ids: Ids


class EncodedDocuments:
    """The sequences of all units, by their number.

    Args:
        units: In the order of the corpora.
        dtype: Of the ids on the disk.

    Raises:
        DataError: A file is damaged.

    Attributes:
        sequences: What is known of each.
        corpora_D: The number of the corpus of each.
        lengths_D: The tokens of each, without the one that ends it.
        hashes_D: The content hash of its document.
        content: What the documents are.
    """

    def __init__(self, units: Sequence[UnitFiles], dtype: np.dtype[Any]) -> None:
        self._ids: list[Ids] = []
        self._masks: list[NDArray[np.uint8] | None] = []
        found: list[Sequences] = []
        starts: list[NDArray[np.int64]] = []
        for unit in units:
            sequences = Sequences.read(unit.sequences)
            ends = np.cumsum(sequences.lengths_D)
            starts.append(ends - sequences.lengths_D)
            num_tokens = int(ends[-1]) if len(ends) else 0
            self._ids.append(_mapped(unit.ids, dtype, num_tokens))
            has_mask = unit.mask.exists()
            self._masks.append(_mapped(unit.mask, MASK_DTYPE, num_tokens) if has_mask else None)
            found.append(sequences)
        self.sequences = Sequences.together(found)
        self._counts = [len(sequences.ids) for sequences in found]
        self._units_D = np.repeat(np.arange(len(units)), self._counts)
        corpora = [int(unit.name.split("-")[0]) for unit in units]
        self.corpora_D = np.repeat(corpora, self._counts)
        self._starts_D = np.concatenate(starts)
        self.lengths_D = self.sequences.lengths_D
        self.hashes_D = self.sequences.hashes_D
        self._dtype = dtype
        num_second = int(self.sequences.numbers_D.sum())
        if num_second and 2 * num_second != len(self.lengths_D):
            raise DataError(
                f"{num_second:,} documents have a chosen and a rejected answer, and "
                f"{len(self.lengths_D) - 2 * num_second:,} have not; tokenize preferences by "
                "themselves"
            )
        has_mask = any(mask is not None for mask in self._masks)
        self.content: Content = "conversation" if has_mask else "text"
        if num_second:
            self.content = "preference"

    def units(self) -> Iterator[EncodedUnit]:
        """Yield the units in order."""
        first = 0
        for ids, count in zip(self._ids, self._counts, strict=True):
            yield EncodedUnit(first, self.lengths_D[first : first + count], ids)
            first += count

    def ids_of(self, document: int) -> Ids:
        """Return the ids of one document, without the one that ends it."""
        start = int(self._starts_D[document])
        ids = self._ids[int(self._units_D[document])]
        return ids[start : start + int(self.lengths_D[document])]

    def gathered(
        self, documents: NDArray[np.int64], end_id: int
    ) -> tuple[Ids, NDArray[np.uint8] | None, NDArray[np.int64]]:
        """Return sequences one after the other, each ended.

        Args:
            documents: Their numbers, in any order.
            end_id: What ends each.

        Returns:
            The ids, shape (N,); whether each is learned, None where all are; the tokens of
            each sequence.
        """
        lengths = self.lengths_D[documents]
        whole = lengths + 1
        ends = np.cumsum(whole)
        first = ends - whole
        ids = np.full(int(ends[-1]) if len(ends) else 0, end_id, dtype=self._dtype)
        mask = None if self.content == "text" else np.ones(len(ids), dtype=MASK_DTYPE)
        if mask is not None and len(mask):
            mask[ends - 1] = self.sequences.is_end_learned_D[documents]
        units = self._units_D[documents]
        for unit in np.unique(units).tolist():
            chosen = np.flatnonzero(units == unit)
            sizes = lengths[chosen]
            total = np.cumsum(sizes)
            within = np.arange(int(total[-1])) - np.repeat(total - sizes, sizes)
            source = np.repeat(self._starts_D[documents[chosen]], sizes) + within
            target = np.repeat(first[chosen], sizes) + within
            ids[target] = self._ids[unit][source]
            unit_mask = self._masks[unit]
            if mask is not None and unit_mask is not None:
                mask[target] = unit_mask[source]
        return ids, mask, whole


def _mapped(path: Path, dtype: np.dtype[Any], num_tokens: int) -> NDArray[Any]:
    if not num_tokens:  # nothing cannot be mapped
        return np.empty(0, dtype)
    with as_damage(path):
        if path.stat().st_size != num_tokens * dtype.itemsize:
            raise ValueError("its size")
        return np.memmap(path, dtype=dtype, mode="r")


@contextmanager
def as_damage(path: Path) -> Generator[None]:
    """Take what goes wrong within for damage of a file.

    Raises:
        DataError: Something went wrong.
    """
    try:
        yield
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: damaged; remove it and run the same command again") from error
