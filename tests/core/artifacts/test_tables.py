"""CSV, TSV, parquet and .json: rows and records, and that damage costs only itself."""

from __future__ import annotations

import csv
import datetime
import decimal
import io
import json

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from llmctl.core.artifacts import csv_tables, json_files, streams
from llmctl.core.artifacts.document_files import read_documents
from llmctl.core.artifacts.documents import Document, Unreadable
from llmctl.core.artifacts.parquet_tables import read_parquet_table, row_groups

CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


def read(content, kind, **options):
    content = content.encode() if isinstance(content, str) else content
    return list(read_documents(io.BytesIO(content), "in", kind, **options))


def texts(found):
    return [item.text for item in found if isinstance(item, Document)]


def marks(found):
    return [(item.place, item.reason) for item in found if isinstance(item, Unreadable)]


def test_rows_are_named_by_the_line_on_which_they_begin():
    content = 'text,n\n"一\n二, ""三""",1\n\nb,2\n'

    assert read(content, "csv") == [
        Document("in:2", "in", "und", '一\n二, "三"', {"n": "1"}),
        Document("in:5", "in", "und", "b", {"n": "2"}),
    ]


@pytest.mark.parametrize(
    "content",
    [
        "n,text,id\n1,a,x\n2,b,y\n",
        "n;text;id\r\n1;a;x\r\n2;b;y\r\n",
        "n\ttext\tid\n1\ta\tx\n2\tb\ty",
        "n|text|id\n1|a|x\n2|b|y\n",
        '\ufeff"n", text,id\n1,a,x\n"2","b","y"\n',
    ],
)
def test_delimiters_are_told_by_the_header(content):
    assert [(item.id, item.text) for item in read(content, "csv")] == [("x", "a"), ("y", "b")]


def test_the_delimiter_is_the_one_that_gives_the_column():
    assert texts(read("a,b,c;text\n1,2,3;诗\n", "csv")) == ["诗"]


def test_quotation_marks_of_a_tsv_may_be_characters():
    content = 'text\tn\n"Hi" he said\t1\nan "odd" one\t2\n5" long\t3\n'

    assert texts(read(content, "tsv")) == ['"Hi" he said', 'an "odd" one', '5" long']
    assert texts(read('text\tn\n"a\tb"\t1\n"c"\t2\n', "tsv")) == ["a\tb", "c"]
    assert texts(read('text\tn\n"a"\t1\n"b"\t2\n', "tsv")) == ["a", "b"]


@pytest.mark.parametrize("encoding", ["gb18030", "utf-16", "utf-8-sig", "utf-16-le"])
def test_tables_of_other_encodings(encoding):
    content = "text,题目\n" + "春眠不觉晓，处处闻啼鸟。,春晓\n" * 9

    found = read(content.encode(encoding), "csv")

    assert texts(found) == ["春眠不觉晓，处处闻啼鸟。"] * 9
    expected = {"题目": "春晓"} | ({"encoding": "gb18030"} if encoding == "gb18030" else {})
    assert found[0].meta == expected


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b"x,1,2", "3 fields, expected 2 as in the header"),
        (b"x", "1 fields, expected 2 as in the header"),
        (b'"x"y,1', "not CSV: ',' expected after '\"'"),
        (b"\xff,1", "invalid UTF-8: invalid start byte 0xff"),
        (b" ,1", "'text' is empty"),
    ],
)
def test_a_bad_row_costs_itself(row, reason):
    found = read("text,n\n春,1\n".encode() + row + "\n夏,2\n".encode(), "csv")

    assert texts(found) == ["春", "夏"]
    assert marks(found) == [("in:3", reason)]


def test_a_quotation_mark_that_does_not_close():
    found = read('text,n\na,1\n"b,2\nc,3\nd,4\n', "csv")

    assert texts(found) == ["a"]
    reason = "not CSV: a quotation mark that does not close; the 2 lines after it are lost with it"
    assert marks(found) == [("in:3", reason)]


def test_fields_without_measure(monkeypatch):
    monkeypatch.setattr(csv_tables, "MAX_FIELD_CHARACTERS", 50)
    found = read(f'text,n\na,1\n"{"x" * 100}",2\nb,3\n', "csv")

    assert texts(found) == ["a", "b"]
    assert marks(found)[0] == ("in:3", "not CSV: a field of more than 0 million characters")
    monkeypatch.setattr(csv_tables, "MAX_FIELD_CHARACTERS", 10_000)
    monkeypatch.setattr(streams, "MAX_LINE_BYTES", 50)
    found = read(f"text,n\na,1\n{'x' * 100},2\nb,3\n", "csv")
    assert texts(found) == ["a", "b"]
    assert marks(found) == [("in:3", "a line of more than 0 MB")]


def test_zeros_and_long_fields():
    assert texts(read(f"text,n\na\0b,1\n{'诗' * 200_000},2\n", "csv")) == ["a\0b", "诗" * 200_000]


@pytest.mark.parametrize("content", ["", "\n", "text,n\n"])
def test_a_table_without_rows(content):
    assert texts(read(content, "csv")) == []


def test_a_table_without_the_column_names_those_there_are():
    assert marks(read("a,b\n1,2\n", "csv")) == [("in", "no column 'text' (columns: a, b)")]


@given(st.lists(st.tuples(CELL.filter(str.strip), CELL), min_size=1), st.sampled_from(",;\t|"))
@settings(max_examples=60, deadline=None)
def test_what_a_writer_wrote_is_read(rows, delimiter):
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writerows([("text", "n"), *rows])

    found = read(out.getvalue(), "csv")

    assert [(item.text, item.meta["n"]) for item in found] == rows


def test_conversations_and_pairs_in_tables(tmp_path):
    assert read("question,answer\n一,二\n", "csv")[0].pair == {"question": "一", "answer": "二"}
    messages = [{"role": "user", "content": "一"}]
    [found] = rows(tmp_path, {"messages": [messages], "n": [1]})
    assert (found.messages, found.meta) == (messages, {"n": 1})


def write(tmp_path, columns, **options):
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table(columns), path, **options)
    return path


def rows(tmp_path, columns, text_field="text", **options):
    with write(tmp_path, columns, **options).open("rb") as handle:
        return list(read_parquet_table(handle, "in", text_field))


def test_rows_of_parquet(tmp_path):
    found = rows(
        tmp_path,
        {
            "text": ["诗", None, " ", "b"],
            "id": ["x", "y", "z", None],
            "at": [datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)] * 4,
            "ns": pa.array([1, 2, 3, 4], pa.timestamp("ns")),
            "cost": [decimal.Decimal("1.50")] * 4,
            "share": [0.5, float("nan"), None, 1.0],
            "image": [b"\xff\xd8", b"", b"", None],
            "tags": [["a"], [], None, ["b"]],
        },
    )

    assert found[0] == Document(
        "x",
        "in",
        "und",
        "诗",
        {
            "at": "2026-01-02T00:00:00+00:00",
            "ns": "1970-01-01T00:00:00",
            "cost": "1.50",
            "share": 0.5,
            "image": None,
            "tags": ["a"],
        },
    )
    assert marks(found) == [("in:2", "'text' is null, not a string"), ("in:3", "'text' is empty")]
    assert found[3].id == "in:4"


def test_a_column_of_a_column(tmp_path):
    [found] = rows(tmp_path, {"data": [{"body": "诗", "n": 1}]}, "data.body")

    assert (found.text, found.meta) == ("诗", {"data": {"n": 1}})


def test_text_that_is_stored_as_bytes(tmp_path):
    found = rows(tmp_path, {"text": [b"a", "诗".encode()]})
    assert texts(found) == ["a", "诗"]

    found = rows(tmp_path, {"text": [b"a", b"\xff", None]})
    assert texts(found) == ["a"]
    assert marks(found)[0] == ("in:2", "invalid UTF-8: invalid start byte 0xff")

    strings = pa.array([b"a", b"\xff"], pa.binary()).view(pa.string())
    assert texts(rows(tmp_path, {"text": strings})) == ["a"]


def test_parquet_without_the_column_names_those_there_are(tmp_path):
    assert rows(tmp_path, {"a": [1], "b": ["x"]}) == [
        Unreadable("in", "no column 'text' (columns: a, b)")
    ]


def test_damaged_row_group_costs_its_rows(tmp_path):
    columns = {"text": [f"number {n * 7919 % 1009}" for n in range(300)]}
    path = write(tmp_path, columns, row_group_size=100, write_page_checksum=True, compression=None)
    content = bytearray(path.read_bytes())
    content[content.index(b"number", len(content) // 3)] ^= 255
    path.write_bytes(content)

    with path.open("rb") as handle:
        found = list(read_parquet_table(handle, "in", "text"))

    assert len(found) == 300
    assert len(texts(found)) == 200
    place, reason = marks(found)[0]
    assert place in ("in:1", "in:101", "in:201")
    assert reason.startswith("the row group is damaged: ")


@pytest.mark.parametrize(
    "content", [b"", b"PAR1", b"no parquet at all", b"PAR1" + bytes(50) + b"PAR1"]
)
def test_what_is_no_parquet(tmp_path, content):
    path = tmp_path / "a.parquet"
    path.write_bytes(content)

    with path.open("rb") as handle:
        [(place, reason)] = marks(read_parquet_table(handle, "in", "text"))
        assert row_groups(handle) == []
    assert place == "in"
    assert reason.startswith("not parquet, or damaged: ")


def test_parquet_is_not_read_from_a_stream():
    with pytest.raises(ValueError, match="read_parquet_table"):
        read(b"PAR1", "parquet")


RECORDS = [{"text": "诗", "n": [1, {"a": 2}]}, {"text": 'b\n"c" \\ ]}', "id": "own"}, {"text": "d"}]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(json.dumps(RECORDS), id="array"),
        pytest.param(json.dumps(RECORDS, indent=2, ensure_ascii=False), id="array over lines"),
        pytest.param("\n".join(json.dumps(r, indent=1) for r in RECORDS), id="one after another"),
        pytest.param("".join(map(json.dumps, RECORDS)), id="without anything between"),
        pytest.param("\n".join(map(json.dumps, RECORDS)), id="JSON Lines"),
        pytest.param(json.dumps(RECORDS[:1]) + json.dumps(RECORDS[1:]), id="two arrays"),
        pytest.param("\ufeff" + json.dumps(RECORDS), id="a mark"),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 1 << 16])
def test_json_files(content, size, monkeypatch):
    monkeypatch.setattr(json_files, "_FIRST_CHARACTERS", size)
    monkeypatch.setattr(streams, "_READ_BYTES", size)
    if content.count("}{") == 2:
        monkeypatch.setattr("llmctl.core.artifacts.document_files.is_json_lines", lambda _: False)

    found = read(content, "json")

    assert texts(found) == [record["text"] for record in RECORDS]
    assert found[0].meta == {"n": [1, {"a": 2}]}
    assert [item.id.partition(":")[0] for item in found] == ["in", "own", "in"]


def test_a_number_may_go_on_in_the_next_piece(monkeypatch):
    monkeypatch.setattr(json_files, "_FIRST_CHARACTERS", 1)
    monkeypatch.setattr(streams, "_READ_BYTES", 1)
    monkeypatch.setattr("llmctl.core.artifacts.document_files.SAMPLE_BYTES", 1)

    found = read('12 {"text": "a"}', "json")

    assert marks(found) == [("in:1", "expected an object, found a number")]
    assert texts(found) == ["a"]


def test_records_of_a_json_file_are_numbered():
    found = read('[{"text": "a"}, 3, {"text": ""}, {"text": "b"}]', "json")

    assert [item.id for item in found if isinstance(item, Document)] == ["in:1", "in:4"]
    assert marks(found) == [
        ("in:2", "expected an object, found a number"),
        ("in:3", "'text' is empty"),
    ]


@pytest.mark.parametrize(
    ("content", "num_texts", "reason"),
    [
        ('[{"text": "a"}, oops, {"text": "b"}]', 1, "not JSON: Expecting value; the rest of"),
        ('[{"text": "a"}, {"text": "b"', 1, "not JSON: "),
        ('[{"text": "a"} {"text": "b"}]', 1, "not JSON: Expecting ',' delimiter"),
        ('[{"text": "a"}', 1, "not JSON: the array does not end"),
        ('[{"text": "a"}] x', 1, "not JSON: Extra data"),
        ("[" * 100_000, 0, "nested too deeply; the rest of the file"),
    ],
)
def test_what_comes_before_damaged_json_is_kept(content, num_texts, reason):
    found = read(content, "json")

    assert len(texts(found)) == num_texts
    [(place, said)] = marks(found)
    assert place == f"in:{num_texts + 1}"
    assert said.startswith(reason)


def test_damaged_bytes_and_odd_values_in_a_json_file():
    found = read(
        b'[{"text": "\xe8\xaf\x97\xff"}, {"text": "a\\ud800", "n": NaN}, {"text": "b"}]', "json"
    )

    assert texts(found) == ["a\ufffd", "b"]
    assert found[1].meta == {"n": None}
    assert marks(found) == [("in:1", "invalid UTF-8: byte 0xff")]


def test_a_record_over_the_limit(monkeypatch):
    monkeypatch.setattr(streams, "MAX_LINE_BYTES", 300)
    monkeypatch.setattr(streams, "_READ_BYTES", 50)
    monkeypatch.setattr(json_files, "_FIRST_CHARACTERS", 50)
    monkeypatch.setattr("llmctl.core.artifacts.document_files.SAMPLE_BYTES", 50)

    found = read('[{"text": "a"}, {"text": "' + "x" * 1000 + '"}]', "json")

    assert texts(found) == ["a"]
    assert marks(found)[0] == ("in:2", "a record of more than 0 MB")


def test_json_of_another_encoding():
    content = json.dumps([{"text": "春眠不觉晓，处处闻啼鸟。"}] * 3, ensure_ascii=False)

    found = read(content.encode("gb18030"), "json")

    assert texts(found) == ["春眠不觉晓，处处闻啼鸟。"] * 3
    assert found[0].meta == {"encoding": "gb18030"}


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b'{"text": "a"}\n{"text": "b"}', "jsonl"),
        (b'{"text": "a"}', "jsonl"),
        (b'{"text": "\xff"}\n{"text": "b"}', "jsonl"),
        (b'{\n "text": "a"\n}', "json"),
        (b' [ {"text": "a"}]', "json"),
        (b"[1, 2] is a list", "text"),
        (b"{a set}", "text"),
        (b"id,text\n1,a\n", "csv"),
        (b"id, and text\nprose", "text"),
        (b"\n<!doctype HTML>\n<p>", "html"),
        (b"<html lang=zh>", "html"),
        (b'<?xml version="1.0"?>\n<html>', "html"),
        (b"<htmlx>", "text"),
        (b"WARC/1.0\r\n", "warc"),
        (b"PAR1abc", "parquet"),
        ('{"text": "a"}\n'.encode("utf-16"), "jsonl"),
        ("题目,text\n春晓,春眠不觉晓，处处闻啼鸟。\n".encode("gb18030"), "csv"),
        (b"", "text"),
    ],
)
def test_the_kind_of_what_has_no_name(content, kind):
    from llmctl.core.artifacts.document_files import kind_of

    assert kind_of(content, "text") == kind
