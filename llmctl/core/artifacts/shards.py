"""Shards: a tokenized corpus as arrays on the disk, which `numpy.memmap` reads as they are.

    train-00000.bin     ids of whole documents, each document's followed by END_OF_TEXT's;
                        little-endian, uint16 where every id of the vocabulary fits, else uint32
    train-00000.ends    where each document of that file ends, counted in tokens from the
                        file's beginning; little-endian uint64, the last is the file's length
    train-00000.mask    for each token of that file 1 where a model learns it and 0 elsewhere,
                        uint8; of conversations and preferences, as texts are learned whole
    validation-…        the same of the validation split
    documents.parquet   where each document went: id, source, split, offset in the split
    tokenizer.json      what the ids mean

The manifest counts `content` ("text", "conversation" where a document is a conversation or
a pair, or "preference": two sequences, the chosen and the rejected, for each), `dtype`,
`vocab_size`, and for each split its tokens and documents. D documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from llmctl.core import atomic
from llmctl.core.errors import DataError, MissingInputError
from llmctl.core.manifest import Manifest, require_manifest

SplitName = Literal["train", "validation"]
SPLITS: tuple[SplitName, ...] = get_args(SplitName)
KIND = "shards"
Content = Literal["text", "conversation", "preference"]
TOKENIZER_NAME = "tokenizer.json"
DOCUMENTS_NAME = "documents.parquet"
_ENDS_DTYPE = np.dtype("<u8")
_MASK_DTYPE = np.dtype("u1")

Ids = NDArray[np.unsignedinteger[Any]]
Ends = NDArray[np.uint64]
Mask = NDArray[np.uint8]


def dtype_for(vocab_size: int) -> np.dtype[np.unsignedinteger[Any]]:
    """Return the narrower of uint16 and uint32 that holds every id."""
    return np.dtype("<u2") if vocab_size <= 1 << 16 else np.dtype("<u4")


class SplitWriter:
    """Writes the documents of one split, file after file.

    Use it as a context manager.

    Args:
        directory: Where the files go.
        split: train or validation.
        vocab_size: Every id is below it; decides the files' type.
        shard_tokens: A file is closed at the first document end after so many tokens.
    """

    def __init__(
        self, directory: Path, split: SplitName, vocab_size: int, shard_tokens: int
    ) -> None:
        self._directory = directory
        self._split = split
        self._vocab_size = vocab_size
        self._shard_tokens = shard_tokens
        self._handle: IO[bytes] | None = None
        self._mask_handle: IO[bytes] | None = None
        self._has_masks = False
        self._path = directory
        self._ends: list[int] = []
        self._num_files = 0
        self.num_tokens = 0
        self.num_documents = 0

    def __enter__(self) -> SplitWriter:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def write(
        self,
        ids: NDArray[np.unsignedinteger[Any]],
        lengths: NDArray[np.integer[Any]],
        mask: Mask | None = None,
    ) -> None:
        """Append documents, each with the token that ends it.

        Args:
            ids: Of one document after the other.
            lengths: How many each has.
            mask: 1 for each that is learned, 0 for the others; of every document or of none.

        Raises:
            ValueError: A document has no ids, or one is outside the vocabulary; lengths or
                mask are not of the ids, the mask is not of 0 and 1, or is missing while other
                documents have one.
            StorageError: The disk is full.
        """
        self._require_sound(ids, lengths, mask)
        if not len(lengths):
            return
        self._has_masks = mask is not None
        ids = ids.astype(dtype_for(self._vocab_size), copy=False)
        ends = np.cumsum(lengths, dtype=np.int64)
        document = start = 0
        while document < len(ends):
            in_file = self._ends[-1] if self._ends else 0
            last = int(np.searchsorted(ends, start + self._shard_tokens - in_file))
            stop_document = min(last + 1, len(ends))
            stop = int(ends[stop_document - 1])
            self._append(ids[start:stop], None if mask is None else mask[start:stop])
            self._ends += (ends[document:stop_document] - start + in_file).tolist()
            self.num_tokens += stop - start
            self.num_documents += stop_document - document
            if self._ends[-1] >= self._shard_tokens:
                self.close()
            document, start = stop_document, stop

    def _require_sound(
        self, ids: Ids, lengths: NDArray[np.integer[Any]], mask: Mask | None
    ) -> None:
        if int(lengths.sum()) != len(ids) or (len(lengths) and lengths.min() < 1):
            raise ValueError(
                f"documents of {lengths.tolist()[:5]}… tokens, {int(lengths.sum())} in all, and "
                f"{len(ids)} ids; each has at least the one that ends it"
            )
        if len(ids) and int(ids.max()) >= self._vocab_size:
            raise ValueError(f"the id {ids.max()}, expected 0 to {self._vocab_size - 1}")
        if self.num_documents and (mask is not None) != self._has_masks:
            raise ValueError("expected a mask of every document or of none")
        if mask is not None and (len(mask) != len(ids) or (len(mask) and mask.max() > 1)):
            raise ValueError(
                f"a mask of {len(mask)} values up to {mask.max()}, expected {len(ids)} of 0 and 1"
            )

    def _append(self, ids: Ids, mask: Mask | None) -> None:
        with atomic.storage_errors(self._path):
            if self._handle is None:
                self._path = self._directory / f"{self._split}-{self._num_files:05d}.bin"
                self._handle = self._path.open("wb")
            if mask is not None:
                if self._mask_handle is None:
                    self._mask_handle = self._path.with_suffix(".mask").open("wb")
                self._mask_handle.write(mask.astype(_MASK_DTYPE).tobytes())
            self._handle.write(ids.tobytes())

    def close(self) -> None:
        """Finish the file in the making, if there is one."""
        if self._handle is None:
            return
        with atomic.storage_errors(self._path):
            handle, self._handle = self._handle, None
            handle.close()
            atomic.observer("write", self._path)
            if self._mask_handle is not None:
                mask_handle, self._mask_handle = self._mask_handle, None
                mask_handle.close()
                atomic.observer("write", self._path.with_suffix(".mask"))
            ends_path = self._path.with_suffix(".ends")
            ends_path.write_bytes(np.array(self._ends, dtype=_ENDS_DTYPE).tobytes())
            atomic.observer("write", ends_path)
        self._num_files += 1
        self._ends = []


@dataclass(frozen=True)
class DocumentPlaces:
    """Where documents went: the columns of documents.parquet.

    Attributes:
        ids: The ids of the documents in the corpus; Arrow arrays of strings, these three.
        sources: The input that each was read from.
        splits: train or validation.
        offsets: The position of its first token in the split.
    """

    ids: Any
    sources: Any
    splits: Any
    offsets: NDArray[np.integer[Any]]

    def write(self, directory: Path) -> None:
        """Write the table; the same rows give the same bytes.

        Raises:
            StorageError: The disk is full.
        """
        # Here, because training reads shards and has no use for the table.
        import pyarrow as pa
        from pyarrow import parquet

        path = directory / DOCUMENTS_NAME
        # Not pa.array, which imports pandas where there is one.
        offsets = pa.py_buffer(np.asarray(self.offsets).astype("<u8").tobytes())
        table = pa.table(
            {
                "id": self.ids,
                "source": self.sources,
                "split": self.splits,
                "offset": pa.Array.from_buffers(pa.uint64(), len(self.ids), [None, offsets]),
            }
        )
        with atomic.storage_errors(path):
            parquet.write_table(table, path, compression="zstd")
            atomic.observer("write", path)


class TokenView:
    """The ids or masks of several files as one sequence, read from the disk as they are asked for.

    Args:
        files: Each file's path and ids, in order.
        vocab_size: Ids are checked against it when they are read; 2 for masks.
    """

    def __init__(self, files: Sequence[tuple[Path, Ids]], vocab_size: int) -> None:
        self._files = files
        self._vocab_size = vocab_size
        self._starts = np.cumsum([0, *(len(ids) for _, ids in files)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, part: slice) -> Ids:
        """Return the ids of a slice: a view of the file, a copy where it crosses files.

        Raises:
            ValueError: The slice has a step.
            DataError: An id is outside the vocabulary.
        """
        start, stop, step = part.indices(len(self))
        if step != 1:
            raise ValueError(f"expected a slice without a step, got step {step}")
        found: list[Ids] = []
        number = int(np.searchsorted(self._starts, start, side="right")) - 1
        while start < stop:
            first, end = int(self._starts[number]), int(self._starts[number + 1])
            found.append(self._read(number, start - first, min(stop, end) - first))
            start, number = end, number + 1
        if len(found) == 1:
            return found[0]
        if found:
            return np.concatenate(found)
        return self._files[0][1][:0] if self._files else np.empty(0, dtype_for(self._vocab_size))

    def _read(self, number: int, start: int, stop: int) -> Ids:
        path, ids = self._files[number]
        found = ids[start:stop]
        highest = int(found.max())
        if highest >= self._vocab_size:
            raise DataError(
                f"{path}: damaged: {highest} stands among tokens {start:,} to {stop:,}, expected "
                f"at most {self._vocab_size - 1:,}"
            )
        return found


@dataclass(frozen=True)
class TokenSplit:
    """One split of the shards.

    Attributes:
        tokens: All ids, to be sliced.
        ends: Where each document ends in `tokens`, whatever file it lies in; shape (D,).
        masks: For each of the tokens 1 where it is learned and 0 elsewhere; None where all are.
    """

    tokens: TokenView
    ends: Ends
    masks: TokenView | None = None

    @property
    def num_tokens(self) -> int:
        """Tokens in all, those that end documents included."""
        return len(self.tokens)

    @property
    def num_documents(self) -> int:
        """D, the documents in all."""
        return len(self.ends)

    def document(self, index: int) -> Ids:
        """Return the ids of a document, the one that ends it included."""
        start = int(self.ends[index - 1]) if index else 0
        return self.tokens[start : int(self.ends[index])]


class TokenShards:
    """A directory of shards, for reading.

    Args:
        directory: Holds the files.
        manifest: Names them.

    Raises:
        DataError: The manifest is not one of shards.
    """

    def __init__(self, directory: Path, manifest: Manifest) -> None:
        self.directory = directory
        self.manifest = manifest
        content: Any = manifest.counts.get("content")
        if content not in get_args(Content):
            listed = ", ".join(get_args(Content))
            raise DataError(f"{directory}: expected shards of {listed}, found {content!r}")
        self.content: Content = content
        self.vocab_size = int(manifest.counts["vocab_size"])
        self._dtype = dtype_for(self.vocab_size)
        if manifest.counts["dtype"] != self._dtype.name:
            raise DataError(
                f"{directory}: ids of type {manifest.counts['dtype']}, expected "
                f"{self._dtype.name} for a vocabulary of {self.vocab_size:,}"
            )

    @classmethod
    def open(cls, directory: Path) -> TokenShards:
        """Open finished shards.

        Raises:
            MissingInputError: There are none.
            DataError: They are of another kind, or their manifest is damaged.
        """
        return cls(directory, require_manifest(directory, KIND))

    def require_content(self, purpose: str, *accepted: Content) -> None:
        """Refuse shards of other content.

        Args:
            purpose: What they are wanted for: "to train on".
            accepted: What they may be of.

        Raises:
            DataError: They are of something else.
        """
        if self.content not in accepted:
            raise DataError(
                f"{self.directory}: shards of content {self.content!r}; {purpose}, they must be of "
                f"{' or '.join(accepted)}: tokenize a corpus of those"
            )

    @property
    def tokenizer_path(self) -> Path:
        """The tokenizer.json that the ids are of."""
        return self.directory / TOKENIZER_NAME

    def split(self, name: SplitName) -> TokenSplit:
        """Map one split into memory.

        Raises:
            MissingInputError: A file is not there.
            DataError: A file does not have the size that the manifest tells, or its ends do
                not fit its tokens.
        """
        files: list[tuple[Path, Ids]] = []
        masks: list[tuple[Path, Ids]] = []
        ends: list[Ends] = [np.empty(0, dtype=_ENDS_DTYPE)]
        num_tokens = 0
        for file_name in sorted(self.manifest.files):
            if not (file_name.startswith(f"{name}-") and file_name.endswith(".bin")):
                continue
            path = self.directory / file_name
            ids: Ids = np.memmap(self._sound(path, self._dtype), dtype=self._dtype, mode="r")
            ends_path = path.with_suffix(".ends")
            file_ends: Ends = np.fromfile(self._sound(ends_path, _ENDS_DTYPE), dtype=_ENDS_DTYPE)
            if file_ends[-1] != len(ids) or not (file_ends[:-1] < file_ends[1:]).all():
                raise DataError(
                    f"{ends_path}: damaged: its ends do not rise to the {len(ids):,} tokens of "
                    f"{file_name}; remove {self.directory} and run again"
                )
            files.append((path, ids))
            if self.content != "text":
                masks.append(self._mask(path.with_suffix(".mask"), len(ids)))
            ends.append(file_ends + np.uint64(num_tokens))
            num_tokens += len(ids)
        counted = self.manifest.counts[f"{name}_tokens"]
        if counted != num_tokens:
            raise DataError(
                f"{self.directory}: {num_tokens:,} tokens in the {name} split, expected "
                f"{counted:,}; remove {self.directory} and run again"
            )
        return TokenSplit(
            TokenView(files, self.vocab_size),
            np.concatenate(ends),
            None if self.content == "text" else TokenView(masks, 2),
        )

    def _mask(self, path: Path, num_tokens: int) -> tuple[Path, Ids]:
        mask: Ids = np.memmap(self._sound(path, _MASK_DTYPE), dtype=_MASK_DTYPE, mode="r")
        if len(mask) != num_tokens:
            raise DataError(
                f"{path}: damaged: {len(mask):,} bytes, expected one for each of {num_tokens:,} "
                f"tokens; remove {self.directory} and run again"
            )
        return path, mask

    def _sound(self, path: Path, dtype: np.dtype[Any]) -> Path:
        """Return the path of a file that has a size to be mapped."""
        record = self.manifest.files.get(path.name)
        try:
            size = path.stat().st_size
        except OSError as error:
            raise MissingInputError(f"{path}: cannot be read: {error.strerror}") from error
        if record is None or size != record.size or size == 0 or size % dtype.itemsize:
            expected = f"{record.size:,}" if record else "it in the manifest"
            raise DataError(
                f"{path}: damaged: {size:,} bytes, expected {expected}, a multiple of "
                f"{dtype.itemsize}; remove {self.directory} and run again"
            )
        return path
