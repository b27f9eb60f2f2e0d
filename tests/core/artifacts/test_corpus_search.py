"""Finding one document: by its id only, kept or dropped, in any file and frame."""

from __future__ import annotations

import random

import pytest
import zstandard
from made_corpus import MadeCorpus

from llmctl.core.artifacts import corpus, corpus_search
from llmctl.core.artifacts.corpus_search import closest_ids, find_corpus, find_documents
from llmctl.core.artifacts.documents import Document
from llmctl.core.errors import DataError, MissingInputError


def document(identifier, text="text", **meta):
    return Document(identifier, "a.jsonl", "en", text, meta)


@pytest.fixture
def directory(tmp_path):
    path = tmp_path / "corpus"
    path.mkdir()
    with MadeCorpus(path) as writer:
        for number in range(200):
            writer.keep(document(f"poems.jsonl:{number}", f"text {number} " * 20))
        writer.keep(document("twice", "kept"))
        writer.drop(document("twice", "dropped"), "near_duplicate", 0.9, 0.8, duplicate_of="x")
        writer.drop(document("short", "s"), "min_words", 1, 50)
    return path


@pytest.mark.parametrize("size", [7, 100, 1 << 22])
def test_finds_a_document_in_pieces_of_any_size(directory, monkeypatch, size):
    monkeypatch.setattr(corpus_search, "_BLOCK_BYTES", size)

    [found] = find_documents(directory, "poems.jsonl:17")

    assert found.is_kept
    assert found.record["text"] == "text 17 " * 20
    [dropped] = find_documents(directory, "short")
    assert (dropped.is_kept, dropped.file) == (False, "dropped-00000.jsonl.zst")
    assert dropped.record["threshold"] == 50


def test_finds_every_document_of_an_id(directory):
    kept, dropped = find_documents(directory, "twice")

    assert (kept.record["text"], dropped.record["text"]) == ("kept", "dropped")
    assert dropped.record["duplicate_of"] == "x"


def test_lines_that_reach_over_several_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(corpus_search, "_BLOCK_BYTES", 50_000)
    draw = random.Random(1)
    texts = [draw.randbytes(draw.randrange(90_000)).hex() for _ in range(12)]
    with MadeCorpus(tmp_path) as writer:
        for number, text in enumerate(texts):
            writer.keep(document(f"id{number}", text))

    for number, text in enumerate(texts):
        [found] = find_documents(tmp_path, f"id{number}")
        assert found.record["text"] == text


@pytest.mark.parametrize(
    "identifier", ['say "hi"', "诗:1", "a\\b", "tab\t\n", "🙂", "", "\udcff", "a}\x00"]
)
def test_odd_ids(tmp_path, identifier):
    with MadeCorpus(tmp_path) as writer:
        writer.keep(document("other", '{"id":"say"', inner={"id": identifier, "source": "x"}))
        writer.keep(document(identifier, "this"))

    [found] = find_documents(tmp_path, identifier)

    assert found.record["text"] == "this"


def test_an_id_inside_another_document_is_none(tmp_path):
    with MadeCorpus(tmp_path) as writer:
        writer.keep(document("outer", 'a\n{"id":"inner","source":"x"}', m={"id": "inner"}))
        writer.keep(Document("2", "s", "en", "t", {"x": {"id": "inner", "source": "y"}}))

    with pytest.raises(MissingInputError, match="no document 'inner'"):
        find_documents(tmp_path, "inner")


def test_looks_into_every_file_and_frame(tmp_path, monkeypatch):
    monkeypatch.setattr(corpus, "MAX_FILE_BYTES", 300)
    with MadeCorpus(tmp_path) as writer:
        for number in range(30):
            writer.keep(document(f"id{number}"))
    last = sorted(tmp_path.glob("documents-*"))[-1]
    line = b'{"id":"more","source":"s","language":"en","text":"t","meta":{}}\n'
    last.write_bytes(last.read_bytes() + zstandard.ZstdCompressor().compress(line))

    assert find_documents(tmp_path, "id0")[0].file == "documents-00000.jsonl.zst"
    assert find_documents(tmp_path, "id29")
    assert find_documents(tmp_path, "more")[0].file == last.name


def test_an_unknown_id_names_its_neighbours(directory):
    with pytest.raises(MissingInputError, match=r"did you mean 'poems\.jsonl:1\d*'") as caught:
        find_documents(directory, "poem.jsonl:1")

    assert caught.value.exit_code == 66
    assert "shor" not in closest_ids(directory, "shor")
    assert closest_ids(directory, "shor") == ["short"]
    assert closest_ids(directory, "wic") == ["twice"]
    assert closest_ids(directory, "ort") == ["short"]
    assert closest_ids(directory, "s.jsonl")[0].startswith("poems.jsonl:")
    assert closest_ids(directory, "e") != []
    assert closest_ids(directory, "qqq") == []
    assert len(closest_ids(directory, "poems.jsonl:")) == corpus_search.NUM_CLOSEST
    with pytest.raises(MissingInputError, match=r"neither kept nor dropped$"):
        find_documents(directory, "qqq")


def test_damage_is_named(directory):
    path = directory / "dropped-00000.jsonl.zst"
    path.write_bytes(b"\x28\xb5\x2f\xfd" + b"x" * 50)

    with pytest.raises(DataError, match=r"dropped-00000\.jsonl\.zst: damaged"):
        find_documents(directory, "short")


def test_a_file_that_is_cut_off_is_damaged(directory):
    path = directory / "documents-00000.jsonl.zst"
    path.write_bytes(path.read_bytes()[:-9])

    with pytest.raises(DataError, match=r"documents-00000\.jsonl\.zst: damaged"):
        find_documents(directory, "poems.jsonl:199")


def test_a_line_that_is_no_json_is_damage(tmp_path):
    line = b'{"id":"x","source":"s", oh\n'
    path = tmp_path / "documents-00000.jsonl.zst"
    path.write_bytes(zstandard.ZstdCompressor().compress(line))

    with pytest.raises(DataError, match="a line is not JSON"):
        find_documents(tmp_path, "x")


def test_a_corpus_by_directory_or_run(directory, tmp_path, monkeypatch):
    run = tmp_path / "runs" / "mine"
    run.mkdir(parents=True)
    directory.rename(run / "corpus")

    for reference in (str(run / "corpus"), str(run), "mine"):
        assert find_corpus(reference, tmp_path / "runs") == run / "corpus"
    with pytest.raises(MissingInputError, match="yours: no corpus here; looked for"):
        find_corpus("yours", tmp_path / "runs")
