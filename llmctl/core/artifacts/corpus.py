"""A corpus on disk: documents, the dropped ones with their reason, and the report.

    documents-00000.jsonl.zst   id, source, language, text, meta; a line each
    dropped-00000.jsonl.zst     the same, and rule, value, threshold; a duplicate also
                                tells which document it repeats and which one is kept
    duplicates.parquet          pairs of a dropped and a kept document that say the same
    report.json, .md, .html     what was read, kept, dropped and not readable

The bytes depend on the documents only: no dates, one level of compression, and zstd's
format for several threads, which is the same for any number of them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import zstandard

from llmctl.core.artifacts.documents import Document, from_line
from llmctl.core.artifacts.streams import read_lines, unpacked
from llmctl.core.errors import MissingInputError

MAX_FILE_BYTES = 256_000_000
COMPRESSION_LEVEL = 9
DOCUMENTS_PREFIX = "documents"
DROPPED_PREFIX = "dropped"


def read_corpus(directory: Path) -> Iterator[Document]:
    """Yield the kept documents in order.

    Raises:
        MissingInputError: There are none of a corpus's files.
        DataError: A file is damaged.
    """
    for path in corpus_files(directory):
        yield from read_corpus_file(path)


def corpus_files(directory: Path) -> list[Path]:
    """Return the files of the kept documents, in order.

    Raises:
        MissingInputError: There are none.
    """
    paths = sorted(directory.glob(f"{DOCUMENTS_PREFIX}-*.jsonl.zst"))
    if not paths:
        raise MissingInputError(
            f"{directory}: no corpus here ({DOCUMENTS_PREFIX}-00000.jsonl.zst is missing)"
        )
    return paths


def read_corpus_file(path: Path) -> Iterator[Document]:
    """Yield the documents of one file.

    Raises:
        DataError: It is damaged.
    """
    for number, line in enumerate(read_lines(path), start=1):
        yield from_line(line, f"{path}:{number}")


@contextmanager
def write_lines(
    path: Path, level: int = COMPRESSION_LEVEL, num_threads: int = 1
) -> Generator[IO[bytes]]:
    """Open a .zst file for writing, with a checksum, the same bytes for the same content."""
    compressor = zstandard.ZstdCompressor(level=level, write_checksum=True, threads=num_threads)
    with path.open("wb") as handle, compressor.stream_writer(handle, closefd=False) as writer:
        yield writer


class _Files:
    """Lines over files of bounded size; the first is there even if nothing is written."""

    def __init__(self, directory: Path, prefix: str, num_threads: int) -> None:
        self._directory = directory
        self._prefix = prefix
        self._num_threads = num_threads
        self._num_files = 0
        self._num_bytes = 0
        self._open = contextlib.ExitStack()
        self._next_file()

    def _next_file(self) -> None:
        self.close()
        path = self._directory / f"{self._prefix}-{self._num_files:05d}.jsonl.zst"
        writer = write_lines(path, num_threads=self._num_threads)
        self._writer = self._open.enter_context(writer)
        self._num_files += 1
        self._num_bytes = 0

    def append(self, packed: Path, num_bytes: int) -> None:
        if self._num_bytes and self._num_bytes + num_bytes > MAX_FILE_BYTES:
            self._next_file()
        with packed.open("rb") as handle:
            for chunk in unpacked(handle, ".zst"):
                self._writer.write(chunk)
        self._num_bytes += num_bytes

    def close(self) -> None:
        self._open.close()


class CorpusWriter:
    """Puts the documents of a corpus into a directory.

    Use it as a context manager inside `atomic.storage_errors`.

    Args:
        directory: Of the corpus.
        num_threads: How many pack; the bytes are the same for any number from 1 on.
    """

    def __init__(self, directory: Path, num_threads: int = 1) -> None:
        self._documents = _Files(directory, DOCUMENTS_PREFIX, num_threads)
        self._dropped = _Files(directory, DROPPED_PREFIX, num_threads)

    def __enter__(self) -> CorpusWriter:
        return self

    def __exit__(self, *_error: object) -> None:
        self._documents.close()
        self._dropped.close()

    def add_kept(self, packed: Path, num_bytes: int) -> None:
        """Append a .zst file of lines, `num_bytes` unpacked, to the documents."""
        self._documents.append(packed, num_bytes)

    def add_dropped(self, packed: Path, num_bytes: int) -> None:
        """Append a .zst file of lines, each with rule, value and threshold, to the dropped."""
        self._dropped.append(packed, num_bytes)
