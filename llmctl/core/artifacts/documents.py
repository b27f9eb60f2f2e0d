"""Documents, their JSON Lines, and the readers that make them from raw files.

A reader yields what can be read and a mark for each thing that cannot, so that one bad
record costs one record. Text is streamed: no more than one record, or one text file, is
held at a time.

The id of a document is the record's own `id` where that is a string or an integer; else
`<source>:<line>` for a record of JSON Lines, counted from 1, and `<source>` for a text
file. It stays the same as long as the file does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from llmctl.core.artifacts.streams import (
    COMPRESSIONS,
    MAX_LINE_BYTES,
    ByteStream,
    Compression,
    DamagedStream,
    chained,
    lines,
    unpacked,
    utf8,
)
from llmctl.core.errors import DataError

Kind = Literal["text", "jsonl"]

MAX_NESTING = 100
UNKNOWN_LANGUAGE = "und"

KINDS: dict[str, Kind] = {
    ".txt": "text",
    ".text": "text",
    ".md": "text",
    ".markdown": "text",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
KNOWN_KINDS = ".txt, .md and .jsonl, each also with .gz or .zst"

_JSON_OBJECT = re.compile(rb'\s*\{\s*["}]')


@dataclass(frozen=True, slots=True)
class Document:
    """One text and where it came from.

    Attributes:
        id: Names it within its corpus; see the module for how it is made.
        source: Name of the input it was read from.
        language: "zh", "ja", "ko", "en", or "und" where none of these is certain.
        text: The text itself.
        meta: The other fields of its record.
    """

    id: str
    source: str
    language: str
    text: str
    meta: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Something in an input that is no document.

    Attributes:
        place: `file:line`, or the file where no line can be told.
        reason: What is wrong with it.
    """

    place: str
    reason: str


def to_line(document: Document, **extra: Any) -> bytes:
    """Return the document as a line of JSON Lines, `extra` fields last."""
    return json_bytes(
        {
            "id": document.id,
            "source": document.source,
            "language": document.language,
            "text": document.text,
            "meta": document.meta,
            **extra,
        }
    )


def json_bytes(value: Any) -> bytes:
    """Return any JSON value as a line; what UTF-8 cannot hold becomes "?"."""
    try:
        return orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:  # a lone surrogate or an integer beyond 64 bits
        return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def from_line(line: bytes, place: str) -> Document:
    """Return the document of a line that `to_line` wrote.

    Raises:
        DataError: It is not such a line.
    """
    try:
        record = orjson.loads(line)
        return Document(*(record[name] for name in ("id", "source", "language", "text", "meta")))
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{place}: not a document: expected an object with id, source, language, text and meta"
        ) from error


def format_of(name: str) -> tuple[Kind, Compression] | None:
    """Tell a file's kind and compression by its name; None where the kind is not known."""
    stem = name.lower()
    compression: Compression = ""
    for ending in COMPRESSIONS:
        if stem.endswith(ending):
            compression = ending
            stem = stem.removesuffix(ending)
    kind = KINDS.get(stem[stem.rfind(".") :]) if "." in stem else None
    return None if kind is None else (kind, compression)


def read_documents(
    stream: ByteStream,
    source: str,
    kind: Kind | None,
    compression: Compression = "",
    *,
    text_field: str = "text",
) -> Iterator[Document | Unreadable]:
    """Read the documents of one input, in order.

    Args:
        stream: The input's bytes.
        source: The input's name, for ids and places.
        kind: "text": the whole is one document; "jsonl": each line is one; None: told by
            the first characters.
        compression: How the bytes are packed.
        text_field: The field of a record that holds the text.

    Yields:
        Documents whose language is not known yet, and marks for what cannot be read.
    """
    chunks = utf8(unpacked(stream, compression))
    if kind is None:
        try:
            first = next(chunks, b"")
        except DamagedStream as damage:
            yield Unreadable(source, str(damage))
            return
        chunks = chained(first, chunks)
        kind = "jsonl" if _JSON_OBJECT.match(first) else "text"
    if kind == "jsonl":
        yield from _read_records(chunks, source, text_field)
    else:
        yield from _read_text(chunks, source)


def _read_text(chunks: Iterable[bytes], source: str) -> Iterator[Document | Unreadable]:
    pieces: list[bytes] = []
    size = 0
    try:
        for chunk in chunks:
            pieces.append(chunk)
            size += len(chunk)
            if size > MAX_LINE_BYTES:
                yield Unreadable(
                    source,
                    f"one text of more than {MAX_LINE_BYTES // 1_000_000} MB; split it, "
                    "or make it JSON Lines with a document a line",
                )
                return
    except DamagedStream as damage:
        yield Unreadable(source, str(damage))
        return
    content = b"".join(pieces)
    if not content:
        return
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        yield Unreadable(f"{source}:{line}", not_utf8(error))
        return
    yield Document(source, source, UNKNOWN_LANGUAGE, text)


def _read_records(
    chunks: Iterable[bytes], source: str, text_field: str
) -> Iterator[Document | Unreadable]:
    number = 0
    try:
        for line in lines(chunks):
            number += 1
            if line is None:
                yield Unreadable(
                    f"{source}:{number}",
                    f"a line of more than {MAX_LINE_BYTES // 1_000_000} MB",
                )
            elif line.strip():
                try:
                    yield _record(line, source, number, text_field)
                except ValueError as error:
                    yield Unreadable(f"{source}:{number}", str(error))
    except DamagedStream as damage:
        yield Unreadable(f"{source}:{number + 1}", str(damage))


def _record(line: bytes, source: str, number: int, text_field: str) -> Document:
    record = _parsed(line)
    if not isinstance(record, dict):
        raise ValueError(f"expected an object, found {named_type(record)}")
    if text_field not in record:
        fields = ", ".join(map(str, record)) or "none"
        raise ValueError(f"no field {text_field!r} (fields: {shortened(fields)})")
    text = record.pop(text_field)
    if not isinstance(text, str):
        raise ValueError(f"{text_field!r} is {named_type(text)}, not a string")
    if not text.strip():
        raise ValueError(f"{text_field!r} is empty")
    if deeper_than(record, MAX_NESTING):
        raise ValueError(f"nested deeper than {MAX_NESTING} levels")
    own = record.get("id")
    if isinstance(own, str | int) and not isinstance(own, bool):
        del record["id"]
        return Document(str(own), source, UNKNOWN_LANGUAGE, text, record)
    return Document(f"{source}:{number}", source, UNKNOWN_LANGUAGE, text, record)


def _parsed(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        pass
    # orjson refuses lone surrogates and NaN, which Python's own writer produces.
    try:
        return _writable(json.loads(line.decode("utf-8")))
    except UnicodeDecodeError as error:
        raise ValueError(not_utf8(error)) from None
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg}, column {error.colno}") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _writable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    if isinstance(value, list):
        return [_writable(item) for item in value]
    if isinstance(value, dict):
        return {_writable(name): _writable(item) for name, item in value.items()}
    return value


def deeper_than(value: Any, levels: int) -> bool:
    """Tell whether lists and objects are nested in one another more often than that."""
    if isinstance(value, dict):
        items = value.values()
    elif isinstance(value, list):
        items = value
    else:
        return False
    return levels == 0 or any(deeper_than(item, levels - 1) for item in items)


def not_utf8(error: UnicodeDecodeError) -> str:
    """Say which byte is none of UTF-8."""
    return f"invalid UTF-8: {error.reason} 0x{error.object[error.start]:02x}"


def named_type(value: Any) -> str:
    """Say what a JSON value is, for a message."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false"}
    return "null" if value is None else names.get(type(value), "a number")


def shortened(text: str) -> str:
    """Return the beginning of a long text, for a message."""
    return text if len(text) <= 80 else text[:79] + "…"
