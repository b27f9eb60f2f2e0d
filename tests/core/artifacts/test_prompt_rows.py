"""prompt_rows: every row is a prompt or says why it is none, and costs no other."""

from __future__ import annotations

import gzip
import io
import json
import os
import sys
import threading

import pytest
import zstandard

from llmctl.core.artifacts.prompt_rows import ANSWER_FIELDS, BadRow, PromptRow, PromptSource
from llmctl.core.errors import DataError, MissingInputError, UsageError


def read(path):
    with PromptSource(str(path)).open() as rows:
        return list(rows)


@pytest.fixture
def rows_of(tmp_path):
    """Bytes → the rows of a file that holds them."""

    def rows(content, name="prompts.jsonl"):
        path = tmp_path / name
        path.write_bytes(content)
        return read(path)

    return rows


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"prompt": "世界 🌍"}', PromptRow(1, 1, "世界 🌍")),
        ('{"prompt": ""}', PromptRow(1, 1, "")),
        ('{"prompt": " a\\u0000\\n "}', PromptRow(1, 1, " a\0\n ")),
        ('{"id": "甲", "prompt": "a"}', PromptRow(1, "甲", "a")),
        ('{"id": "7", "prompt": "a"}', PromptRow(1, "7", "a")),
        ('{"id": 0, "prompt": "a"}', PromptRow(1, 0, "a")),
        ('{"id": null, "prompt": "a"}', PromptRow(1, 1, "a")),
        ('{"id": 18446744073709551617, "prompt": "a"}', PromptRow(1, 2**64 + 1, "a")),
        (
            '{"messages": [{"role": "user", "content": "你好"}]}',
            PromptRow(1, 1, [{"role": "user", "content": "你好"}]),
        ),
        (
            '{"topic": {"a": [1.5, null]}, "prompt": "a", "n": 36893488147419103232}',
            PromptRow(1, 1, "a", {"topic": {"a": [1.5, None]}, "n": 2**65}),
        ),
        ('  {"prompt": "\\ud83c\\udf0d"}\r', PromptRow(1, 1, "🌍")),
    ],
)
def test_a_record_is_a_prompt(rows_of, line, expected):
    assert rows_of(line.encode()) == [expected]


@pytest.mark.parametrize(
    ("line", "row_id", "reason"),
    [
        ('{"prompt": "a"', 1, "not JSON: Expecting ',' delimiter, column 15"),
        ('["a"]', 1, "expected an object, found a list"),
        ('"a"', 1, "expected an object, found a string"),
        ('{"id": "x", "text": "a"}', "x", "neither prompt nor messages (other fields: text)"),
        ("{}", 1, "neither prompt nor messages (other fields: none)"),
        ('{"prompt": "a", "messages": []}', 1, "both prompt and messages; give one of them"),
        ('{"id": 5, "prompt": 3}', 5, "the prompt is a number, not a string"),
        ('{"prompt": null}', 1, "the prompt is null, not a string"),
        ('{"messages": "a"}', 1, "the messages are a string, not a list of objects"),
        ('{"messages": []}', 1, "the messages are an empty list, not a list of objects"),
        (
            '{"messages": [{"role": "user"}, {"content": "a"}]}',
            1,
            "message 2 is not an object with a role that is a string",
        ),
        (
            '{"messages": ["a"]}',
            1,
            "message 1 is not an object with a role that is a string",
        ),
        ('{"id": true, "prompt": "a"}', 1, "the id is true or false, not a string or a whole"),
        ('{"id": 1.0, "prompt": "a"}', 1, "the id is a number, not a string or a whole number"),
        ('{"id": ["a"], "prompt": "a"}', 1, "the id is a list, not a string or a whole number"),
        ('{"prompt": "a\\ud83d"}', 1, "holds half a surrogate pair, \\ud83d, which is no text"),
        ('{"id": "\\udc00", "prompt": "a"}', 1, "holds half a surrogate pair, \\udc00"),
        ('{"prompt": "a", "n": {"\\uD800": 1}}', 1, "holds half a surrogate pair, \\ud800"),
        ('{"prompt": "a", "n": NaN}', 1, "not JSON: NaN"),
        ('{"prompt": "a", "n": -Infinity}', 1, "not JSON: -Infinity"),
        ('{"prompt": "a", "n": 1e999}', 1, "the number 1e999 is too large"),
        ('{"prompt": "a", "n": ' + "[" * 101 + "]" * 101 + "}", 1, "nested deeper than 100 levels"),
        ("[" * 200_000, 1, "nested too deeply"),
    ],
)
def test_a_bad_record_says_why_and_costs_no_other(rows_of, line, row_id, reason):
    bad, good = rows_of(f'{line}\n{{"prompt": "b"}}\n'.encode())

    assert (bad.line, bad.id) == (1, row_id)
    assert bad.reason.startswith(reason)
    assert good == PromptRow(2, 2, "b")


@pytest.mark.parametrize("name", [name for name in ANSWER_FIELDS if name != "id"])
def test_a_field_that_answers_have_is_refused(rows_of, name):
    (bad,) = rows_of(json.dumps({"prompt": "a", name: 1}).encode())

    assert bad.reason == f"the field {name} is one that the answer has; give it another name"


def test_bytes_that_are_no_text_spoil_their_row(rows_of):
    assert rows_of(b'{"prompt": "a\xff"}\n{"prompt": "b"}\n') == [
        BadRow(1, 1, "invalid UTF-8: invalid start byte 0xff"),
        PromptRow(2, 2, "b"),
    ]
    assert rows_of("好\n".encode() + b"\xe4\xb8\n\xed\xa0\xbd", "a.txt") == [
        PromptRow(1, 1, "好"),
        BadRow(2, 2, "invalid UTF-8: unexpected end of data 0xe4"),
        BadRow(3, 3, "invalid UTF-8: invalid continuation byte 0xed"),
    ]


def test_an_id_is_good_for_one_row(rows_of):
    content = (
        b'{"id": "a", "prompt": "1"}\n{"id": 4, "prompt": "2"}\n'
        b'{"id": "a", "prompt": "3"}\n{"prompt": "4"}\n{"id": "4", "prompt": "5"}\n'
    )

    assert rows_of(content) == [
        PromptRow(1, "a", "1"),
        PromptRow(2, 4, "2"),
        BadRow(3, "a", 'the id "a" is that of line 1 already'),
        BadRow(4, 4, "the id 4 is that of line 2 already"),
        PromptRow(5, "4", "5"),
    ]


TEXT = "\ufeffThe world is\r\n\r\n \t\n世界\u2028🌍  \r\nlast".encode()
TEXT_ROWS = [
    PromptRow(1, 1, "The world is"),
    PromptRow(4, 4, "世界\u2028🌍  "),
    PromptRow(5, 5, "last"),
]


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("a.txt", bytes),
        ("a.TXT.gz", gzip.compress),
        ("a.txt.zst", zstandard.compress),
        ("utf-16.txt", lambda content: content.decode().encode("utf-16-le")),
    ],
)
def test_a_text_has_a_prompt_a_line_and_blank_lines_count(rows_of, tmp_path, name, pack):
    assert rows_of(pack(TEXT), name) == TEXT_ROWS
    assert PromptSource(str(tmp_path / name)).num_rows() == 3


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress])
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (TEXT, TEXT_ROWS),
        (b"\n \n" + b'{"prompt": "a"}\n{bad', [PromptRow(3, 3, "a"), "not JSON"]),
        (b'{bad\n{"prompt": "a"}', ["not JSON", PromptRow(2, 2, "a")]),
        (b"", []),
        (b"\n\n", []),
    ],
)
def test_standard_input_is_told_by_how_it_begins(monkeypatch, pack, content, expected):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(pack(content))))

    found = read("-")

    assert [row.reason[:8] if isinstance(row, BadRow) else row for row in found] == expected
    assert PromptSource("-").num_rows() is None


def test_a_pipe_with_a_name_is_read_like_standard_input(tmp_path):
    pipe = tmp_path / "63"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(b'{"prompt": "a"}\n',))
    writer.start()

    assert read(pipe) == [PromptRow(1, 1, "a")]
    writer.join()
    assert PromptSource(str(pipe)).num_rows() is None


def test_a_line_beyond_all_bounds_is_one_bad_row(rows_of, monkeypatch):
    monkeypatch.setattr("llmctl.core.artifacts.streams.MAX_LINE_BYTES", 20)

    assert rows_of(b'{"prompt": "a"}\n{"prompt": "' + b"b" * 30 + b'"}\n{"prompt": "c"}\n') == [
        PromptRow(1, 1, "a"),
        BadRow(2, 2, "a line of more than 256 MB"),
        PromptRow(3, 3, "c"),
    ]


def test_what_cannot_be_read_on_ends_the_rows(tmp_path):
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(b"a\nb\n", mtime=0)[:-3])
    rows = []

    with (
        pytest.raises(DataError, match=r"a\.txt\.gz: cannot be read beyond line 2: the \.gz data"),
        PromptSource(str(path)).open() as found,
    ):
        rows.extend(found)

    assert PromptSource(str(path)).num_rows() is None


def test_what_is_no_file_of_prompts_is_refused(tmp_path):
    other = tmp_path / "a.json"
    other.write_text("[]")

    with pytest.raises(UsageError, match=r"a\.json: a file of unknown kind; known are \.jsonl"):
        PromptSource(str(other))
    (tmp_path / "a.pdf").touch()
    with pytest.raises(UsageError, match=r"a\.pdf: a file of unknown kind"):
        PromptSource(str(tmp_path / "a.pdf"))
    for name, reason in (("absent.txt", "No such file"), (".", "Is a directory")):
        with (
            pytest.raises(MissingInputError, match=reason),
            PromptSource(str(tmp_path / name)).open(),
        ):
            pass
