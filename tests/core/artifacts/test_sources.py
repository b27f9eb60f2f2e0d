"""resolve_sources: what each kind of input stands for, digests, and refusals."""

import gzip
import hashlib
import io
import os
import sys
from types import SimpleNamespace

import pytest

from llmctl.core.artifacts import python_docs
from llmctl.core.artifacts.documents import Document
from llmctl.core.artifacts.sources import Source, resolve_sources
from llmctl.core.clean_plan import CleanPlan, QualityRules
from llmctl.core.errors import DataError, MissingInputError, RecipeError
from llmctl.core.manifest import DigestCache, Identity
from llmctl.core.progress import Progress
from llmctl.core.stages.clean import clean
from llmctl.core.workspace import Workspace


@pytest.fixture
def folder(tmp_path):
    base = tmp_path / "有 空格"
    (base / "data" / "子").mkdir(parents=True)
    for name in ("data/b.txt", "data/a.jsonl", "data/子/诗.md", "data/x.pdf", "data/.hidden.txt"):
        (base / name).write_text('{"text": "文"}', encoding="utf-8")
    return base


@pytest.fixture
def cache(tmp_path):
    return DigestCache(tmp_path / "digests.json")


def names(sources):
    return [source.name for source in sources]


def texts(source):
    with source.open() as reader:
        return [item.text for item in reader]


def set_stdin(monkeypatch, content):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))


def test_file_relative_to_the_recipe(folder):
    [source] = resolve_sources(["data/子/诗.md"], folder)

    assert source.name == "data/子/诗.md"
    assert texts(source) == ['{"text": "文"}']


def test_directory_is_searched_in_the_order_of_names(folder):
    sources = resolve_sources(["data"], folder)

    assert names(sources) == ["data/a.jsonl", "data/b.txt", "data/子/诗.md"]
    assert sources[0].left_out == ("data/x.pdf",)


def test_glob(folder):
    assert names(resolve_sources(["data/*"], folder)) == ["data/a.jsonl", "data/b.txt"]
    assert names(resolve_sources(["**/*.md"], folder)) == ["data/子/诗.md"]


def test_absolute_glob_and_magic_characters_in_the_base(folder, tmp_path):
    odd = tmp_path / "[ab]*"
    odd.mkdir()
    (odd / "c.txt").write_text("x", encoding="utf-8")

    assert names(resolve_sources(["*.txt"], odd)) == ["c.txt"]
    assert names(resolve_sources([f"{folder}/data/b*"], odd)) == [f"{folder}/data/b.txt"]


def test_a_file_whose_name_looks_like_a_glob(folder):
    (folder / "[1].txt").write_text("x", encoding="utf-8")

    assert names(resolve_sources(["[1].txt"], folder)) == ["[1].txt"]


def test_each_file_once_in_the_order_of_the_inputs(folder):
    (folder / "link.txt").symlink_to(folder / "data" / "b.txt")

    sources = resolve_sources(["data/b.txt", "data", "./data/b.txt", "link.txt"], folder)

    assert names(sources) == ["data/b.txt", "data/a.jsonl", "data/子/诗.md"]


def test_text_field_is_handed_on(folder):
    (folder / "t.jsonl").write_text('{"body": "b"}', encoding="utf-8")

    [source] = resolve_sources(["t.jsonl"], folder, text_field="body")

    assert texts(source) == ["b"]


def test_a_runs_own_corpus_below_the_input_is_left_alone(folder):
    inputs = resolve_sources(["data"], folder)
    plan = CleanPlan(rules=QualityRules(min_characters=0))
    clean(plan, inputs, Workspace(folder / "data" / "corpus", Identity("corpus", {})),
          progress=Progress())  # fmt: skip

    assert names(resolve_sources(["data"], folder)) == names(inputs)
    assert names(resolve_sources(["data/corpus"], folder)) == [
        "data/corpus/documents-00000.jsonl.zst"
    ]


def test_name_that_is_not_utf8_is_shown_in_hexadecimal(tmp_path):
    try:
        with open(os.fsencode(tmp_path) + b"/\xff.txt", "w", encoding="utf-8") as handle:  # noqa: PTH123
            handle.write("x")
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")

    [source] = resolve_sources(["."], tmp_path)

    assert source.name == "./\\xff.txt"
    assert texts(source) == ["x"]


def test_digest_is_that_of_the_content(folder, cache):
    [source] = resolve_sources(["data/b.txt"], folder)
    expected = hashlib.sha256((folder / "data/b.txt").read_bytes()).hexdigest()

    assert source.digest(cache) == expected
    assert source.size_bytes == (folder / "data/b.txt").stat().st_size
    with source.open() as reader:
        assert reader.digest() == expected


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_standard_input_is_read_once_and_as_often_as_asked(monkeypatch, cache, tmp_path, pack):
    content = pack('{"text": "从标准输入"}\n{"text": "二"}'.encode())
    set_stdin(monkeypatch, content)

    [source] = resolve_sources(["-"], tmp_path)

    assert source.digest(cache) == hashlib.sha256(content).hexdigest()
    assert source.size_bytes == len(content)
    assert texts(source) == texts(source) == ["从标准输入", "二"]
    with source.open() as reader:
        assert [item.id for item in reader] == ["-:1", "-:2"]


def test_built_in_documentation(cache, tmp_path, monkeypatch):
    document = Document("a", python_docs.NAME, "en", "text")
    monkeypatch.setattr(python_docs, "python_documents", lambda: [document])
    [source] = resolve_sources([python_docs.NAME], tmp_path)

    assert source.digest(cache) == python_docs.digest()
    assert source.size_bytes is None
    with source.open() as reader:
        assert list(reader) == [document]
        assert reader.digest() == python_docs.digest()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        pytest.param("no.txt", r"no\.txt: no such file or directory \(looked for ", id="file"),
        pytest.param("no/*.txt", "matches no file of a known kind .nothing at all.", id="glob"),
        pytest.param("data/*.pdf", r"matches no file of a known kind \(1 \.pdf\)", id="kind"),
        pytest.param("empty", "no file of a known kind in this directory .it is empty.", id="dir"),
    ],
)
def test_input_that_matches_nothing_is_missing(folder, name, message):
    (folder / "empty").mkdir()

    with pytest.raises(MissingInputError, match=message):
        resolve_sources([name], folder)


def test_unsupported_input_names_the_supported_ones(tmp_path):
    with pytest.raises(RecipeError, match="not supported; there are files, directories, globs, -"):
        resolve_sources(["builtin:x"], tmp_path)


def test_named_file_of_unknown_kind_is_refused(folder):
    with pytest.raises(RecipeError, match=r"x\.pdf: a file of unknown kind; known are \.txt"):
        resolve_sources(["data/x.pdf"], folder)


def test_file_that_has_gone_is_missing(folder, cache):
    [source] = resolve_sources(["data/b.txt"], folder)
    (folder / "data/b.txt").unlink()

    with pytest.raises(MissingInputError, match=r"b\.txt: No such file"):
        source.digest(cache)
    with pytest.raises(MissingInputError, match=r"b\.txt: No such file"), source.open():
        pass


def test_file_that_fails_while_it_is_read_is_damaged(folder):
    directory = Source("broken.txt", "file", folder / "data" / "b.txt")
    with directory.open() as reader:
        reader._handle = SimpleNamespace(read=lambda _: (_ for _ in ()).throw(OSError(5, "I/O")))

        with pytest.raises(DataError, match=r"broken\.txt: cannot be read: I/O"):
            list(reader)


def test_pipes_and_devices_are_refused(folder):
    os.mkfifo(folder / "pipe.txt")

    with pytest.raises(MissingInputError, match="a pipe or a device, no file; give its content"):
        resolve_sources(["pipe.txt"], folder)
