"""Corpora in units of work: stretches of whole lines, the same on every machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from llmctl.core.artifacts.corpus import corpus_files, read_corpus
from llmctl.core.artifacts.documents import Document, from_line, to_line
from llmctl.core.artifacts.streams import MAX_LINE_BYTES, DamagedStream, unpacked
from llmctl.core.errors import DataError

MIN_UNIT_BYTES = 4_000_000
MAX_UNIT_BYTES = 16_000_000
# So that several processes end at about the same time.
_NUM_UNITS = 32
_USUAL_RATIO = 4  # of text, packed well


@dataclass(frozen=True, slots=True)
class UnitJob:
    """A stretch of documents.

    Attributes:
        name: Sorts in the order of the corpora.
        corpus: The number of its corpus.
        lines: The lines of the documents.
        path: The file that they are from.
        first_line: The number of the first one there, from 1.
    """

    name: str
    corpus: int
    lines: bytes
    path: str
    first_line: int

    def documents(self) -> list[Document]:
        """Return the documents.

        Raises:
            DataError: A line is none.
        """
        lines = self.lines.split(b"\n")
        if not lines[-1]:
            lines.pop()
        return [
            from_line(line, f"{self.path}:{number}")
            for number, line in enumerate(lines, start=self.first_line)
        ]


class CorpusUnits:
    """The documents of corpora, to be read again and again.

    A document that is alone counts as two, the second of which is its end, to be held out:
    a book in one file is what many begin with.

    Args:
        directories: The corpora, in order.
        validation_share: Of a document that is alone.

    Raises:
        MissingInputError: One is none.
        DataError: It is damaged, they hold no document, or one that is too short to be two.

    Attributes:
        is_one_document: Whether the two documents are parts of one.
        num_bytes: Of text, roughly.
    """

    def __init__(self, directories: Sequence[Path], validation_share: float) -> None:
        self._files = [
            (corpus, number, path)
            for corpus, directory in enumerate(directories)
            for number, path in enumerate(corpus_files(directory))
        ]
        self.num_bytes = _USUAL_RATIO * sum(path.stat().st_size for *_, path in self._files)
        self._unit_bytes = min(max(self.num_bytes // _NUM_UNITS, MIN_UNIT_BYTES), MAX_UNIT_BYTES)
        found = islice(
            (document for directory in directories for document in read_corpus(directory)), 2
        )
        documents = list(found)
        if not documents:
            listed = ", ".join(map(str, directories))
            raise DataError(f"{listed}: the corpus holds no documents")
        self.is_one_document = len(documents) == 1
        self._two_parts: bytes | None = None
        if self.is_one_document:
            self._two_parts = _two_parts(documents[0], directories[0], validation_share)

    def jobs(self) -> Iterator[UnitJob]:
        """Yield the units in order.

        Raises:
            DataError: A file is damaged.
        """
        if self._two_parts is not None:
            corpus, number, path = self._files[0]
            yield UnitJob(_name(corpus, number, 0), corpus, self._two_parts, str(path), 1)
            return
        for corpus, number, path in self._files:
            line = 1
            for unit, lines in enumerate(_stretches(path, self._unit_bytes)):
                yield UnitJob(_name(corpus, number, unit), corpus, lines, str(path), line)
                line += lines.count(b"\n")


def _name(corpus: int, file: int, unit: int) -> str:
    return f"{corpus:03d}-{file:05d}-{unit:05d}"


def _stretches(path: Path, num_bytes: int) -> Iterator[bytes]:
    """Yield whole lines: up to the first line end at which there are so many bytes."""
    parts: list[bytes] = []
    size = 0
    try:
        with path.open("rb") as handle:
            for chunk in unpacked(handle, ".zst"):
                start = 0
                while end := chunk.find(b"\n", start + max(num_bytes - size - 1, 0)) + 1:
                    yield b"".join([*parts, chunk[start:end]])
                    parts, size, start = [], 0, end
                parts.append(chunk[start:])
                size += len(chunk) - start
                if size > num_bytes + MAX_LINE_BYTES:
                    raise DamagedStream(f"a line of more than {MAX_LINE_BYTES} bytes")
    except DamagedStream as damage:
        raise DataError(f"{path}: damaged: {damage}; remove it and run again") from damage
    if size:
        yield b"".join(parts)


def _two_parts(document: Document, directory: Path, validation_share: float) -> bytes:
    text = document.text
    cut = int(len(text) * (1 - validation_share))
    cut = text.rfind("\n", 0, cut) + 1 or cut
    if not text[:cut].strip() or not text[cut:].strip():
        raise DataError(
            f"{directory}: the corpus is one document of {len(text)} characters, too "
            "short to set its end aside for validation; give `clean` more text"
        )
    return b"".join(to_line(replace(document, text=part)) for part in (text[:cut], text[cut:]))
