"""LineSource: lines by their ends alone, as they come."""

from __future__ import annotations

import io
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmctl.core.artifacts import line_batches
from llmctl.core.artifacts.line_batches import LineSource
from llmctl.core.errors import DataError, MissingInputError


class Chunks(io.BytesIO):
    """Gives at each reading what is there."""

    def __init__(self, chunks):
        super().__init__()
        self.chunks = [chunk for chunk in chunks if chunk]

    def read1(self, size=-1):
        return self.chunks.pop(0) if self.chunks else b""


@pytest.fixture
def batches_of(monkeypatch):
    def read(*chunks):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Chunks(chunks)))
        with LineSource("-").open() as batches:
            return list(batches)

    return read


def test_lines_end_at_line_feeds_alone(batches_of):
    hard = "a\r\n\n\x0b\x0c\u2028\x85\0b\r".encode()

    assert batches_of(hard) == [
        (1, [b"a\r", b""]),
        (3, ["\x0b\x0c\u2028\x85\0b\r".encode()]),
    ]
    assert batches_of() == []
    assert batches_of(b"\n") == [(1, [b""])]
    assert batches_of(b"\xef\xbb\xbfa") == [(1, [b"\xef\xbb\xbfa"])]


def test_a_batch_is_what_is_there(batches_of):
    assert batches_of(b"a\n", b"b\nc", b"d", b"\n\n", b"e") == [
        (1, [b"a"]),
        (2, [b"b"]),
        (3, [b"cd", b""]),
        (5, [b"e"]),
    ]


def test_reads_a_file_a_little_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(line_batches, "BATCH_BYTES", 4)
    path = tmp_path / "文本.txt"
    path.write_bytes(b"ab\ncdefgh\ni")

    with LineSource(str(path)).open() as batches:
        assert list(batches) == [(1, [b"ab"]), (2, [b"cdefgh"]), (3, [b"i"])]


def test_refuses_what_is_not_there_and_lines_without_end(tmp_path, monkeypatch, batches_of):
    with (
        pytest.raises(MissingInputError, match="nowhere: No such file"),
        LineSource(str(tmp_path / "nowhere")).open(),
    ):
        pass
    with pytest.raises(MissingInputError, match="Is a directory"), LineSource(str(tmp_path)).open():
        pass
    monkeypatch.setattr(line_batches, "MAX_LINE_BYTES", 1_000_000)
    with pytest.raises(DataError, match=r"^stdin:2: a line of more than 1 MB; split it$"):
        batches_of(b"a\n", b"b" * 1_000_000, b"c")
    assert batches_of(b"a\n", b"b" * 999_999, b"c\n")[-1] == (2, [b"b" * 999_999 + b"c"])


def test_standard_input_is_read_as_bytes():
    assert LineSource("-").name == "stdin"
    assert str(LineSource("x").fault(3, "no")) == "x:3: no"


@given(st.lists(st.sampled_from([b"a", b"\n", "世".encode(), b"\r\n", b"bc\nd"])), st.data())
def test_chunks_make_no_difference(parts, data):
    content = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(content)), max_size=5)))
    chunks = [content[a:b] for a, b in zip([0, *cuts], [*cuts, len(content)], strict=True)]
    former, sys.stdin = sys.stdin, io.TextIOWrapper(Chunks(chunks))
    try:
        with LineSource("-").open() as batches:
            found = list(batches)
    finally:
        sys.stdin = former

    lines = content.removesuffix(b"\n").split(b"\n") if content else []
    assert [line for _, batch in found for line in batch] == lines
    sizes = [len(batch) for _, batch in found]
    assert [number for number, _ in found] == [1 + sum(sizes[:i]) for i in range(len(sizes))]
    assert all(sizes)
