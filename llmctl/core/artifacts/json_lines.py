"""JSON Lines → documents, so that a bad line costs a line and any stretch can be read alone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from llmctl.core.artifacts.documents import Document, Unreadable, not_utf8
from llmctl.core.artifacts.encodings import Encoding, UndecodableError, decode_line
from llmctl.core.artifacts.records import document_of
from llmctl.core.artifacts.streams import MAX_LINE_BYTES, DamagedStream, lines


def read_json_lines(
    chunks: Iterable[bytes],
    source: str,
    text_field: str,
    encoding: Encoding,
    first_number: int = 1,
) -> Iterator[Document | Unreadable]:
    """Yield the document of each line.

    Args:
        chunks: The bytes, UTF-16 and UTF-32 turned into UTF-8 already.
        source: The input's name.
        text_field: See `document_of`.
        encoding: Of the file; a line that is UTF-8 is read as that.
        first_number: The number of the first line in its file.

    Yields:
        Documents whose language is not known yet, and marks for what cannot be read.
    """
    number = first_number - 1
    try:
        for line in lines(chunks):
            number += 1
            if line is None:
                reason = f"a line of more than {MAX_LINE_BYTES // 1_000_000} MB"
                yield Unreadable(f"{source}:{number}", reason)
            elif line and not line.isspace():
                try:
                    if encoding.guessed and not line.isascii():
                        yield _guessed(line, source, number, text_field, encoding)
                    else:
                        yield document_of(parsed(line), source, number, text_field)
                except ValueError as error:
                    yield Unreadable(f"{source}:{number}", str(error))
    except DamagedStream as damage:
        yield Unreadable(f"{source}:{number + 1}", str(damage))


def _guessed(
    line: bytes, source: str, number: int, text_field: str, encoding: Encoding
) -> Document:
    try:
        text, needed = decode_line(line, encoding)
    except UndecodableError as error:
        raise ValueError(str(error)) from None
    document = document_of(parsed(text.encode("utf-8")), source, number, text_field)
    if needed:
        document.meta["encoding"] = encoding.codec
    return document


def parsed(line: bytes) -> Any:
    """Return the JSON value of a line; what UTF-8 cannot hold becomes U+FFFD, NaN null.

    A whole number beyond 64 bits becomes a float, one beyond these null.

    Raises:
        ValueError: It is none.
    """
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        pass
    # orjson refuses lone surrogates and NaN, which Python's own writer produces.
    try:
        return writable(json.loads(line.decode("utf-8"), parse_int=bounded))
    except UnicodeDecodeError as error:
        raise ValueError(not_utf8(error)) from None
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg}, column {error.colno}") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None


def bounded(digits: str) -> int | float | None:
    """Return a whole number as orjson reads and writes it; null where it has none for it."""
    if len(digits) < 19:
        return int(digits)
    value = float(digits)
    if abs(value) == float("inf"):
        return None
    return int(digits) if -(2**63) <= int(digits) < 2**64 else value


def writable(value: Any) -> Any:
    """Return a JSON value that JSON in UTF-8 can hold."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    if isinstance(value, list):
        return [writable(item) for item in value]
    if isinstance(value, dict):
        return {writable(name): writable(item) for name, item in value.items()}
    return value
