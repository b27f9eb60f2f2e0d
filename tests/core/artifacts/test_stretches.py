"""Stretches: each read alone, all together exactly what the whole file holds."""

from __future__ import annotations

import gc
import gzip
import io
import json
import lzma
import pickle
import sys
from types import SimpleNamespace

import pyarrow as pa
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from llmctl.core.artifacts import python_docs, streams
from llmctl.core.artifacts.documents import Document, Unreadable
from llmctl.core.artifacts.sources import Source, resolve_sources
from llmctl.core.artifacts.stretches import (
    Stretch,
    is_unpacked_first,
    read_piece,
    read_stretch,
    stretches,
    unpack_pieces,
)
from llmctl.core.cleaning.unit_planner import UnitPlanner
from llmctl.core.errors import MissingInputError

PACKED = {
    ".gz": gzip.compress,
    ".zst": zstandard.compress,
    ".xz": lzma.compress,
}
LINES = st.sampled_from(
    [
        b'{"text": "a"}',
        '{"text": "春眠不觉晓", "id": "own"}'.encode(),
        b"",
        b"  ",
        b"not JSON",
        b'{"text": "\xff"}',
        b'{"text": "' + b"x" * 50 + b'"}',
        b'\xef\xbb\xbf{"text": "a mark in the middle"}',
        b'{"messages": [{"role": "user", "content": "?"}]}\r',
    ]
)


def whole(source):
    with source.open() as reader:
        return list(reader)


def in_stretches(source, max_bytes):
    read = []
    return [
        item
        for stretch in stretches(source, 3, max_bytes)
        for item in read_stretch(source, stretch, read.append)
    ], sum(read)


def in_pieces(source, directory, max_bytes):
    directory.mkdir(exist_ok=True)
    return [
        item
        for piece, number in list(unpack_pieces(source, directory, max_bytes))
        for item in read_piece(source, piece, number)
    ]


def file_source(folder, name, content):
    (folder / name).write_bytes(content)
    [source] = resolve_sources([name], folder)
    return source


def test_json_lines_are_divided_at_line_ends(tmp_path):
    source = file_source(tmp_path, "a.jsonl", b'{"text":"a"}\n{"text":"b"}\n\n{"text":"c"}\n')

    assert stretches(source, 7, 14) == [Stretch(7, 0, 26, 1), Stretch(7, 26, None, 3)]
    assert stretches(source, 7, 13) == [
        Stretch(7, 0, 13, 1),
        Stretch(7, 13, 26, 2),
        Stretch(7, 26, None, 3),
    ]
    assert stretches(source, 7, 1000) == [Stretch(7, 0, None, 1)]


def test_looking_through_a_large_file_may_end_early(tmp_path):
    source = file_source(tmp_path, "a.jsonl", b"{}\n" * 1_000_000)

    with pytest.raises(ZeroDivisionError):
        stretches(source, 0, 1_000_000, lambda: 1 / 0)
    # Packed, it is unpacked by the main process.
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(b"{}\n" * 1_000_000))
    [packed] = resolve_sources(["b.jsonl.gz"], tmp_path)
    with pytest.raises(ZeroDivisionError):
        list(UnitPlanner([packed], tmp_path / "pieces", lambda: 1 / 0)._pieces_of("x", 0, packed))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(LINES, max_size=12), st.booleans(), st.booleans(), st.integers(1, 200))
def test_stretches_and_pieces_are_the_whole(tmp_path, lines, is_marked, ends, max_bytes):
    content = b"\xef\xbb\xbf" * is_marked + b"\n".join(lines) + b"\n" * ends
    source = file_source(tmp_path, "a.jsonl", content)

    found, num_read = in_stretches(source, max_bytes)

    assert found == whole(source)
    assert num_read == len(content)
    packed = file_source(tmp_path, "b.jsonl.gz", gzip.compress(content, mtime=0))
    assert in_pieces(packed, tmp_path / "pieces", max_bytes) == whole(packed)


def test_a_stretch_can_be_sent_to_another_process(tmp_path):
    source = file_source(tmp_path, "a.jsonl", b'{"text":"a"}\n{"text":"b"}\n')
    sent = pickle.loads(pickle.dumps([source, stretches(source, 0, 1)]))

    assert sent[1] == stretches(source, 0, 1)
    assert next(read_stretch(sent[0], sent[1][1], print)).id == "a.jsonl:2"


def test_standard_input_can_be_read_by_another_process(tmp_path, monkeypatch):
    content = b'{"text":"a"}\n{"text":"b"}\n'
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))
    [source] = resolve_sources(["-"], tmp_path)
    sent = pickle.loads(pickle.dumps(source))

    assert in_stretches(sent, 1)[0] == whole(source)
    copy = source.place
    del sent
    assert copy.exists()
    del source
    gc.collect()
    assert not copy.exists()


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "gb18030"])
def test_other_encodings_are_divided_or_not_and_read_alike(tmp_path, encoding):
    lines = [json.dumps({"text": f"春眠不觉晓 {n}"}, ensure_ascii=False) for n in range(300)]
    content = "\n".join(lines).encode(encoding)
    source = file_source(tmp_path, "a.jsonl", content)

    found, _ = in_stretches(source, 1000)

    assert [item.text for item in found] == [f"春眠不觉晓 {n}" for n in range(300)]
    assert found == whole(source)
    assert (len(stretches(source, 0, 1000)) > 1) == (encoding == "gb18030")
    packed = file_source(tmp_path, "b.jsonl.xz", lzma.compress(content))
    assert in_pieces(packed, tmp_path / "pieces", 1000) == whole(packed)


def write_parquet(path, num_rows=100, rows_in_group=9):
    table = pa.table({"text": [f"number {n}" for n in range(num_rows)], "n": range(num_rows)})
    parquet.write_table(table, path, row_group_size=rows_in_group)


@pytest.mark.parametrize("max_bytes", [1, 500, 2000, 10**9])
def test_parquet_is_divided_at_row_groups(tmp_path, max_bytes):
    write_parquet(tmp_path / "a.parquet")
    [source] = resolve_sources(["a.parquet"], tmp_path)

    found, num_read = in_stretches(source, max_bytes)

    assert found == whole(source)
    assert [item.id for item in found] == [f"a.parquet:{n}" for n in range(1, 101)]
    assert 0 < num_read <= source.size_bytes
    if max_bytes in (1, 10**9):
        assert len(stretches(source, 0, max_bytes)) == {1: 12, 10**9: 1}[max_bytes]


@pytest.mark.parametrize("compression", PACKED)
def test_packed_json_lines_are_one_stretch_or_several_pieces(tmp_path, compression):
    rows = b"".join(b'{"text": "number %d"}\n' % n for n in range(1000))
    source = file_source(tmp_path, f"a.jsonl{compression}", PACKED[compression](rows))
    (tmp_path / "pieces").mkdir()

    pieces = list(unpack_pieces(source, tmp_path / "pieces", 5000))

    assert is_unpacked_first(source)
    assert stretches(source, 0, 1) == [Stretch(0, 0, None, 1)]
    assert b"".join(piece.read_bytes() for piece, _ in pieces) == rows
    assert all(5000 <= piece.stat().st_size < 5030 for piece, _ in pieces[:-1])
    assert next(read_piece(source, *pieces[2])).id == f"{source.name}:{pieces[2][1]}"
    assert in_pieces(source, tmp_path / "again", 5000) == in_stretches(source, 1)[0]


@pytest.mark.parametrize("compression", PACKED)
@pytest.mark.parametrize("max_bytes", [50, 10**6])
def test_pieces_of_a_file_that_is_cut_off_tell_of_it(tmp_path, compression, max_bytes):
    rows = b"".join(b'{"text": "number %d"}\n' % (n * 7919 % 10007) for n in range(3000))
    packed = PACKED[compression](rows)
    source = file_source(tmp_path, f"a.jsonl{compression}", packed[: len(packed) * 2 // 3])

    found = in_pieces(source, tmp_path / "pieces", max_bytes)

    assert found == whole(source)
    assert isinstance(found[-1], Unreadable)
    assert found[-1].reason.endswith("data is cut off")


def test_an_endless_line_does_not_fill_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "MAX_LINE_BYTES", 1000)
    monkeypatch.setattr(streams, "_READ_BYTES", 100)
    rows = b'{"text": "a"}\n' + b"x" * 10**7 + b'\n{"text": "b"}\n'
    source = file_source(tmp_path, "a.jsonl.gz", gzip.compress(rows, mtime=0))

    found = in_pieces(source, tmp_path / "pieces", 10**6)

    assert found == whole(source)
    assert [type(item) for item in found] == [Document, Unreadable, Document]
    assert sum(path.stat().st_size for path in (tmp_path / "pieces").iterdir()) < 10**7 / 2


def test_other_inputs_are_one_stretch(tmp_path, monkeypatch):
    text = file_source(tmp_path, "a.txt", "春晓\n".encode() * 100)
    table = file_source(tmp_path, "a.csv", b"text,n\n" + b'"a\nb",1\n' * 100)
    [docs] = resolve_sources([python_docs.NAME], tmp_path)
    monkeypatch.setattr(python_docs, "python_documents", lambda: [Document("a", "b", "en", "c")])

    for source in (text, table, docs):
        found, _ = in_stretches(source, 1)
        assert stretches(source, 0, 1) == [Stretch(0, 0, None, 1)]
        assert found == whole(source)
        assert not is_unpacked_first(source)


def test_a_file_that_has_gone_is_missing(tmp_path):
    source = Source("a.jsonl", "file", tmp_path / "a.jsonl")

    for call in (
        lambda: stretches(source, 0, 1),
        lambda: list(read_stretch(source, Stretch(0, 0, None, 1), print)),
        lambda: list(unpack_pieces(source, tmp_path, 1)),
    ):
        with pytest.raises(MissingInputError, match=r"a\.jsonl: No such file"):
            call()


def test_a_stretch_of_nothing_is_a_mistake(tmp_path):
    with pytest.raises(ValueError, match="a stretch of 0 bytes"):
        stretches(file_source(tmp_path, "a.jsonl", b"{}"), 0, 0)
