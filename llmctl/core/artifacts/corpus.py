"""A corpus on disk: documents, the dropped ones with their reason, and the report.

    documents-00000.jsonl.zst   id, source, language, text, meta; a line each
    dropped-00000.jsonl.zst     the same, and rule, value, threshold; a duplicate also
                                tells which document it repeats and which one is kept
    report.json, report.md      what was read, kept, dropped and not readable

The bytes depend on the documents only: no dates, one level of compression, one thread.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import zstandard

from llmctl.core.artifacts.documents import Document, from_line, to_line
from llmctl.core.artifacts.streams import read_lines
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
    paths = sorted(directory.glob(f"{DOCUMENTS_PREFIX}-*.jsonl.zst"))
    if not paths:
        raise MissingInputError(
            f"{directory}: no corpus here ({DOCUMENTS_PREFIX}-00000.jsonl.zst is missing)"
        )
    for path in paths:
        for number, line in enumerate(read_lines(path), start=1):
            yield from_line(line, f"{path}:{number}")


@contextmanager
def write_lines(path: Path, level: int = COMPRESSION_LEVEL) -> Generator[IO[bytes]]:
    """Open a .zst file for writing, with a checksum, the same bytes for the same content."""
    compressor = zstandard.ZstdCompressor(level=level, write_checksum=True)
    with path.open("wb") as handle, compressor.stream_writer(handle, closefd=False) as writer:
        yield writer


class _Files:
    """Lines over files of bounded size; the first is there even if nothing is written."""

    def __init__(self, directory: Path, prefix: str) -> None:
        self._directory = directory
        self._prefix = prefix
        self._num_files = 0
        self._num_bytes = 0
        self._open = contextlib.ExitStack()
        self._next_file()

    def _next_file(self) -> None:
        self.close()
        path = self._directory / f"{self._prefix}-{self._num_files:05d}.jsonl.zst"
        self._writer = self._open.enter_context(write_lines(path))
        self._num_files += 1
        self._num_bytes = 0

    def write(self, line: bytes) -> None:
        if self._num_bytes >= MAX_FILE_BYTES:
            self._next_file()
        self._writer.write(line)
        self._num_bytes += len(line)

    def close(self) -> None:
        self._open.close()


class CorpusWriter:
    """Writes the documents of a corpus into a directory.

    Use it as a context manager inside `atomic.storage_errors`.
    """

    def __init__(self, directory: Path) -> None:
        self._documents = _Files(directory, DOCUMENTS_PREFIX)
        self._dropped = _Files(directory, DROPPED_PREFIX)

    def __enter__(self) -> CorpusWriter:
        return self

    def __exit__(self, *_error: object) -> None:
        self._documents.close()
        self._dropped.close()

    def keep(self, document: Document) -> None:
        """Write a document of the corpus."""
        self._documents.write(to_line(document))

    def drop(
        self, document: Document, rule: str, value: float, threshold: float, **more: Any
    ) -> None:
        """Write a dropped document and why: the rule, what it measured, its bound."""
        self._dropped.write(to_line(document, rule=rule, value=value, threshold=threshold, **more))
