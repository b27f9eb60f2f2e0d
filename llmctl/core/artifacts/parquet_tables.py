"""Parquet → documents: a row each, a few megabytes of a row group at a time."""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any, cast

from llmctl.core.artifacts.documents import Document, Unreadable, not_utf8
from llmctl.core.artifacts.records import document_of, holds_documents, missing_column

MAGIC = b"PAR1"
_BATCH_BYTES = 4_000_000
_MAX_BATCH_ROWS = 8192


@dataclass(frozen=True, slots=True)
class RowGroup:
    """A row group of a file: its rows, and its bytes as they lie there."""

    num_rows: int
    num_bytes: int


def row_groups(handle: IO[bytes]) -> list[RowGroup]:
    """Return the row groups of a parquet file; none where it is damaged.

    Whoever reads the documents is told of the damage.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        metadata = parquet.ParquetFile(handle).metadata
        return [
            RowGroup(group.num_rows, _packed_bytes(group))
            for group in map(metadata.row_group, range(metadata.num_row_groups))
        ]
    except (pa.ArrowException, OSError):
        return []


def read_parquet_table(
    handle: IO[bytes],
    source: str,
    text_field: str,
    groups: slice = slice(None),
    first_number: int = 1,
    on_bytes: Callable[[int], None] = lambda _: None,
) -> Iterator[Document | Unreadable]:
    """Yield a document for each row, named by its number in the file.

    Args:
        handle: The file, which is read at any place.
        source: The input's name.
        text_field: The column that holds the text; see `document_of`.
        groups: The row groups to read, of all.
        first_number: The number of the first of their rows.
        on_bytes: Told of each row group's bytes once it is read.

    Yields:
        Documents whose language is not known yet, and marks for what cannot be read: a row, a
        row group that is damaged, or the whole file.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.ParquetFile(handle, page_checksum_verification=True)
        schema = table.schema_arrow
    except (pa.ArrowException, OSError) as error:
        yield Unreadable(source, f"not parquet, or damaged: {_first_line(error)}")
        return
    if not holds_documents(set(schema.names), text_field):
        yield Unreadable(source, missing_column(schema.names, text_field))
        return
    number = first_number - 1
    for group in range(table.num_row_groups)[groups]:
        metadata = table.metadata.row_group(group)
        end = number + metadata.num_rows
        share = max(metadata.total_byte_size // max(metadata.num_rows, 1), 1)
        batch_rows = min(max(_BATCH_BYTES // share, 1), _MAX_BATCH_ROWS)
        try:
            for batch in table.iter_batches(batch_rows, row_groups=[group], use_threads=False):
                for record in _records(batch, text_field):
                    number += 1
                    yield _document(record, source, number, text_field)
        except (pa.ArrowException, OSError) as error:
            # A mark for each row that is lost: what is lost is to be counted as such.
            reason = f"the row group is damaged: {_first_line(error)}"
            while number < end:
                number += 1
                yield Unreadable(f"{source}:{number}", reason)
        on_bytes(_packed_bytes(metadata))


def _document(
    record: dict[str, Any] | str, source: str, number: int, text_field: str
) -> Document | Unreadable:
    try:
        if isinstance(record, str):
            raise ValueError(record)
        return document_of(record, source, number, text_field)
    except ValueError as error:
        return Unreadable(f"{source}:{number}", str(error))


def _records(batch: Any, text_field: str) -> Iterator[dict[str, Any] | str]:
    """Yield the rows as JSON values; a reason for each that is none."""
    names = batch.schema.names
    columns = [
        _values(column, field.type, is_text=field.name == text_field)
        for column, field in zip(batch.columns, batch.schema, strict=True)
    ]
    for values in zip(*columns, strict=True):
        reason = next((value.reason for value in values if isinstance(value, _Bad)), None)
        yield dict(zip(names, values, strict=True)) if reason is None else reason


@dataclass(frozen=True, slots=True)
class _Bad:
    """A value that is no text."""

    reason: str


def _values(column: Any, kind: Any, *, is_text: bool) -> list[Any]:
    import pyarrow as pa

    is_string = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    is_binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    if pa.types.is_timestamp(kind) and kind.unit == "ns":  # Python's has microseconds
        column = column.cast(pa.timestamp("us", kind.tz), safe=False)
    try:
        if is_binary:  # some writers leave out that it is text
            return column.cast(pa.large_string()).to_pylist()
        values = column.to_pylist()
    except (ValueError, OverflowError, pa.ArrowException):
        if not is_string and not is_binary:
            return [_Bad("a field holds what JSON cannot hold")] * len(column)
        values = column.cast(pa.large_binary()).to_pylist()
        return [_decoded(value, is_text=is_text or is_string) for value in values]
    plain = is_string or pa.types.is_boolean(kind) or pa.types.is_integer(kind)
    return values if plain else [_json(value) for value in values]


def _decoded(value: bytes | None, *, is_text: bool) -> Any:
    try:
        return None if value is None else value.decode("utf-8")
    except UnicodeDecodeError as error:
        return _Bad(not_utf8(error)) if is_text else None


def _json(value: Any) -> Any:
    """Return a value as JSON has it: dates and decimals as strings; bytes, which it lacks, null."""
    if isinstance(value, dict):
        record = cast("dict[Any, Any]", value)
        return {str(name): _json(item) for name, item in record.items()}
    if isinstance(value, list | tuple):
        return [_json(item) for item in cast("list[Any]", value)]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    if isinstance(value, bytes):
        return None
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, datetime.timedelta | decimal.Decimal):
        return str(value)
    return value


def _packed_bytes(group: Any) -> int:
    return sum(group.column(column).total_compressed_size for column in range(group.num_columns))


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0].strip() or type(error).__name__
