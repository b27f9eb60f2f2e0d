"""A text a line, or a JSON Lines record each: read with the place of each, for errors."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson

from llmctl.core.artifacts.documents import format_of
from llmctl.core.artifacts.streams import (
    MAX_LINE_BYTES,
    ByteStream,
    Compression,
    DamagedStream,
    lines,
    unpacked,
    utf8,
)
from llmctl.core.errors import DataError, MissingInputError

STANDARD_INPUT = "-"
TEXT_FIELD = "text"


@contextmanager
def open_texts(
    reference: str, text_field: str | None = None
) -> Generator[Iterator[tuple[str, str]]]:
    """Open a file, or standard input for "-", as pairs of a place and a text.

    A file is of JSON Lines if its name ends so or a field is named; .gz and .zst are unpacked.

    Args:
        reference: The file's path, or "-".
        text_field: The field of a record that holds the text; None for the default.

    Raises:
        MissingInputError: The file is not there or may not be read.
    """
    if reference == STANDARD_INPUT:
        yield read_texts(sys.stdin.buffer, "standard input", text_field=text_field)
        return
    path = Path(reference)
    try:
        handle = path.open("rb")
    except OSError as error:
        raise MissingInputError(f"{path}: cannot be read: {error.strerror}") from error
    kind, compression = format_of(path.name) or ("text", "")
    if kind == "jsonl":
        text_field = text_field or TEXT_FIELD
    with handle:
        yield read_texts(handle, str(path), compression, text_field=text_field)


def read_texts(
    stream: ByteStream, source: str, compression: Compression = "", *, text_field: str | None = None
) -> Iterator[tuple[str, str]]:
    """Yield the place, such as "notes.txt:7", and the text of each line.

    Args:
        stream: The bytes.
        source: What it is called.
        compression: How they are packed.
        text_field: The field of each line's record; None where a line is the text.

    Raises:
        DataError: A line is empty, not UTF-8 or no such record, or the stream is damaged.
    """
    number = 0
    try:
        for number, line in enumerate(lines(utf8(unpacked(stream, compression))), 1):
            place = f"{source}:{number}"
            if line is None:
                raise DataError(f"{place}: a line of more than {MAX_LINE_BYTES:,} bytes")
            text = _text(line.removesuffix(b"\r"), text_field, place)
            if not text.strip():
                raise DataError(f"{place}: empty; remove it, since every line becomes a result")
            yield place, text
    except DamagedStream as damage:
        raise DataError(f"{source}:{number + 1}: {damage}") from damage


def _text(line: bytes, text_field: str | None, place: str) -> str:
    if text_field is None:
        try:
            return line.decode("utf-8")
        except UnicodeDecodeError as error:
            byte = error.object[error.start]
            raise DataError(f"{place}: not UTF-8: {error.reason} 0x{byte:02x}") from error
    try:
        record = orjson.loads(line) if line.strip() else {text_field: ""}
    except orjson.JSONDecodeError as error:
        raise DataError(f"{place}: not JSON: {error}") from error
    if not isinstance(record, dict) or not isinstance(record.get(text_field), str):
        raise DataError(f"{place}: expected an object with a string as {text_field!r}")
    return record[text_field]
