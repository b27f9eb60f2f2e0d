"""A file of prompts, read row by row: JSON Lines, or text with a prompt a line.

A record holds `prompt`, a string, or `messages`, a conversation; an `id`, a string or a whole
number, by default the number of its line; and whatever else is to stand in its answer. Lines
are counted from 1, and blank ones, which hold no row, are counted too. A row that cannot be
used costs no other.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from llmctl.core.artifacts.documents import (
    MAX_NESTING,
    Kind,
    deeper_than,
    format_of,
    named_type,
    not_utf8,
    shortened,
)
from llmctl.core.artifacts.streams import (
    MAGIC_BYTES,
    MAX_LINE_BYTES,
    ByteStream,
    Compression,
    DamagedStream,
    chained,
    lines,
    sniff,
    unpacked,
    utf8,
)
from llmctl.core.errors import DataError, MissingInputError, UsageError

STANDARD_INPUT = "-"
# What an answer tells of itself; a prompt's row cannot bring a field of such a name.
ANSWER_FIELDS = (
    "id",
    "sample",
    "text",
    "finish_reason",
    "prompt_tokens",
    "tokens",
    "score",
    "token_ids",
    "logprobs",
    "seed",
    "settings",
    "error",
    "line",
)

RowId = str | int


@dataclass(frozen=True, slots=True)
class PromptRow:
    """A prompt to be continued.

    Attributes:
        line: The number of its line.
        id: Its own, or the number of its line.
        prompt: A text, or the messages of a conversation.
        others: The other fields of its record.
    """

    line: int
    id: RowId
    prompt: str | list[dict[str, Any]]
    others: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that is no prompt.

    Attributes:
        line: The number of its line.
        id: Its own where it has one, or the number of its line.
        reason: What is wrong with it.
    """

    line: int
    id: RowId
    reason: str


class PromptSource:
    """A file of prompts, or standard input, which can be read once.

    Args:
        name: Of a .jsonl or .txt, each also with .gz, .zst or .xz; "-" is standard input, whose
            kind is told by how it begins, as that of a pipe with a name.

    Raises:
        UsageError: A file of another kind.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._kind: Kind | None = None
        self._compression: Compression | None = None
        # A pipe is no regular file, and its name says nothing.
        if name != STANDARD_INPUT and Path(name).is_file():
            found = format_of(Path(name).name)
            if found is None or found[0] not in ("text", "jsonl"):
                raise UsageError(
                    f"{name}: a file of unknown kind; known are .jsonl with a record a line and "
                    ".txt with a prompt a line, each also with .gz, .zst or .xz"
                )
            self._kind, self._compression = found

    @contextmanager
    def open(self) -> Generator[Iterator[PromptRow | BadRow]]:
        """Open it for one reading of its rows, in order.

        Iterating raises DataError where the rest cannot be read: the disk fails, or packed
        data is damaged.

        Raises:
            MissingInputError: The file is not there or may not be read.
        """
        if self.name == STANDARD_INPUT:
            yield self._rows(sys.stdin.buffer)
            return
        try:
            handle = Path(self.name).open("rb")  # noqa: SIM115 - closed just below
        except OSError as error:
            raise MissingInputError(f"{self.name}: {error.strerror}") from error
        with handle:
            yield self._rows(handle)

    def num_rows(self) -> int | None:
        """Count the rows; None where that would use them up."""
        if self._kind is None:
            return None
        num_rows = 0
        try:
            with Path(self.name).open("rb") as handle:
                for line in lines(self._chunks(handle)):
                    num_rows += line is None or not line.isspace()
        except (OSError, DamagedStream):
            return None  # whoever reads the rows will say so
        return num_rows

    def _chunks(self, stream: ByteStream) -> Iterator[bytes]:
        compression = self._compression
        if compression is not None:
            return utf8(unpacked(stream, compression))
        beginning = stream.read(MAGIC_BYTES)
        return utf8(unpacked(_PutBack(beginning, stream), sniff(beginning)))

    def _rows(self, stream: ByteStream) -> Iterator[PromptRow | BadRow]:
        reader = _RowReader()
        number = 0
        try:
            chunks = self._chunks(stream)
            kind = self._kind
            if kind is None:
                first = b""
                for chunk in chunks:
                    first += chunk
                    if first.strip():
                        break
                kind = "jsonl" if first.lstrip().startswith(b"{") else "text"
                chunks = chained(first, chunks)
            for line in lines(chunks):
                number += 1
                if line is None:
                    size = f"{MAX_LINE_BYTES // 1_000_000} MB"
                    yield BadRow(number, number, f"a line of more than {size}")
                elif line.strip():
                    yield reader.row(number, line, kind)
        except (DamagedStream, OSError) as error:
            raise DataError(f"{self.name}: cannot be read beyond line {number}: {error}") from error


class _PutBack:
    """A stream from its beginning, of which a little was read."""

    def __init__(self, beginning: bytes, rest: ByteStream) -> None:
        self._beginning = beginning
        self._rest = rest

    def read(self, size: int = -1, /) -> bytes:
        if self._beginning:
            beginning, self._beginning = self._beginning, b""
            return beginning
        return self._rest.read(size)


class _RowReader:
    """Lines → rows, no two of one id."""

    def __init__(self) -> None:
        self._lines: dict[RowId, int] = {}

    def row(self, number: int, line: bytes, kind: Kind) -> PromptRow | BadRow:
        row_id: RowId = number
        try:
            record = _record(line) if kind == "jsonl" else {"prompt": _text(line)}
            row_id = _id(record.pop("id", None), number)
            first = self._lines.setdefault(row_id, number)
            if first != number:
                raise ValueError(f"the id {_shown(row_id)} is that of line {first} already")
            return PromptRow(number, row_id, _prompt(record), record)
        except ValueError as error:
            return BadRow(number, row_id, str(error))


def _text(line: bytes) -> str:
    try:
        return line.removesuffix(b"\r").decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(not_utf8(error)) from None


def _record(line: bytes) -> dict[str, Any]:
    text = _text(line)
    try:
        # Not orjson, which makes a whole number of more than 64 bits another one.
        record = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg}, column {error.colno}") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(record, dict):
        raise ValueError(f"expected an object, found {named_type(record)}")
    if deeper_than(record, MAX_NESTING):
        raise ValueError(f"nested deeper than {MAX_NESTING} levels")
    if "\\u" in text:  # nothing else can make one
        _refuse_surrogates(record)
    return record


def _id(found: object, number: int) -> RowId:
    if found is None:
        return number
    if isinstance(found, str | int) and not isinstance(found, bool):
        return found
    raise ValueError(f"the id is {named_type(found)}, not a string or a whole number")


def _prompt(record: dict[str, Any]) -> str | list[dict[str, Any]]:
    """Take the prompt out of a record, and leave the others."""
    given = sorted({"prompt", "messages"} & record.keys())
    if not given:
        fields = ", ".join(record) or "none"
        raise ValueError(f"neither prompt nor messages (other fields: {shortened(fields)})")
    if len(given) == 2:
        raise ValueError("both prompt and messages; give one of them")
    prompt = record.pop(given[0])
    if given == ["prompt"] and not isinstance(prompt, str):
        raise ValueError(f"the prompt is {named_type(prompt)}, not a string")
    if given == ["messages"]:
        _check_messages(prompt)
    taken = [name for name in record if name in ANSWER_FIELDS]
    if taken:
        raise ValueError(f"the field {taken[0]} is one that the answer has; give it another name")
    return prompt


def _check_messages(messages: object) -> None:
    if not isinstance(messages, list) or not messages:
        what = "an empty list" if messages == [] else named_type(messages)
        raise ValueError(f"the messages are {what}, not a list of objects")
    for place, message in enumerate(messages, 1):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise ValueError(f"message {place} is not an object with a role that is a string")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"not JSON: {name}")


def _finite(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"the number {shortened(digits)} is too large")
    return number


def _refuse_surrogates(record: dict[str, Any]) -> None:
    try:
        json.dumps(record, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        code = ord(error.object[error.start])
        raise ValueError(f"holds half a surrogate pair, \\u{code:04x}, which is no text") from None


def _shown(row_id: RowId) -> str:
    return shortened(json.dumps(row_id, ensure_ascii=False))
