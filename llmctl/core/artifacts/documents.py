"""Documents, what stands in the place of an unreadable one, and their JSON Lines.

The kinds of files that documents are read from are named here; see `document_files`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import orjson

from llmctl.core.artifacts.streams import COMPRESSIONS, Compression
from llmctl.core.errors import DataError

Kind = Literal["text", "jsonl", "json", "csv", "tsv", "parquet", "html", "warc"]

MAX_NESTING = 100
UNKNOWN_LANGUAGE = "und"

KINDS: dict[str, Kind] = {
    ".txt": "text",
    ".text": "text",
    ".md": "text",
    ".markdown": "text",
    ".rst": "text",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".html": "html",
    ".htm": "html",
    ".warc": "warc",
    ".wet": "warc",
}
KNOWN_KINDS = (
    ".txt, .md, .rst, .jsonl, .json, .csv, .tsv, .html, .warc and .wet, each also with .gz, "
    ".zst or .xz, and .parquet"
)


@dataclass(frozen=True, slots=True)
class Document:
    """One text, conversation or pair, and where it came from.

    Exactly one of `text`, `messages` and `pair` is there.

    Attributes:
        id: Names it within its corpus; see the module for how it is made.
        source: Name of the input it was read from.
        language: "zh", "ja", "ko", "en", or "und" where none of these is certain.
        text: The text itself; empty where there are messages or a pair.
        meta: The other fields of its record.
        messages: A conversation as its record has it: objects with role and content.
        pair: The fields of a question and its answer, a text and its translation, a chosen
            and a rejected answer, as their record has them.
    """

    id: str
    source: str
    language: str
    text: str
    meta: dict[str, Any] = field(default_factory=dict[str, Any])
    messages: list[dict[str, Any]] | None = None
    pair: dict[str, Any] | None = None

    @property
    def plain_text(self) -> str:
        """The text, or all that is said in the messages or the pair, a line each."""
        if self.messages is not None:
            return "\n".join(said(self.messages))
        return self.text if self.pair is None else "\n".join(said(list(self.pair.values())))


def said(value: Any) -> Iterator[str]:
    """Yield the strings of a pair's values or of messages: contents, and texts of their parts."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from said(item)
    elif isinstance(value, dict):
        record = cast("dict[str, Any]", value)
        yield from said(record.get("content", record.get("text")))


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
    record: dict[str, Any] = {
        "id": document.id,
        "source": document.source,
        "language": document.language,
    }
    if document.messages is not None:
        record["messages"] = document.messages
    elif document.pair is not None:
        record["pair"] = document.pair
    else:
        record["text"] = document.text
    return json_bytes({**record, "meta": document.meta, **extra})


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
        content = [record[name] for name in ("text", "messages", "pair") if name in record]
        if len(content) != 1:
            raise ValueError(f"{len(content)} of text, messages and pair")
        return from_record(record)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{place}: not a document: expected an object with id, source, language, meta and "
            "one of text, messages and pair"
        ) from error


def from_record(record: Mapping[str, Any]) -> Document:
    """Return the document of a record that `to_line` wrote; other fields are passed over.

    Raises:
        KeyError: A field is missing.
    """
    return Document(
        record["id"],
        record["source"],
        record["language"],
        record.get("text", ""),
        record["meta"],
        record.get("messages"),
        record.get("pair"),
    )


def format_of(name: str) -> tuple[Kind, Compression] | None:
    """Tell a file's kind and compression by its name; None where the kind is not known."""
    stem = name.lower()
    compression: Compression = ""
    for ending in COMPRESSIONS:
        if stem.endswith(ending):
            compression = ending
            stem = stem.removesuffix(ending)
    kind = KINDS.get(stem[stem.rfind(".") :]) if "." in stem else None
    if kind is None or (kind == "parquet" and compression):
        return None
    return kind, compression


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
