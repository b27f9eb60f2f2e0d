"""duplicates.parquet: rows come back, bytes are the same, other files are refused."""

import pyarrow as pa
import pyarrow.parquet
import pytest

from llmctl.core.artifacts import duplicate_pairs as subject
from llmctl.core.artifacts.duplicate_pairs import DuplicatePair, read_pairs, write_pairs
from llmctl.core.errors import DataError, MissingInputError, StorageError

PAIRS = [
    DuplicatePair("b", "a", "a", 1.0, True),
    DuplicatePair("诗/二", "诗/一", "诗/零", 0.8125, False, "old/语料"),
    DuplicatePair("c", "b", "a", 1 / 3, False),
]


@pytest.mark.parametrize("num_rows", [0, 1, 2, 3])
def test_rows_come_back_in_order(tmp_path, num_rows, monkeypatch):
    monkeypatch.setattr(subject, "_ROWS_AT_ONCE", 2)
    path = tmp_path / subject.PAIRS_NAME

    write_pairs(path, iter(PAIRS[:num_rows]))

    assert list(read_pairs(path)) == PAIRS[:num_rows]


def test_columns(tmp_path):
    write_pairs(tmp_path / "pairs", PAIRS)

    table = pyarrow.parquet.read_table(tmp_path / "pairs")

    assert table.schema.names == [
        "id",
        "duplicate_of",
        "cluster",
        "similarity",
        "exact",
        "corpus",
    ]
    assert table["corpus"].to_pylist() == [None, "old/语料", None]


def test_same_bytes_every_time(tmp_path):
    for name in ("one", "two"):
        write_pairs(tmp_path / name, PAIRS)

    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_what_utf8_cannot_hold_becomes_a_question_mark(tmp_path):
    write_pairs(tmp_path / "pairs", [DuplicatePair("\ud800", "a", "a", 1.0, True)])

    assert next(read_pairs(tmp_path / "pairs")).id == "?"


def test_refuses_a_missing_file(tmp_path):
    with pytest.raises(MissingInputError, match="not there; `llmctl clean` writes it"):
        list(read_pairs(tmp_path / "none"))


def test_refuses_a_damaged_file(tmp_path):
    path = tmp_path / "pairs"
    write_pairs(path, PAIRS)
    path.write_bytes(path.read_bytes()[:-20])

    with pytest.raises(DataError, match="damaged"):
        list(read_pairs(path))


def test_refuses_a_file_of_other_columns(tmp_path):
    path = tmp_path / "pairs"
    pyarrow.parquet.write_table(pa.table({"id": ["a"]}), path)

    with pytest.raises(DataError, match=r"has columns .*, expected .*'duplicate_of'"):
        list(read_pairs(path))


def test_a_full_disk_is_told(tmp_path):
    def failing():
        raise OSError(28, "No space left on device")
        yield

    with pytest.raises(StorageError, match="No space left"):
        write_pairs(tmp_path / "pairs", failing())
