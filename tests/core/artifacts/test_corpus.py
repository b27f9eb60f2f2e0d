"""The corpus on disk: what is written is read, over several files, in the same bytes."""

import json

import pytest
from made_corpus import write_corpus

from llmctl.core.artifacts import corpus
from llmctl.core.artifacts.corpus import read_corpus
from llmctl.core.artifacts.corpus_report import CorpusReport
from llmctl.core.artifacts.documents import Document, Unreadable
from llmctl.core.artifacts.streams import read_lines
from llmctl.core.errors import DataError, MissingInputError


def document(number, text="文 text", language="zh"):
    return Document(f"id{number}", "源.txt", language, f"{text} {number}", {"n": number})


def test_reads_what_was_written(tmp_path):
    documents = [document(number) for number in range(10)]

    assert list(read_corpus(write_corpus(tmp_path / "c", documents))) == documents


def test_a_new_file_after_so_much_text(tmp_path, monkeypatch):
    monkeypatch.setattr(corpus, "MAX_FILE_BYTES", 200)
    documents = [document(number) for number in range(10)]

    directory = write_corpus(tmp_path / "c", documents)

    assert len(list(directory.glob("documents-*"))) > 2
    assert list(read_corpus(directory)) == documents


def test_same_documents_give_the_same_bytes(tmp_path):
    documents = [document(number) for number in range(100)]
    name = "documents-00000.jsonl.zst"

    first, second = (write_corpus(tmp_path / folder, documents) / name for folder in "ab")

    assert first.read_bytes() == second.read_bytes()


def test_dropped_documents_keep_their_reason(tmp_path):
    verdict = {"rule": "min_characters", "value": 3, "threshold": 20, "more": "x"}
    write_corpus(tmp_path, [], [(document(1), verdict)])

    [line] = read_lines(tmp_path / "dropped-00000.jsonl.zst")
    record = json.loads(line)
    assert (record["rule"], record["value"], record["threshold"]) == ("min_characters", 3, 20)
    assert (record["text"], record["more"]) == ("文 text 1", "x")
    assert list(read_corpus(tmp_path)) == []


def test_directory_without_a_corpus_is_missing_input(tmp_path):
    with pytest.raises(MissingInputError, match="no corpus here"):
        list(read_corpus(tmp_path))


def test_damage_is_named(tmp_path):
    path = write_corpus(tmp_path / "c", [document(1)]) / "documents-00000.jsonl.zst"
    path.write_bytes(path.read_bytes()[:-4])

    with pytest.raises(DataError, match=r"documents-00000\.jsonl\.zst: damaged"):
        list(read_corpus(tmp_path / "c"))


def test_report_counts_by_rule_language_and_source(tmp_path):
    report = CorpusReport()
    report.keep(document(1))
    for number in range(5):
        report.drop(document(number, "short", "en"), "min_characters", 5)
    report.fail("源.txt", Unreadable("源.txt:9", "not JSON"))
    report.fail("b|c.txt", Unreadable("b|c.txt", "cut off"))
    report.write(tmp_path)

    found = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert found["documents"] == 8
    assert (found["kept"], found["dropped"], found["unreadable"]) == (1, {"min_characters": 5}, 2)
    assert found["languages"]["zh"]["kept_characters"] == len("文 text 1")
    assert found["languages"]["en"]["dropped"] == {"min_characters": 5}
    assert found["sources"]["源.txt"]["documents"] == 7
    assert found["unreadable_places"][0] == {"place": "源.txt:9", "reason": "not JSON"}
    assert len(found["samples_of_dropped"]["min_characters"]) == 3
    page = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "8 documents in = 1 kept + 5 dropped + 2 unreadable." in page
    assert "| b\\|c.txt | 1 | 0 | 0 | 1 | 0 |" in page
    assert "- 源.txt:9: not JSON" in page
