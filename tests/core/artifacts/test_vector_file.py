"""A file of vectors: read back by NumPy, whole or not there, refusals."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

from llmctl.core.artifacts.vector_file import write_vectors
from llmctl.core.errors import OutputError

ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)


def write(path, *parts, width=3):
    with write_vectors(path, width) as append:
        for part in parts:
            append(part)


@pytest.mark.parametrize("splits", [(), (4,), (1, 3), (1, 1, 1, 1)])
def test_numpy_reads_what_was_appended(tmp_path, splits):
    path = tmp_path / "向量.npy"

    write(path, *np.split(ROWS[: sum(splits)], np.cumsum(splits)[:-1] if splits else []))

    found = np.load(path, mmap_mode="r", allow_pickle=False)
    assert (found.dtype, found.shape) == (np.float32, (sum(splits), 3))
    assert found.tolist() == ROWS[: sum(splits)].tolist()
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_the_header_has_room_for_many_rows(tmp_path):
    path = tmp_path / "v.npy"
    rows = np.ones((123_456, 1), dtype=np.float64)  # converted, too

    write(path, rows[:100_000].astype(np.float32), rows[100_000:], width=1)

    assert np.load(path).shape == (123_456, 1)


def test_whenever_the_process_ends_the_file_is_the_old_or_the_new(tmp_path, killed_after):
    path = tmp_path / "v.npy"
    write(path, ROWS)
    ends = 0

    while killed_after(ends + 1, lambda: write(path, ROWS + 1)):
        ends += 1
        assert np.load(path).tolist() in (ROWS.tolist(), (ROWS + 1).tolist())

    assert ends == 4  # written, on the disk, renamed, the folder on the disk
    assert np.load(path).tolist() == (ROWS + 1).tolist()


def test_an_error_in_between_leaves_nothing_behind(tmp_path):
    path = tmp_path / "v.npy"

    with contextlib.suppress(KeyError), write_vectors(path, 3) as append:
        append(ROWS)
        assert list(tmp_path.iterdir()) != []
        raise KeyError

    assert list(tmp_path.iterdir()) == []


def test_refuses_places(tmp_path):
    (tmp_path / "folder").mkdir()

    with pytest.raises(OutputError, match="it is a folder"):
        write(tmp_path / "folder")
    with pytest.raises(OutputError, match="is no folder"):
        write(tmp_path / "nowhere" / "v.npy")
