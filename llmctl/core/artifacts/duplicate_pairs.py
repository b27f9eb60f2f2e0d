"""duplicates.parquet: each dropped duplicate of a corpus, and what it repeats.

Columns id, duplicate_of, cluster, similarity (float64), exact (boolean), corpus (null where
`duplicate_of` is a document of the same run, else the earlier corpus that holds it). The
bytes depend on the rows and the version of pyarrow only.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from llmctl.core import atomic
from llmctl.core.errors import DataError, MissingInputError

PAIRS_NAME = "duplicates.parquet"
_ROWS_AT_ONCE = 1 << 16


@dataclass(frozen=True, slots=True)
class DuplicatePair:
    """A dropped document and the one that it repeats.

    Attributes:
        id: Of the dropped one.
        duplicate_of: Id of the document that it was compared with.
        cluster: Id of the kept document that stands for it; differs from `duplicate_of`
            where that one was itself dropped for a third.
        similarity: Of `id` and `duplicate_of`; 1 for an exact duplicate.
        exact: Whether they are equal but for case, width and white space.
        corpus: The earlier corpus that holds `cluster`; None where this one does.
    """

    id: str
    duplicate_of: str
    cluster: str
    similarity: float
    exact: bool
    corpus: str | None = None


def write_pairs(path: Path, pairs: Iterable[DuplicatePair]) -> None:
    """Write the file, a row for each pair in order.

    Raises:
        StorageError: The disk is full or failing.
    """
    import pyarrow as pa
    import pyarrow.parquet

    text = pa.string()
    schema = pa.schema(
        [
            pa.field("id", text, nullable=False),
            pa.field("duplicate_of", text, nullable=False),
            pa.field("cluster", text, nullable=False),
            pa.field("similarity", pa.float64(), nullable=False),
            pa.field("exact", pa.bool_(), nullable=False),
            pa.field("corpus", text),
        ]
    )
    rows = iter(pairs)
    with (
        atomic.storage_errors(path),
        pyarrow.parquet.ParquetWriter(path, schema, compression="zstd") as writer,
    ):
        while batch := list(itertools.islice(rows, _ROWS_AT_ONCE)):
            columns = [[_held(getattr(pair, name)) for pair in batch] for name in schema.names]
            writer.write_table(
                pa.table(
                    [
                        pa.array(column, kind.type)
                        for column, kind in zip(columns, schema, strict=True)
                    ],
                    schema=schema,
                )
            )


def read_pairs(path: Path) -> Iterator[DuplicatePair]:
    """Yield the pairs in order.

    Raises:
        MissingInputError: There is no such file.
        DataError: It is not one of these files.
    """
    import pyarrow as pa
    import pyarrow.parquet

    if not path.is_file():
        raise MissingInputError(f"{path}: not there; `llmctl clean` writes it beside the corpus")
    names = list(DuplicatePair.__dataclass_fields__)
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(_ROWS_AT_ONCE, columns=names):
                if batch.schema.names != names:
                    raise DataError(f"{path}: has columns {batch.schema.names}, expected {names}")
                for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    yield DuplicatePair(*row)
    except pa.ArrowException as error:
        raise DataError(f"{path}: damaged: {error}; clean the corpus again") from error


def _held(value: object) -> object:
    """Return what UTF-8 can hold."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    return value
