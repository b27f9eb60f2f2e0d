"""CSV and TSV → documents: a row each, named by the line on which it begins.

RFC 4180, with the freedoms that files take: `;`, tabs and `|` between the fields, told by
the header; quotation marks that are only characters in a TSV. A row that has another number
of fields than the header, or whose quotation marks do not fit, is unreadable and no other.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from typing import Literal

from llmctl.core.artifacts import streams
from llmctl.core.artifacts.documents import Document, Unreadable
from llmctl.core.artifacts.encodings import Encoding, UndecodableError, decode_line
from llmctl.core.artifacts.records import document_of, holds_documents, missing_column
from llmctl.core.artifacts.streams import DamagedStream, lines

DELIMITERS = ",;\t|"
# The module holds four bytes for each; its own limit is 131,072.
MAX_FIELD_CHARACTERS = 64_000_000
_SAMPLE_LINES = 200
_NAME = re.compile(r"\w[\w .-]{0,60}")


def read_csv_table(
    chunks: Iterable[bytes],
    source: str,
    text_field: str,
    encoding: Encoding,
    delimiter: Literal["\t"] | None = None,
) -> Iterator[Document | Unreadable]:
    """Yield a document for each row below the header.

    Args:
        chunks: The bytes, UTF-16 and UTF-32 turned into UTF-8 already.
        source: The input's name.
        text_field: The column that holds the text; see `document_of`.
        encoding: Of the file.
        delimiter: What stands between fields; None: told by the header.

    Yields:
        Documents whose language is not known yet, and marks for what cannot be read. A table
        without a fitting column is one mark that names those there are.
    """
    csv.field_size_limit(MAX_FIELD_CHARACTERS)
    rows = _Rows(chunks, encoding, delimiter, text_field)
    header: list[str] | None = None
    try:
        for number, row, trouble in rows:
            place = f"{source}:{number}"
            if header is None:
                if trouble:
                    yield Unreadable(place, f"the header: {trouble}")
                    return
                header = [name.strip() for name in row]
                if not holds_documents(set(header), text_field):
                    yield Unreadable(source, missing_column(header, text_field))
                    return
            elif trouble or len(row) != len(header):
                found = f"{len(row)} fields, expected {len(header)} as in the header"
                yield Unreadable(place, trouble or found)
            else:
                try:
                    record = dict(zip(header, row, strict=True))
                    document = document_of(record, source, number, text_field)
                    if rows.guessed:
                        document.meta["encoding"] = encoding.codec
                    yield document
                except ValueError as error:
                    yield Unreadable(place, str(error))
    except DamagedStream as damage:
        yield Unreadable(f"{source}:{rows.number + 1}", str(damage))


def is_csv_table(beginning: bytes, text_field: str) -> bool:
    """Tell whether a first line is a header with the column that is asked for."""
    line = beginning.lstrip(b"\xef\xbb\xbf").partition(b"\n")[0].decode("utf-8", "replace")
    for delimiter in DELIMITERS:
        names = [name.strip().strip('"') for name in line.strip().split(delimiter)]
        if len(names) > 1 and text_field in names and all(map(_NAME.fullmatch, names)):
            return True
    return False


class _Rows:
    """The rows of a table, each with the line on which it begins and what is wrong with it.

    Attributes:
        number: The line that was read last.
        guessed: Whether the last row needed the encoding that was guessed.
    """

    def __init__(
        self, chunks: Iterable[bytes], encoding: Encoding, delimiter: str | None, text_field: str
    ) -> None:
        self.number = 0
        self.guessed = False
        self._trouble = ""
        self._lines = lines(chunks)
        self._encoding = encoding
        self._delimiter = delimiter
        self._text_field = text_field

    def __iter__(self) -> Iterator[tuple[int, list[str], str]]:
        sample: list[tuple[str, str, bool]] = []
        damage: DamagedStream | None = None
        try:
            for decoded in self._decoded():
                sample.append(decoded)
                if len(sample) == _SAMPLE_LINES:
                    break
        except DamagedStream as found:
            damage = found
        texts = [text for text, _, _ in sample]
        delimiter = self._delimiter or _delimiter(texts[0] if texts else "", self._text_field)
        quoting = csv.QUOTE_NONE if _is_unquoted(texts, delimiter) else csv.QUOTE_MINIMAL
        reader = csv.reader(
            self._fed(sample, damage), delimiter=delimiter, strict=True, quoting=quoting
        )
        while True:
            start, self._trouble, self.guessed = self.number + 1, "", False
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                row = []
                self._trouble = self._trouble or self._told(str(error), start)
            if row or self._trouble:
                yield start, row, self._trouble

    def _told(self, error: str, start: int) -> str:
        """Say what is wrong with a row, and how much was lost by it."""
        lost = self.number - start
        more = f"; the {lost} lines after it are lost with it" if lost > 0 else ""
        if error == "unexpected end of data":
            error = "a quotation mark that does not close"
        elif error.startswith("field larger"):
            error = f"a field of more than {MAX_FIELD_CHARACTERS // 1_000_000} million characters"
        return f"not CSV: {error}{more}"

    def _fed(
        self, sample: list[tuple[str, str, bool]], damage: DamagedStream | None
    ) -> Iterator[str]:
        for text, trouble, guessed in sample:
            yield self._noted(text, trouble, guessed)
        if damage:
            raise damage
        for text, trouble, guessed in self._decoded():
            yield self._noted(text, trouble, guessed)

    def _noted(self, text: str, trouble: str, guessed: bool) -> str:
        self.number += 1
        self._trouble = self._trouble or trouble
        self.guessed = self.guessed or guessed
        return text

    def _decoded(self) -> Iterator[tuple[str, str, bool]]:
        """Yield each line, what is wrong with it, and whether its encoding was guessed."""
        for line in self._lines:
            if line is None:
                megabytes = streams.MAX_LINE_BYTES // 1_000_000
                yield "\n", f"a line of more than {megabytes} MB", False
                continue
            try:
                text, guessed = decode_line(line, self._encoding)
                yield text + "\n", "", guessed
            except UndecodableError as error:
                yield line.decode("utf-8", "replace") + "\n", str(error), False


def _delimiter(header: str, text_field: str) -> str:
    """Choose what splits the header into most fields, one of them the text if it can be."""

    def merit(delimiter: str) -> tuple[bool, int]:
        fields = _split(header, delimiter)
        return text_field in fields, len(fields)

    return max(DELIMITERS, key=merit)


def _split(line: str, delimiter: str) -> list[str]:
    try:
        return [name.strip() for name in next(csv.reader([line], delimiter=delimiter), [])]
    except csv.Error:
        return []


def _is_unquoted(sample: list[str], delimiter: str) -> bool:
    """Tell whether a TSV's quotation marks are characters like any other."""
    if delimiter != "\t" or not any('"' in line for line in sample):
        return False
    num_fields = len(sample[0].split(delimiter))
    if any(len(line.split(delimiter)) != num_fields for line in sample if line.strip()):
        return False
    try:
        rows = [row for row in csv.reader(sample, delimiter=delimiter, strict=True) if row]
    except csv.Error:
        return True
    return any(len(row) != num_fields for row in rows) or not all(
        line.count('"') % 2 == 0 for line in sample
    )
