"""A .json file → documents: an array of records, or records one after the other.

Records are found one at a time, however long the file is. Text that is no JSON ends the
reading, since nothing tells where the next record begins; what came before is kept. Many
files of that name are JSON Lines, where a bad line costs only itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from llmctl.core.artifacts import streams
from llmctl.core.artifacts.documents import Document, Unreadable
from llmctl.core.artifacts.encodings import Encoding, UndecodableError, decoded_chunks
from llmctl.core.artifacts.json_lines import bounded, writable
from llmctl.core.artifacts.records import document_of
from llmctl.core.artifacts.streams import DamagedStream

_BLANK = re.compile(r"[ \t\r\n]*")
_NOT_PLAIN = re.compile(r"\\u[dD][89a-fA-F]|NaN|Infinity")
_FIRST_CHARACTERS = 1 << 16


class _TooLong(ValueError):
    """A record beyond what is held in memory."""


def is_json_lines(beginning: bytes) -> bool:
    """Tell whether a first line begins and ends as an object does, or is longer than that."""
    line, end, _ = beginning.lstrip().partition(b"\n")
    return line.startswith(b"{") and (not end or line.rstrip().endswith(b"}"))


def read_json_file(
    chunks: Iterable[bytes], source: str, text_field: str, encoding: Encoding
) -> Iterator[Document | Unreadable]:
    """Yield a document for each record, named by its number.

    Args:
        chunks: The bytes, UTF-16 and UTF-32 turned into UTF-8 already.
        source: The input's name.
        text_field: See `document_of`.
        encoding: Of the file.

    Yields:
        Documents whose language is not known yet, and marks for what cannot be read.
    """
    number = 0
    try:
        for number, (record, raw) in enumerate(_records(decoded_chunks(chunks, encoding)), 1):
            try:
                if not raw.isascii():
                    _check(raw, encoding)
                value = writable(record) if _NOT_PLAIN.search(raw) else record
                document = document_of(value, source, number, text_field)
                if encoding.guessed and not raw.isascii():
                    document.meta["encoding"] = encoding.codec
                yield document
            except ValueError as error:
                yield Unreadable(f"{source}:{number}", str(error))
    except (DamagedStream, UndecodableError, _TooLong) as damage:
        yield Unreadable(f"{source}:{number + 1}", str(damage))
    except json.JSONDecodeError as error:
        reason = f"not JSON: {error.msg}; the rest of the file cannot be read"
        yield Unreadable(f"{source}:{number + 1}", reason)
    except RecursionError:
        reason = "nested too deeply; the rest of the file cannot be read"
        yield Unreadable(f"{source}:{number + 1}", reason)


def _check(raw: str, encoding: Encoding) -> None:
    try:
        raw.encode("utf-8")
    except UnicodeEncodeError as error:
        byte = ord(raw[error.start]) & 0xFF
        raise ValueError(f"invalid {encoding.codec.upper()}: byte 0x{byte:02x}") from None


def _records(pieces: Iterator[str]) -> Iterator[tuple[Any, str]]:
    """Yield each value of a sequence or array, and its text."""
    text = _Text(pieces)
    text.skip_blanks()
    is_array = text.take("[")
    while True:
        text.skip_blanks()
        if is_array and text.take("]"):
            text.skip_blanks()
            is_array = text.take("[")  # arrays, too, may stand one after the other
            if not is_array and not text.at_end:
                raise json.JSONDecodeError("Extra data", text.text, text.position)
            continue
        if text.at_end:
            if is_array:
                raise json.JSONDecodeError("the array does not end", text.text, text.position)
            return
        yield text.value()
        text.skip_blanks()
        if not text.take(",") and is_array and not text.at_end and text.peek != "]":
            raise json.JSONDecodeError("Expecting ',' delimiter", text.text, text.position)


class _Text:
    """A text that is read on as it is needed and forgotten behind."""

    def __init__(self, pieces: Iterator[str]) -> None:
        self.text = ""
        self.position = 0
        self._pieces = pieces
        self._ended = False
        self._decoder = json.JSONDecoder(parse_int=bounded)

    @property
    def at_end(self) -> bool:
        return self.peek == ""

    @property
    def peek(self) -> str:
        while self.position >= len(self.text) and not self._ended:
            self._read(1)
        return self.text[self.position : self.position + 1]

    def skip_blanks(self) -> None:
        while self.peek:
            match = _BLANK.match(self.text, self.position)
            assert match is not None  # it matches nothing, too
            self.position = match.end()
            if self.position < len(self.text):
                return

    def take(self, character: str) -> bool:
        found = self.peek == character
        self.position += found
        return found

    def value(self) -> tuple[Any, str]:
        """Read one value, with twice as much text at each attempt."""
        wanted = _FIRST_CHARACTERS
        while True:
            try:
                value, end = self._decoder.raw_decode(self.text, self.position)
                # A number might go on in the next piece.
                if end < len(self.text) or self._ended:
                    raw = self.text[self.position : end]
                    self.position = end
                    return value, raw
            except json.JSONDecodeError as error:
                # Damage well before the end of what was read is damage, not a missing rest.
                if self._ended or (error.pos < len(self.text) - 16 and "string" not in error.msg):
                    raise
            if len(self.text) - self.position > streams.MAX_LINE_BYTES:
                raise _TooLong(f"a record of more than {streams.MAX_LINE_BYTES // 1_000_000} MB")
            self._read(wanted)
            wanted *= 2

    def _read(self, num_characters: int) -> None:
        pieces = [self.text[self.position :]]
        num_read = 0
        while num_read < num_characters:
            piece = next(self._pieces, None)
            if piece is None:
                self._ended = True
                break
            pieces.append(piece)
            num_read += len(piece)
        self.text = "".join(pieces)
        self.position = 0
