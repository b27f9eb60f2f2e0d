"""Evaluation files: which texts are items, their names, refusals that say where."""

import gzip

import pytest
import zstandard

from llmctl.core.artifacts.evaluation_items import evaluation_sources, read_evaluation_items
from llmctl.core.errors import DataError, MissingInputError, RecipeError


def read(base, *files, fields=("text", "question", "answer")):
    return list(read_evaluation_items(evaluation_sources(files, base), fields))


def test_a_line_of_text_is_an_item(tmp_path):
    (tmp_path / "测试.txt").write_bytes("\ufeffone\r\n\n \n二\n".encode())

    assert read(tmp_path, "测试.txt") == [("测试.txt:1", "one"), ("测试.txt:4", "二")]


@pytest.mark.parametrize(
    ("record", "fields", "texts"),
    [
        ('{"question": "q", "answer": "a", "id": "x"}', ("question", "answer", "text"), ["q", "a"]),
        ('{"a": {"b": {"c": "deep"}}}', ("a.b.c",), ["deep"]),
        ('{"a.b": "dotted", "a": {"b": "no"}}', ("a.b",), ["dotted"]),
        ('{"a": {"b.c": "half dotted"}}', ("a.b.c",), ["half dotted"]),
        ('{"choices": ["x", 3, "y", null, ["z"]]}', ("choices",), ["x", "y", "z"]),
        ('{"qas": [{"question": "1"}, {"question": "2"}, {}]}', ("qas.question",), ["1", "2"]),
        (
            '{"messages": [{"role": "user", "content": "hi"}, {"role": "a", "content": ["no"]}]}',
            ("messages",),
            ["hi"],
        ),
        ('{"conversations": [{"from": "human", "value": "hi"}]}', ("conversations",), ["hi"]),
        ('{"text": "", "answer": 7, "question": "q"}', ("text", "answer", "question"), ["q"]),
        ('{"a": "leaf", "text": "t"}', ("a.b", "text"), ["t"]),
    ],
)
def test_fields_by_hand(tmp_path, record, fields, texts):
    (tmp_path / "e.jsonl").write_text(record + "\n", encoding="utf-8")

    assert read(tmp_path, "e.jsonl", fields=fields) == [("e.jsonl:1", text) for text in texts]


def test_a_record_without_the_fields_is_passed_over(tmp_path):
    (tmp_path / "e.jsonl").write_text('{"x": "y"}\n\n{"text": "t"}\n')

    assert read(tmp_path, "e.jsonl") == [("e.jsonl:3", "t")]


def test_packed_files_and_globs(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "2.jsonl.gz").write_bytes(gzip.compress(b'{"text": "two"}', mtime=0))
    (tmp_path / "a" / "1.md.zst").write_bytes(zstandard.compress(b"one"))

    assert read(tmp_path, "a/*.*") == [("a/1.md.zst:1", "one"), ("a/2.jsonl.gz:1", "two")]


@pytest.mark.parametrize("name", ["gone.txt", "gone/*.jsonl"])
def test_refuses_files_that_are_not_there(tmp_path, name):
    with pytest.raises(MissingInputError, match="gone"):
        read(tmp_path, name)


def test_refuses_a_file_that_has_gone(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    sources = evaluation_sources(["a.txt"], tmp_path)
    (tmp_path / "a.txt").unlink()

    with pytest.raises(MissingInputError, match=r"a\.txt"):
        list(read_evaluation_items(sources, ()))


@pytest.mark.parametrize("name", ["-", "builtin:python-docs", "a.pdf"])
def test_refuses_what_is_no_evaluation_file(tmp_path, name):
    (tmp_path / "a.pdf").write_bytes(b"")

    with pytest.raises(RecipeError, match=name.replace("-", ".")):
        read(tmp_path, name)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("e.txt", b"one\n\xff", r"e\.txt:2: invalid UTF-8"),
        ("e.txt", b"\n \n", r"e\.txt: holds nothing to look for"),
        ("e.jsonl", b"", r"e\.jsonl: holds nothing to look for"),
        ("e.jsonl", b'{"text": "x"}\n{', r"e\.jsonl:2: not JSON"),
        ("e.jsonl", b"[1]", r"e\.jsonl:1: expected an object, found a list"),
        (
            "e.jsonl",
            b'{"prompt": "x", "n": 1}\n{"label": "y"}',
            r"e\.jsonl: no record has a text in 'text' or 'question' or 'answer'; its fields are "
            "prompt, n, label; name those",
        ),
        (
            "e.txt.gz",
            gzip.compress(b"one\n" * 9, mtime=0)[:-9],
            r"e\.txt\.gz:\d+: the \.gz data is cut off",
        ),
    ],
)
def test_refuses_damage_by_line(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)

    with pytest.raises(DataError, match=message):
        read(tmp_path, name)


def test_refuses_an_endless_line(tmp_path, monkeypatch):
    monkeypatch.setattr("llmctl.core.artifacts.streams.MAX_LINE_BYTES", 10)
    (tmp_path / "e.txt").write_text("x" * 11)

    with pytest.raises(DataError, match=r"e\.txt:1: a line of more than"):
        read(tmp_path, "e.txt")
