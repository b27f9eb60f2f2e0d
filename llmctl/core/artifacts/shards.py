"""Shards: token ids on disk, little-endian, as `numpy.memmap` reads them.

    train-00000.bin     ids of whole documents, uint16 where every id fits, else uint32
    train-00000.ends    the end of each document of that file, in tokens of that file, uint64
    validation-…        the same
    documents.parquet   where each document went: id, source, split, offset (in the split)
    tokenizer.json      what made the ids
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from llmctl.core import atomic
from llmctl.core.errors import DataError
from llmctl.core.manifest import Manifest, require_manifest

SplitName = Literal["train", "validation"]
TOKENIZER_NAME = "tokenizer.json"
DOCUMENTS_NAME = "documents.parquet"
KIND = "shards"
_END_DTYPE = np.dtype("<u8")


def dtype_for(vocab_size: int) -> np.dtype:
    """Return the narrowest of uint16 and uint32 that holds every id."""
    return np.dtype("<u2") if vocab_size <= 1 << 16 else np.dtype("<u4")


class SplitWriter:
    """Writes the documents of one split into files of about `shard_tokens`.

    Args:
        directory: Where the files go.
        split: train or validation.
        vocab_size: Bounds the ids, and decides their type.
        shard_tokens: A file is closed at the first document end after so many tokens.
    """

    def __init__(
        self, directory: Path, split: SplitName, vocab_size: int, shard_tokens: int
    ) -> None:
        self._directory = directory
        self._split = split
        self._vocab_size = vocab_size
        self._shard_tokens = shard_tokens
        self._dtype = dtype_for(vocab_size)
        self._pieces: list[np.ndarray] = []
        self._ends: list[int] = []
        self._num_files = 0
        self._tokens_in_file = 0
        self.num_tokens = 0
        self.num_documents = 0

    def write(self, ids: Sequence[int] | np.ndarray) -> int:
        """Append a document and return its offset in the split.

        Raises:
            ValueError: An id is outside the vocabulary.
        """
        wide = np.asarray(ids, dtype=np.int64)
        if len(wide) and not 0 <= wide.min() <= wide.max() < self._vocab_size:
            raise ValueError(f"ids {wide.min()} … {wide.max()} outside 0 … {self._vocab_size - 1}")
        offset = self.num_tokens
        self._pieces.append(wide.astype(self._dtype))
        self._tokens_in_file += len(wide)
        self._ends.append(self._tokens_in_file)
        self.num_tokens += len(wide)
        self.num_documents += 1
        if self._tokens_in_file >= self._shard_tokens:
            self.close()
        return offset

    def close(self) -> None:
        """Write the file in the making, if it holds anything."""
        if not self._ends:
            return
        path = self._directory / f"{self._split}-{self._num_files:05d}.bin"
        with atomic.storage_errors(path):
            path.write_bytes(np.concatenate(self._pieces).tobytes())
            atomic.observer("write", path)
            ends = path.with_suffix(".ends")
            ends.write_bytes(np.array(self._ends, dtype=_END_DTYPE).tobytes())
            atomic.observer("write", ends)
        self._num_files += 1
        self._pieces, self._ends, self._tokens_in_file = [], [], 0


def write_documents_table(directory: Path, rows: Sequence[tuple[str, str, str, int]]) -> None:
    """Write `documents.parquet` from (id, source, split, offset) rows."""
    names = ("id", "source", "split", "offset")
    columns = list(zip(*rows, strict=True)) or [()] * len(names)
    types = (pa.string(), pa.string(), pa.string(), pa.uint64())
    arrays = [pa.array(column, kind) for column, kind in zip(columns, types, strict=True)]
    path = directory / DOCUMENTS_NAME
    with atomic.storage_errors(path):
        pq.write_table(pa.table(arrays, names=names), path, compression="zstd")
        atomic.observer("write", path)


class TokenView:
    """The ids of several files as one sequence, read as they are asked for."""

    def __init__(self, files: Sequence[np.ndarray]) -> None:
        self._files = files
        self._starts = np.cumsum([0, *(len(file) for file in files)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, part: slice) -> np.ndarray:
        """Return the ids of a slice without a step; a copy where it crosses a file's border."""
        start, stop, _ = part.indices(len(self))
        first = int(np.searchsorted(self._starts, start, side="right")) - 1
        pieces: list[np.ndarray] = []
        while start < stop:
            base, end = int(self._starts[first]), int(self._starts[first + 1])
            pieces.append(self._files[first][start - base : min(stop, end) - base])
            start, first = end, first + 1
        if len(pieces) == 1:
            return pieces[0]
        return np.concatenate(pieces) if pieces else np.empty(0, dtype=np.uint32)


class TokenSplit:
    """One split of the shards.

    Attributes:
        tokens: All ids, to be sliced.
        ends: The end of each document in `tokens`, uint64, shape (num_documents,).
    """

    def __init__(self, tokens: TokenView, ends: np.ndarray) -> None:
        self.tokens = tokens
        self.ends = ends

    @property
    def num_tokens(self) -> int:
        """Tokens in all."""
        return len(self.tokens)

    @property
    def num_documents(self) -> int:
        """Documents in all."""
        return len(self.ends)

    def document(self, index: int) -> np.ndarray:
        """Return the ids of a document, its end-of-text included."""
        start = int(self.ends[index - 1]) if index else 0
        return self.tokens[start : int(self.ends[index])]


class TokenShards:
    """A shards directory, opened for reading."""

    def __init__(self, directory: Path, manifest: Manifest) -> None:
        self.directory = directory
        self.manifest = manifest
        self.vocab_size = int(manifest.counts["vocab_size"])

    @classmethod
    def open(cls, directory: Path) -> TokenShards:
        """Open finished shards.

        Raises:
            MissingInputError: There are none.
            DataError: They are of another kind, or their manifest is damaged.
        """
        return cls(directory, require_manifest(directory, KIND))

    @property
    def tokenizer_path(self) -> Path:
        """The tokenizer that made the ids."""
        return self.directory / TOKENIZER_NAME

    def split(self, name: SplitName) -> TokenSplit:
        """Return one split.

        Raises:
            DataError: A file's size does not fit its document ends.
        """
        files: list[np.ndarray] = []
        ends: list[np.ndarray] = []
        base = 0
        for file_name in sorted(self.manifest.files):
            path = self.directory / file_name
            if not (file_name.startswith(f"{name}-") and path.suffix == ".bin"):
                continue
            file_ends = np.fromfile(path.with_suffix(".ends"), dtype=_END_DTYPE)
            num_tokens, rest = divmod(path.stat().st_size, dtype_for(self.vocab_size).itemsize)
            if rest or len(file_ends) == 0 or int(file_ends[-1]) != num_tokens:
                raise DataError(
                    f"{path}: {num_tokens} tokens, but its documents end elsewhere; damaged"
                )
            files.append(np.memmap(path, dtype=dtype_for(self.vocab_size), mode="r"))
            ends.append(file_ends + np.uint64(base))
            base += num_tokens
        all_ends = np.concatenate(ends) if ends else np.empty(0, dtype=_END_DTYPE)
        return TokenSplit(TokenView(files), all_ends)
