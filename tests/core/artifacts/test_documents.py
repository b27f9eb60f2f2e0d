"""Documents: what is read, what is marked and where, and that one bad record costs one."""

import gzip
import io
import json
import lzma

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from llmctl.core.artifacts import streams
from llmctl.core.artifacts.document_files import read_documents
from llmctl.core.artifacts.documents import (
    Document,
    Unreadable,
    format_of,
    from_line,
    json_bytes,
    to_line,
)
from llmctl.core.errors import DataError


def read(content, kind="jsonl", compression="", **options):
    return list(read_documents(io.BytesIO(content), "in", kind, compression, **options))


def texts(found):
    return [item.text for item in found if isinstance(item, Document)]


def marks(found):
    return [(item.place, item.reason) for item in found if isinstance(item, Unreadable)]


def test_record_keeps_its_own_id_and_other_fields():
    line = '{"id": 7, "text": "春眠不觉晓", "title": "春晓", "n": {"a": [1]}}'.encode()

    assert read(line) == [
        Document("7", "in", "und", "春眠不觉晓", {"title": "春晓", "n": {"a": [1]}})
    ]


def test_record_without_id_is_named_by_its_line():
    found = read(b'\n{"text": "a"}\n\n{"text": "b", "id": null}\n{"text": "c", "id": true}')

    assert [item.id for item in found] == ["in:2", "in:4", "in:5"]
    assert found[1].meta == {"id": None}


@pytest.mark.parametrize("kind", ["text", None])
def test_text_file_is_one_document(kind):
    assert read("一\n\n二\n".encode(), kind) == [Document("in", "in", "und", "一\n\n二\n")]


def test_another_text_field():
    assert texts(read(b'{"body": "a", "text": "b"}', text_field="body")) == ["a"]


def test_kind_of_standard_input_is_told_by_its_beginning():
    assert texts(read(b' {"text": "a"}\n{"text": "b"}', None)) == ["a", "b"]
    assert texts(read(b"{a set}", None)) == ["{a set}"]
    assert read(b"", None) == []


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_byte_order_marks(encoding):
    assert texts(read('{"text": "你好 😀"}\n{"text": "b"}'.encode(encoding))) == ["你好 😀", "b"]
    assert texts(read("你好 😀".encode(encoding), "text")) == ["你好 😀"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        pytest.param(b'{"text": "\xff"}', "invalid UTF-8: invalid start byte 0xff", id="UTF-8"),
        pytest.param(b'{"text": "a"', "not JSON: ", id="JSON"),
        pytest.param(b"[1]", "expected an object, found a list", id="list"),
        pytest.param(b"3", "expected an object, found a number", id="number"),
        pytest.param(b"null", "expected an object, found null", id="null"),
        pytest.param(b'{"txet": "a"}', "no field 'text' (fields: txet)", id="missing field"),
        pytest.param(b"{}", "no field 'text' (fields: none)", id="no field"),
        pytest.param(b'{"text": ["a"]}', "'text' is a list, not a string", id="not a string"),
        pytest.param(b'{"text": null}', "'text' is null, not a string", id="null text"),
        pytest.param(b'{"text": " \\n"}', "'text' is empty", id="empty text"),
        pytest.param(b"[" * 100_000, "nested too deeply", id="nested without end"),
        pytest.param(
            b'{"text": "a", "b": ' + b"[" * 200 + b"]" * 200 + b"}",
            "nested deeper than 100 levels",
            id="nested too deeply to write",
        ),
    ],
)
def test_bad_record_is_marked_and_the_others_are_read(line, reason):
    found = read(b'{"text": "before"}\n' + line + b'\n{"text": "after"}')

    assert texts(found) == ["before", "after"]
    [(place, said)] = marks(found)
    assert place == "in:2"
    assert reason in said


def test_text_file_with_invalid_utf8_is_marked_with_its_line():
    assert marks(read(b"fine\nfine\nbad \xe4\n", "text")) == [
        ("in:3", "invalid UTF-8: invalid continuation byte 0xe4")
    ]


def test_text_file_without_content_has_no_document():
    assert read(b"", "text") == []


def packed(compression, content):
    pack = {".gz": gzip.compress, ".zst": zstandard.compress, ".xz": lzma.compress}
    return pack[compression](content)


ROWS = b"".join(
    json.dumps({"text": f"number {number * 7919 % 1_000_003}"}).encode() + b"\n"
    for number in range(30_000)
)


@pytest.mark.parametrize("compression", [".gz", ".zst", ".xz"])
def test_packed_input(compression):
    content = packed(compression, ROWS) + packed(compression, ROWS)

    assert texts(read(content, compression=compression)) == texts(read(ROWS)) * 2


@pytest.mark.parametrize("compression", [".gz", ".zst", ".xz"])
@pytest.mark.parametrize("share", [0.0001, 0.5, 0.9999])
def test_packed_input_cut_off_keeps_what_came_before(compression, share):
    content = packed(compression, ROWS)

    found = read(content[: max(int(len(content) * share), 1)], compression=compression)

    whole = texts(read(ROWS))
    kept = texts(found)
    assert kept == whole[: len(kept)]
    assert len(kept) >= (share - 0.3) * len(whole)
    assert marks(found) == [(f"in:{len(kept) + 1}", f"the {compression} data is cut off")]


@pytest.mark.parametrize("compression", [".gz", ".zst", ".xz"])
def test_packed_input_that_is_none(compression):
    [(place, reason)] = marks(read(b"plain text" * 5, compression=compression))

    assert place == "in:1"
    assert reason.startswith(f"the {compression} data is damaged: ")


@pytest.mark.parametrize("compression", [".gz", ".xz"])
def test_zeros_after_packed_data_are_padding(compression):
    assert len(read(packed(compression, ROWS) + bytes(5000), compression=compression)) == 30_000


def test_xz_that_asks_for_too_much_memory_is_damaged(monkeypatch):
    monkeypatch.setattr(streams, "_XZ_MEMORY_BYTES", 1000)

    [(_, reason)] = marks(read(lzma.compress(ROWS), compression=".xz"))
    assert reason.startswith("the .xz data is damaged: Memory usage limit")


@pytest.mark.parametrize("encoding", ["gb18030", "utf-16-le"])
def test_json_lines_of_other_encodings(encoding):
    lines = ['{"text": "春眠不觉晓，处处闻啼鸟。"}', "[]", '{"text": "plain"}'] * 5
    found = read("\n".join(lines).encode(encoding))

    assert texts(found) == ["春眠不觉晓，处处闻啼鸟。", "plain"] * 5
    assert len(marks(found)) == 5
    if encoding == "gb18030":
        assert [item.meta for item in found[:3:2]] == [{"encoding": "gb18030"}, {}]


def test_one_line_of_another_encoding_stays_unreadable():
    lines = ['{"text": "春眠不觉晓，处处闻啼鸟。"}'.encode()] * 9
    found = read(b"\n".join([*lines, '{"text": "夜来风雨声"}'.encode("gb18030"), *lines]))

    assert texts(found) == ["春眠不觉晓，处处闻啼鸟。"] * 18
    assert [place for place, _ in marks(found)] == ["in:10"]


@pytest.mark.parametrize("kind", ["text", None])
def test_packed_text_cut_off_is_unreadable_as_a_whole(kind):
    content = gzip.compress(ROWS.replace(b"{", b"("), mtime=0)

    assert texts(read(content[:-100], kind, ".gz")) == []
    assert len(marks(read(content[:-100], kind, ".gz"))) == 1


def test_utf16_that_ends_inside_a_character():
    found = read('{"text": "a"}\n{"text": "b"}\n'.encode("utf-16") + b"x")

    assert texts(found) == ["a", "b"]
    assert marks(found) == [("in:3", "not UTF-16: truncated data")]


def test_a_line_over_the_limit_is_marked(monkeypatch):
    monkeypatch.setattr(streams, "MAX_LINE_BYTES", 100)
    long = b'{"text": "' + b"x" * 1000 + b'"}'

    found = read(b'{"text": "a"}\n' + long + b'\n{"text": "b"}\n' + long)

    assert texts(found) == ["a", "b"]
    assert [place for place, _ in marks(found)] == ["in:2", "in:4"]
    assert "a line of more than" in marks(found)[0][1]


def test_a_text_over_the_limit_is_marked(monkeypatch):
    monkeypatch.setattr(streams, "MAX_LINE_BYTES", 100)

    [(place, reason)] = marks(read(b"x" * 101, "text"))

    assert place == "in"
    assert "split it" in reason


def test_lone_surrogates_and_other_oddities_can_be_written():
    line = b'{"text": "a\\ud800b \\ud83d\\ude00", "\\udc00": [NaN, "\\udfff", {"x": Infinity}]}'

    [document] = read(line)

    assert document.text == "a\ufffdb 😀"
    assert document.meta == {"\ufffd": [None, "\ufffd", {"x": None}]}
    assert from_line(to_line(document), "x") == document


@pytest.mark.parametrize("kind", ["jsonl", "json"])
@pytest.mark.parametrize(
    ("digits", "expected"),
    [
        ("9" * 18, int("9" * 18)),
        (str(2**64 - 1), 2**64 - 1),
        (str(2**64), float(2**64)),
        (str(-(2**63)), -(2**63)),
        (str(-(2**63) - 1), -float(2**63)),
        ("1" + "0" * 400, None),
        ("-1" + "0" * 5000, None),
    ],
)
def test_whole_numbers_are_read_as_they_will_be_read_again(kind, digits, expected):
    # NaN makes sure that the slow way is gone as well.
    for other in ("1", "NaN"):
        [document] = read(f'{{"text": "a", "n": [{digits}], "x": {other}}}'.encode(), kind)

        assert document.meta["n"] == [expected]
        assert type(document.meta["n"][0]) is type(expected)
        assert from_line(to_line(document), "x") == document


def test_json_bytes_never_fails():
    assert json_bytes(["a\ud800", 2**70]) == b'["a?", 1180591620717411303424]\n'


@given(
    st.builds(
        Document,
        *[st.text(st.characters(exclude_categories=["Cs"]))] * 4,
        st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.integers(0, 9)),
    )
)
@settings(max_examples=50, deadline=None)
def test_line_holds_the_whole_document(document):
    line = to_line(document, rule="x")

    assert line.count(b"\n") == 1
    assert from_line(line, "x") == document


@pytest.mark.parametrize("line", [b"{", b"[]", b'{"id": "a"}'])
def test_a_line_that_is_no_document_is_damage(line):
    with pytest.raises(DataError, match="corpus:3: not a document: expected an object with id"):
        from_line(line, "corpus:3")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.txt", ("text", "")),
        ("春晓.MD", ("text", "")),
        ("a.b.jsonl.gz", ("jsonl", ".gz")),
        ("a.txt.zst", ("text", ".zst")),
        ("a.pdf", None),
        ("a.jsonl.xz", ("jsonl", ".xz")),
        ("a.rst", ("text", "")),
        ("CC-MAIN-1.warc.wet.gz", ("warc", ".gz")),
        ("a.htm.xz", ("html", ".xz")),
        ("a.parquet", ("parquet", "")),
        ("a.parquet.gz", None),
        ("txt", None),
        ("a.gz", None),
    ],
)
def test_format_is_told_by_the_name(name, expected):
    assert format_of(name) == expected
