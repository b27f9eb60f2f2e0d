"""answer_rows: whole rows only, of one kind, by one writer, on the disk."""

from __future__ import annotations

import errno
import json
import os

import pytest

from llmctl.core.artifacts import answer_rows
from llmctl.core.artifacts.answer_rows import Stamp, open_answers, seed_of
from llmctl.core.errors import BusyError, DataError, OutputError, StorageError, UsageError

STAMP = Stamp(3, "1a2b3c4d")


def answer(row_id, **more):
    return {"id": row_id, "text": "世界 🌍", "seed": 3, "settings": "1a2b3c4d", **more}


ROWS = [
    answer("a"),
    answer(2**70, sample=0),
    answer(2**70, sample=1),
    {"id": "b", "error": "no", "line": 4},
]


def write(path, rows, *, resume=False):
    with open_answers(path, STAMP, resume=resume) as answers:
        for row in rows:
            answers.append(row)
        return answers.found


def read(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "答 案.jsonl"


def test_rows_are_lines_in_plain_utf8(path):
    write(path, ROWS)

    assert read(path) == ROWS
    first = '{"id":"a","text":"世界 🌍","seed":3,"settings":"1a2b3c4d"}'
    assert path.read_text(encoding="utf-8").splitlines()[0] == first


def test_going_on_tells_what_is_there(path):
    assert not write(path, ROWS, resume=True).answered

    found = write(path, [answer("c")], resume=True)

    assert found.answered == {("a", 0), (2**70, 0), (2**70, 1)}
    assert found.refused == {4}
    assert read(path) == [*ROWS, answer("c")]


def test_a_row_is_written_at_once_and_is_on_the_disk(path, operations):
    written = []
    with open_answers(path, STAMP, resume=False) as answers:
        for row in ROWS:
            answers.append(row)
            written.append(read(path))

    assert written == [ROWS[:length] for length in range(1, 5)]
    names = [name for name, where in operations if where == path]
    assert names[:2] == ["write", "fsync"]
    assert names[-1] == "fsync"


def test_where_the_disk_is_slow_rows_share_an_fsync(path, operations, monkeypatch):
    clock = iter(range(10_000))
    monkeypatch.setattr(answer_rows.time, "monotonic", lambda: next(clock))

    write(path, [answer(number) for number in range(300)])

    names = [name for name, where in operations if where == path]
    assert names.count("write") == 300
    # Each takes a second of the clock, as does each row: 1 % is one in a hundred.
    assert 3 <= names.count("fsync") <= 6
    assert names[-1] == "fsync"


@pytest.mark.parametrize(
    "tail",
    [b'{"id":"c","te', b"{", b'{"id":"c","te\0\0\0', b"\0" * 40, json.dumps(answer("c")).encode()],
)
def test_a_row_that_is_not_whole_is_cut_off(path, tail):
    write(path, ROWS)
    with path.open("ab") as handle:
        handle.write(tail)
    assert seed_of(path) == 3

    found = write(path, [answer("d")], resume=True)

    assert ("c", 0) not in found.answered
    assert read(path) == [*ROWS, answer("d")]


@pytest.mark.parametrize(
    "content",
    [
        b"notes of mine\n",
        b"notes of mine",
        b"\0\0\0\0",
        b'{"id": "a", "prompt": "a"}\n',
        b'{"id": 1.5, "text": "a", "seed": 3, "settings": ""}\n',
        b'{"text": "a", "seed": 3, "settings": ""}\n',
        b'{"id": "a", "error": "no"}\n',
        b"[1]\n",
    ],
)
def test_a_file_of_something_else_is_left_alone(path, content):
    path.write_bytes(content)

    with pytest.raises(DataError, match=r"案\.jsonl:1: no row of answers; name another file"):
        write(path, [], resume=True)
    with pytest.raises(DataError, match="no row of answers"):
        seed_of(path)

    assert path.read_bytes() == content


def test_a_bad_row_among_good_ones_is_named(path):
    write(path, ROWS)
    path.write_bytes(path.read_bytes() + b"\0\0\n" + json.dumps(ROWS[0]).encode() + b"\n")

    with pytest.raises(DataError, match=r"案\.jsonl:5: no row of answers"):
        write(path, [], resume=True)


def test_a_file_holds_answers_of_one_seed_and_settings(path):
    write(path, ROWS)

    for stamp, message in (
        (Stamp(4, STAMP.settings), "are of seed 3 and not of 4; give --seed 3, or name another"),
        (Stamp(3, "ffffffff"), "settings 1a2b3c4d and not of ffffffff: the model or an option"),
    ):
        with (
            pytest.raises(UsageError, match=message),
            open_answers(path, stamp, resume=True),
        ):
            pass
    assert read(path) == ROWS


def test_the_seed_of_a_file_is_that_of_its_first_answer(path):
    assert seed_of(path) is None
    write(path, [ROWS[3]])
    assert seed_of(path) is None
    write(path, [answer(1)], resume=True)
    assert seed_of(path) == 3


def test_a_file_that_is_there_is_not_begun_again(path, tmp_path):
    write(path, ROWS)

    with pytest.raises(
        OutputError, match="exists; add --resume to go on with it, or name"
    ) as error:
        write(path, [])
    assert (error.value.exit_code, read(path)) == (73, ROWS)
    with pytest.raises(OutputError, match="is no regular file"):
        write(tmp_path, [], resume=True)
    with pytest.raises(OutputError, match="cannot be created"):
        write(path / "below.jsonl", [])


def test_two_writers_at_once_are_one_too_many(path):
    with (
        open_answers(path, STAMP, resume=False),
        pytest.raises(BusyError, match=r"in use by process \d+"),
        open_answers(path, STAMP, resume=True),
    ):
        pass


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_row_that_finds_no_space_leaves_nothing_behind(path, monkeypatch, number):
    write_there = os.write

    def fill(descriptor, data):
        if b'"c"' not in data:
            raise OSError(number, os.strerror(number))
        return write_there(descriptor, data[:10])

    write(path, ROWS)
    with open_answers(path, STAMP, resume=True) as answers:
        monkeypatch.setattr(os, "write", fill)
        with pytest.raises(StorageError, match=r"No space left|Input/output error") as error:
            answers.append(answer("c"))
        monkeypatch.undo()
        assert error.value.exit_code == 74
        assert read(path) == ROWS
        answers.append(answer("d"))

    assert read(path) == [*ROWS, answer("d")]


def test_without_a_file_rows_go_to_standard_output(capfd):
    write(None, ROWS[:2])

    assert [json.loads(line) for line in capfd.readouterr().out.splitlines()] == ROWS[:2]
