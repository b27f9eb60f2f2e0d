"""Parts of an input that processes read on their own; all of them together are the whole.

A stretch of JSON Lines is a range of bytes between line ends, one of parquet a range of row
groups, one of a web archive a range of records. Anything else is one stretch. What is packed
as a whole cannot be shared, but JSON Lines of that sort can be unpacked into pieces by one
process and read by others. Ids and places are those of the whole file everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from llmctl.core.artifacts import python_docs, streams
from llmctl.core.artifacts.document_files import as_utf8, read_documents, sampled
from llmctl.core.artifacts.documents import Document, Unreadable
from llmctl.core.artifacts.encodings import Encoding, detect
from llmctl.core.artifacts.json_lines import read_json_lines
from llmctl.core.artifacts.parquet_tables import read_parquet_table, row_groups
from llmctl.core.artifacts.sources import Source, missing
from llmctl.core.artifacts.streams import (
    MAGIC_BYTES,
    Compression,
    DamagedStream,
    sniff,
    unpacked,
)
from llmctl.core.artifacts.web_archives import read_web_archive, record_offsets
from llmctl.core.errors import DataError

_BLOCK_BYTES = 1 << 20
_READ_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a source that one process reads on its own.

    Attributes:
        source_index: Which source, by its place among all.
        start: Where it begins: a byte of JSON Lines or a web archive, a row group of parquet.
        stop: Where it ends, not included; None: with the file.
        first_number: The number of its first line, row or record in the file, from 1.
    """

    source_index: int
    start: int
    stop: int | None
    first_number: int


def stretches(
    source: Source,
    source_index: int,
    max_bytes: int,
    between: Callable[[], object] = lambda: None,
) -> list[Stretch]:
    """Divide a source.

    Args:
        source: The source.
        source_index: Stands in every stretch.
        max_bytes: What a stretch should not exceed much; a line, a row group and a record are
            never divided.
        between: Called now and then while a file is looked through; may raise to end early.

    Raises:
        MissingInputError: The file has gone, or what reads its kind is not installed.
    """
    whole = [Stretch(source_index, 0, None, 1)]
    if max_bytes < 1:
        raise ValueError(f"a stretch of {max_bytes} bytes")
    if source.origin == "python-docs" or (source.size_bytes or 0) <= max_bytes:
        return whole
    kind, compression = source.format()
    with missing(source.place), source.place.open("rb") as handle:
        if kind == "parquet":
            begins = _groups_together(handle, max_bytes)
        elif kind == "warc" and compression in ("", ".gz"):
            begins = [(0, 1), *record_offsets(handle, max_bytes)]
            if not all(_begins_as_packed(handle, place, compression) for place, _ in begins):
                return whole
        elif kind == "jsonl" and not compression and not _encoding(source).is_wide:
            begins = _line_begins(handle, max_bytes, between)
        else:
            return whole
    ends = [place for place, _ in begins[1:]]
    return [
        Stretch(source_index, start, stop, number)
        for (start, number), stop in zip(begins, [*ends, None], strict=True)
    ]


def read_stretch(
    source: Source, stretch: Stretch, on_bytes: Callable[[int], None]
) -> Iterator[Document | Unreadable]:
    """Yield the documents of a stretch, as reading the whole source would.

    Args:
        source: The source that the stretch is of.
        stretch: One of `stretches`.
        on_bytes: Told of the bytes that were read, as they lie in the file.

    Raises:
        MissingInputError: The file has gone, or what reads its kind is not installed.
        DataError: The disk fails.
    """
    if source.origin == "python-docs":
        yield from python_docs.python_documents()
        return
    kind, compression = source.format()
    name, text_field = source.name, source.text_field
    with missing(source.place):
        handle = source.place.open("rb")
    with handle:
        stream = _Range(handle, source.name, stretch.start, stretch.stop, on_bytes)
        if kind == "parquet":
            yield from read_parquet_table(
                handle,
                name,
                text_field,
                slice(stretch.start, stretch.stop),
                stretch.first_number,
                on_bytes,
            )
        elif kind == "warc" and compression in ("", ".gz"):
            chunks = unpacked(stream, compression)
            yield from read_web_archive(chunks, name, stretch.first_number)
        elif stretch.start or stretch.stop is not None:
            encoding = _encoding(source)
            chunks = unpacked(stream, "")
            chunks = chunks if stretch.start else as_utf8(chunks, encoding)
            yield from read_json_lines(chunks, name, text_field, encoding, stretch.first_number)
        else:
            yield from read_documents(
                stream, name, kind, compression, text_field=text_field, charset=source.charset
            )


def is_unpacked_first(source: Source) -> bool:
    """Tell whether a source is to be shared by `unpack_pieces`: packed JSON Lines."""
    if source.origin == "python-docs":
        return False
    kind, compression = source.format()
    return kind == "jsonl" and bool(compression)


def unpack_pieces(
    source: Source,
    directory: Path,
    max_bytes: int,
    on_bytes: Callable[[int], None] = lambda _: None,
) -> Iterator[tuple[Path, int]]:
    """Unpack JSON Lines into files of whole lines, for `read_piece`.

    Each file is complete when it is yielded. Damage ends the last one, beside which a file
    ending in .damage tells `read_piece` of it.

    Args:
        source: Packed JSON Lines.
        directory: Where the pieces go.
        max_bytes: What a piece should not exceed by more than a line; a longer line than is
            read at all goes in without its end.
        on_bytes: Told of the packed bytes that were read.

    Yields:
        The path of each piece, and the number of its first line.

    Raises:
        MissingInputError: The file has gone.
        DataError: The disk that it lies on fails.
    """
    _, compression = source.format()
    with missing(source.place):
        handle = source.place.open("rb", buffering=0)
    with handle:
        stream = _Range(handle, source.name, 0, None, on_bytes)
        beginning, chunks = sampled(unpacked(stream, compression))
        chunks = as_utf8(chunks, detect(beginning))
        yield from _Pieces(directory, max_bytes).written(chunks)


def read_piece(source: Source, piece: Path, first_number: int) -> Iterator[Document | Unreadable]:
    """Yield the documents of a piece that `unpack_pieces` wrote, as of the source."""
    with piece.open("rb", buffering=0) as handle:
        yield from read_json_lines(
            _piece_chunks(handle, piece),
            source.name,
            source.text_field,
            _encoding(source),
            first_number,
        )


class _Range:
    """Bytes of a file between two places, counted as they are read."""

    def __init__(
        self,
        handle: IO[bytes],
        name: str,
        start: int,
        stop: int | None,
        on_bytes: Callable[[int], None],
    ) -> None:
        self._handle = handle
        self._name = name
        self._place = start
        self._stop = stop
        self._on_bytes = on_bytes
        handle.seek(start)

    def read(self, size: int = -1, /) -> bytes:
        if size < 0:
            size = _READ_BYTES
        if self._stop is not None:
            size = min(size, self._stop - self._place)
        try:
            data = self._handle.read(size)
        except OSError as error:
            raise DataError(f"{self._name}: cannot be read: {error.strerror}") from error
        self._place += len(data)
        self._on_bytes(len(data))
        return data

    def tell(self) -> int:
        return self._place


class _Pieces:
    """Files of whole lines, one after the other."""

    def __init__(self, directory: Path, max_bytes: int) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._num_pieces = 0
        self._first_number = 1
        self._num_ends = 0
        self._line_bytes = 0
        self._handle: IO[bytes] | None = None

    def written(self, chunks: Iterator[bytes]) -> Iterator[tuple[Path, int]]:
        """Yield each piece once it is full."""
        try:
            for chunk in chunks:
                begin = 0
                while begin < len(chunk):
                    begin = self._write(chunk, begin)
                    if self._line_bytes == 0 and self._size >= self._max_bytes:
                        yield self._finished()
        except DamagedStream as damage:
            self._opened()
            _damage_of(self._path).write_text(str(damage), encoding="utf-8")
        if self._handle is not None:
            yield self._finished()

    def _write(self, chunk: bytes, begin: int) -> int:
        """Write lines up to the end of the piece or the chunk; return where that is."""
        handle = self._opened()
        wanted = begin + max(self._max_bytes - self._size, 1)
        end = chunk.find(b"\n", wanted - 1) + 1 or len(chunk)
        last = chunk.rfind(b"\n", begin, end)
        self._num_ends += chunk.count(b"\n", begin, end)
        if last < 0 and self._line_bytes > streams.MAX_LINE_BYTES:
            self._line_bytes += end - begin  # it is too long already
        else:
            self._size += handle.write(memoryview(chunk)[begin:end])
            self._line_bytes = self._line_bytes + end - begin if last < 0 else end - last - 1
        return end

    def _opened(self) -> IO[bytes]:
        if self._handle is None:
            self._handle = self._path.open("wb")
            self._size = 0
        return self._handle

    @property
    def _path(self) -> Path:
        return self._directory / f"piece-{self._num_pieces:05d}.jsonl"

    def _finished(self) -> tuple[Path, int]:
        assert self._handle is not None
        self._handle.close()
        self._handle = None
        finished = self._path, self._first_number
        self._num_pieces += 1
        self._first_number = self._num_ends + 1
        return finished


def _damage_of(piece: Path) -> Path:
    """Where it stands why the rest of a piece could not be had."""
    return piece.with_suffix(".damage")


def _piece_chunks(handle: IO[bytes], piece: Path) -> Iterator[bytes]:
    yield from unpacked(handle, "")
    if _damage_of(piece).exists():
        raise DamagedStream(_damage_of(piece).read_text(encoding="utf-8"))


def _encoding(source: Source) -> Encoding:
    """Tell the encoding of a source by its beginning, the same in every process."""
    _, compression = source.format()
    with missing(source.place), source.place.open("rb") as handle:
        return detect(sampled(unpacked(handle, compression))[0])


def _begins_as_packed(handle: IO[bytes], place: int, compression: Compression) -> bool:
    """Whether what is packed can be unpacked from there: it must be a member of its own."""
    handle.seek(place)
    return sniff(handle.read(MAGIC_BYTES)) == compression


def _groups_together(handle: IO[bytes], max_bytes: int) -> list[tuple[int, int]]:
    """Return (row group, its first row's number) where each stretch begins."""
    begins = [(0, 1)]
    number, num_bytes = 1, 0
    for place, group in enumerate(row_groups(handle)):
        if num_bytes and num_bytes + group.num_bytes > max_bytes:
            begins.append((place, number))
            num_bytes = 0
        num_bytes += group.num_bytes
        number += group.num_rows
    return begins


def _line_begins(
    handle: IO[bytes], max_bytes: int, between: Callable[[], object]
) -> list[tuple[int, int]]:
    """Return (byte, its line's number) where each stretch begins."""
    begins = [(0, 1)]
    place, number, wanted = 0, 1, max_bytes
    while block := handle.read(_BLOCK_BYTES):
        between()
        counted = 0
        while (end := block.find(b"\n", max(wanted - 1 - place, counted))) >= 0:
            number += block.count(b"\n", counted, end + 1)
            counted = end + 1
            begins.append((place + counted, number))
            wanted = place + counted + max_bytes
        number += block.count(b"\n", counted)
        place += len(block)
    return begins[:-1] if len(begins) > 1 and begins[-1][0] == place else begins
