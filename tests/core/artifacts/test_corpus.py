"""The corpus on disk: what is written is read, over several files, in the same bytes."""

import json

import pytest
from made_corpus import write_corpus

from llmctl.core.artifacts import corpus
from llmctl.core.artifacts.corpus import read_corpus
from llmctl.core.artifacts.documents import Document
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
