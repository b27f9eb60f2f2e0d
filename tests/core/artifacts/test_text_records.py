"""A text a line: places and texts by hand, packed files, refusals by line."""

from __future__ import annotations

import gzip
import io

import pytest

from llmctl.core.artifacts.text_records import open_texts, read_texts
from llmctl.core.errors import DataError, MissingInputError


def read(content, **options):
    return list(read_texts(io.BytesIO(content), "f", **options))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(b"", [], id="nothing"),
        pytest.param("一\ntwo".encode(), [("f:1", "一"), ("f:2", "two")], id="no line end"),
        pytest.param(b"\xef\xbb\xbfa\r\n b \n", [("f:1", "a"), ("f:2", " b ")], id="mark, CRLF"),
    ],
)
def test_lines_by_hand(content, expected):
    assert read(content) == expected


def test_records_by_hand():
    content = '{"text": "a\\nb", "id": 1}\n{"text": "界"}\n'.encode()

    assert read(content, text_field="text") == [("f:1", "a\nb"), ("f:2", "界")]
    assert read(b'{"body": "x"}', text_field="body") == [("f:1", "x")]


@pytest.mark.parametrize(
    ("name", "pack"), [("a.jsonl", bytes), ("a.jsonl.gz", gzip.compress), ("a.ndjson", bytes)]
)
def test_a_files_name_tells_what_it_holds(tmp_path, name, pack):
    path = tmp_path / name
    path.write_bytes(pack(b'{"text": "a"}\n'))

    with open_texts(str(path)) as texts:
        assert list(texts) == [(f"{path}:1", "a")]


def test_a_field_makes_records_of_any_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b'{"body": "a"}\n')

    with open_texts(str(path), "body") as texts:
        assert [text for _, text in texts] == ["a"]
    with open_texts(str(path)) as texts:
        assert [text for _, text in texts] == ['{"body": "a"}']


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        pytest.param(b"a\n\nb\n", {}, "f:2: empty", id="empty line"),
        pytest.param(b"a\n \t\n", {}, "f:2: empty", id="blank line"),
        pytest.param(b"a\n\xff\n", {}, "f:2: not UTF-8: .* 0xff", id="not UTF-8"),
        pytest.param(b"{}\n", {"text_field": "text"}, "f:1: .* string as 'text'", id="no field"),
        pytest.param(b"[1]\n", {"text_field": "text"}, "f:1: expected an object", id="no object"),
        pytest.param(b'{"a": 1}', {"text_field": "a"}, "f:1: .* string as 'a'", id="no string"),
        pytest.param(b"{\n", {"text_field": "text"}, "f:1: not JSON", id="not JSON"),
        pytest.param(b"\n", {"text_field": "text"}, "f:1: empty", id="empty record"),
        pytest.param(b'{"text":""}', {"text_field": "text"}, "f:1: empty", id="empty text"),
        pytest.param(b"abc", {"compression": ".gz"}, "f:1: the .gz data is damaged", id="no gzip"),
    ],
)
def test_refuses_a_line_by_its_place(content, options, message):
    with pytest.raises(DataError, match=message):
        read(content, **options)


def test_refuses_a_line_without_end(monkeypatch):
    monkeypatch.setattr("llmctl.core.artifacts.streams.MAX_LINE_BYTES", 3)

    with pytest.raises(DataError, match="f:1: a line of more than"):
        read(b"abcd")


def test_refuses_a_file_that_is_not_there(tmp_path):
    with pytest.raises(MissingInputError, match="cannot be read: No such file"):
        open_texts(str(tmp_path / "nothing.txt")).__enter__()
