"""row_log: rows come back in order; what a crash left of one is passed over."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmctl.core.artifacts.row_log import RowLog
from llmctl.core.errors import OutputError


@pytest.fixture
def log(tmp_path):
    found = RowLog(tmp_path / "metrics.jsonl")
    for step in (1, 2, 2, 3):
        found.append({"step": step, "text": "世界"})
    return found


def steps_of(log: RowLog) -> list[int]:
    return [row["step"] for row in log.rows()]


def test_a_row_is_a_line_of_json(log):
    assert log.path.read_text(encoding="utf-8").splitlines()[0] == '{"step":1,"text":"世界"}'
    assert list(log.rows())[-1] == {"step": 3, "text": "世界"}
    assert steps_of(log) == [1, 2, 2, 3]


def test_before_the_first_row_there_is_nothing(tmp_path):
    log = RowLog(tmp_path / "absent.jsonl")

    log.cut_back(5)

    assert list(log.rows()) == []
    assert not log.path.exists()


@pytest.mark.parametrize(
    ("tail", "expected"),
    [
        pytest.param(b'{"step":4', [1, 2, 2, 3], id="a row cut off"),
        pytest.param(b'{"step":4}', [1, 2, 2, 3], id="a row without its line end"),
        pytest.param(b"\0" * 50, [1, 2, 2, 3], id="zeros"),
        pytest.param(b'\0\0\0\n{"step":5}\n', [1, 2, 2, 3, 5], id="zeros, then a whole row"),
    ],
)
def test_what_a_crash_left_is_passed_over_and_cut_away(log, tail, expected):
    with log.path.open("ab") as handle:
        handle.write(tail)
    assert steps_of(log) == expected

    log.cut_back(9)
    log.append({"step": 10})

    assert steps_of(log) == [*expected, 10]


@pytest.mark.parametrize(("step", "expected"), [(0, []), (1, [1]), (2, [1, 2, 2]), (3, None)])
def test_rows_of_later_steps_are_dropped(log, step, expected):
    before = log.path.read_bytes()

    log.cut_back(step)

    assert steps_of(log) == ([1, 2, 2, 3] if expected is None else expected)
    assert before.startswith(log.path.read_bytes())


@settings(max_examples=20, deadline=None)
@given(kept=st.integers(0, 8), at=st.integers(0, 200))
def test_a_resumed_log_is_the_log_never_interrupted(tmp_path_factory, kept, at):
    """Killed at any byte and resumed at any whole step, the bytes are the same."""
    log = RowLog(tmp_path_factory.mktemp("log") / "metrics.jsonl")
    rows = [{"step": step, "loss": 1 / step} for step in range(1, 9)]
    for row in rows:
        log.append(row)
    whole = log.path.read_bytes()
    log.path.write_bytes(whole[: max(at, whole.find(b'{"step":%d' % (kept + 1)))])

    log.cut_back(kept)
    for row in rows[len(list(log.rows())) :]:
        log.append(row)

    assert log.path.read_bytes() == whole


def test_cutting_back_is_whole_or_not_at_all(log, operations):
    log.cut_back(1)

    assert [operation for operation, _ in operations] == ["write", "fsync", "rename", "fsync"]


def test_a_place_that_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(OutputError, match="cannot be created"):
        RowLog(tmp_path).append({"step": 1})
