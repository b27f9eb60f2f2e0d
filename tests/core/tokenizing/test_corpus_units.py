"""Corpora in units: every document once, in order, wherever the cuts fall."""

import made_corpus
import pytest

from llmctl.core.artifacts.documents import Document
from llmctl.core.errors import DataError, MissingInputError
from llmctl.core.tokenizing import corpus_units
from llmctl.core.tokenizing.corpus_units import CorpusUnits

TEXTS = ["世界\n", "a" * 70, "", "日月" * 30, "z\u2028\r"]


def corpus(folder, texts=TEXTS):
    documents = [Document(f"{number}", "文.txt", "zh", text) for number, text in enumerate(texts)]
    return made_corpus.write_corpus(folder, documents)


@pytest.mark.parametrize("unit_bytes", [1, 100, 200, 10**6])
def test_units_hold_every_document_once_in_order(tmp_path, monkeypatch, unit_bytes):
    monkeypatch.setattr(corpus_units, "MAX_UNIT_BYTES", unit_bytes)
    directories = [corpus(tmp_path / "一"), corpus(tmp_path / "二", ["b"])]

    jobs = list(CorpusUnits(directories, 0.1).jobs())

    assert [document.text for job in jobs for document in job.documents()] == [*TEXTS, "b"]
    assert [job.name for job in jobs] == sorted({job.name for job in jobs})
    assert {job.corpus for job in jobs} == {0, 1}


def test_a_document_alone_is_two(tmp_path):
    units = CorpusUnits([corpus(tmp_path / "c", ["一二三四五\n六七八九\n十"])], 0.2)

    [job] = units.jobs()

    assert units.is_one_document
    assert [document.text for document in job.documents()] == ["一二三四五\n", "六七八九\n十"]


@pytest.mark.parametrize(
    ("texts", "message"),
    [([], "the corpus holds no documents"), (["a"], "one document of 1 characters, too short")],
)
def test_refuses_too_little(tmp_path, texts, message):
    with pytest.raises(DataError, match=message):
        CorpusUnits([corpus(tmp_path / "c", texts)], 0.1)


def test_refuses_what_is_no_corpus(tmp_path):
    with pytest.raises(MissingInputError, match="no corpus here"):
        CorpusUnits([tmp_path], 0.1)


def test_names_the_line_that_is_no_document(tmp_path):
    directory = corpus(tmp_path / "c")
    path = directory / "documents-00000.jsonl.zst"
    made_corpus_lines = path.read_bytes()
    [job] = CorpusUnits([directory], 0.1).jobs()
    broken = corpus_units.UnitJob(job.name, 0, job.lines + b"[]\n", job.path, 11)

    with pytest.raises(DataError, match=r"documents-00000.jsonl.zst:16: not a document"):
        broken.documents()
    path.write_bytes(made_corpus_lines[:-9])
    with pytest.raises(DataError, match="damaged"):
        list(CorpusUnits([directory], 0.1).jobs())


def test_refuses_an_endless_line(tmp_path, monkeypatch):
    directory = corpus(tmp_path / "c", ["a" * 3_000_000, "b"])
    monkeypatch.setattr(corpus_units, "MAX_UNIT_BYTES", 1000)
    units = CorpusUnits([directory], 0.1)
    monkeypatch.setattr(corpus_units, "MAX_LINE_BYTES", 1_000_000)

    with pytest.raises(DataError, match="a line of more than 1000000 bytes"):
        list(units.jobs())
