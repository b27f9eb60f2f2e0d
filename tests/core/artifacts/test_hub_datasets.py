"""`hub:` inputs: which files, from the cache without a network, else downloaded, else told."""

from __future__ import annotations

import pytest
from fake_hub import COMMIT

from llmctl.core.artifacts.hub_datasets import choose, fetch_dataset
from llmctl.core.artifacts.sources import resolve_sources
from llmctl.core.errors import MissingInputError, RecipeError
from llmctl.core.progress import Progress

FILES = {
    ".gitattributes": b"x",
    "README.md": b"# card",
    "LICENSE.txt": b"x",
    "data/train-0.jsonl": b'{"text": "a"}\n',
    "data/train-1.jsonl.gz": b"x",
    "data/test.parquet": b"PAR1",
    "notes/a.txt": b"text",
    "load.py": b"raise SystemExit",
    "images.zip": b"x",
}
RECORDS = ["data/test.parquet", "data/train-0.jsonl", "data/train-1.jsonl.gz"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("", RECORDS),
        ("data/train-*", RECORDS[1:]),
        ("data", RECORDS),
        ("*.jsonl", RECORDS[1:2]),
        ("notes/a.txt", ["notes/a.txt"]),
        ("README.md", ["README.md"]),
    ],
)
def test_which_files(pattern, expected):
    chosen = choose("hub:a/b", list(FILES), pattern)

    assert list(chosen.paths) == expected
    assert "load.py" in chosen.left_out or pattern
    assert "README.md" not in chosen.left_out


def test_texts_where_there_are_no_records():
    assert list(choose("x", ["README.md", "b.txt", "a/c.md"], "").paths) == ["a/c.md", "b.txt"]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [("*.zip", r"there \(1 \.zip\); known are \.txt"), ("no", r"there \(nothing at all\)")],
)
def test_no_file_of_a_known_kind(pattern, message):
    with pytest.raises(MissingInputError, match=f"hub:a/b: no file of a known kind {message}"):
        choose("hub:a/b", list(FILES), pattern)


def test_downloads_what_is_wanted_and_then_needs_no_network(fake_hub, monkeypatch, tmp_path):
    fake_hub.repositories["datasets/a/b"] = FILES

    first, second = resolve_sources(["hub:a/b:data/train-*"], tmp_path, progress=Progress())

    assert (first.name, second.name) == (
        "hub:a/b:data/train-0.jsonl",
        "hub:a/b:data/train-1.jsonl.gz",
    )
    with first.open() as reader:
        assert [document.text for document in reader] == ["a"]
    assert fake_hub.fetched == ["train-0.jsonl", "train-1.jsonl.gz"]
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert resolve_sources(["hub:a/b:data/train-*"], tmp_path, progress=Progress()) == [
        first,
        second,
    ]
    with pytest.raises(MissingInputError, match="HF_HUB_OFFLINE is set; download it where"):
        fetch_dataset("hub:a/b", Progress())
    monkeypatch.delenv("HF_HUB_OFFLINE")
    assert list(fetch_dataset("hub:a/b", Progress()).paths) == RECORDS
    assert fake_hub.fetched == ["train-0.jsonl", "train-1.jsonl.gz", "test.parquet"]


def test_files_of_unknown_kinds_are_named(fake_hub, tmp_path):
    fake_hub.repositories["datasets/a/b"] = FILES

    first, *_ = resolve_sources(["hub:a/b"], tmp_path, progress=Progress())

    assert first.left_out == ("hub:a/b:images.zip", "hub:a/b:load.py", "hub:a/b:notes/a.txt")


def test_a_revision(fake_hub):
    fake_hub.repositories["datasets/a/b"] = {"a.txt": b"x"}

    found = fetch_dataset("hub:a/b@v1", Progress())

    assert found.paths["a.txt"].read_bytes() == b"x"
    with pytest.raises(MissingInputError, match="has no revision v2 of it"):
        fetch_dataset("hub:a/b@v2", Progress())


def test_what_another_program_downloaded_is_taken(hub_cache, fake_hub, monkeypatch):
    snapshot = hub_cache / "datasets--a--b" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "a.txt").write_bytes(b"x")
    ref = hub_cache / "datasets--a--b" / "refs" / "main"
    ref.parent.mkdir()
    ref.write_text(COMMIT)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    assert fetch_dataset("hub:a/b", Progress()).paths == {"a.txt": snapshot / "a.txt"}
    with pytest.raises(MissingInputError, match="HF_HUB_OFFLINE"):
        fetch_dataset("hub:a/b:b.txt", Progress())


def test_progress_counts_every_byte(fake_hub):
    fake_hub.repositories["datasets/a/b"] = {"a.txt": b"x" * 1000, "b.txt": b"y" * 500}
    told = []

    class Told(Progress):
        def begin(self, activity, total=None, unit=""):
            told.append((activity, total, unit))

        def advance(self, amount=1, **figures):
            told.append(amount)

    fetch_dataset("hub:a/b", Told())

    assert told[0] == ("download hub:a/b", 1500 / 1e6, "MB")
    assert sum(told[1:]) == pytest.approx(1500 / 1e6)


@pytest.mark.parametrize(
    ("hub_id", "refusal", "message"),
    [
        ("a/none", None, "has no public dataset of that name"),
        ("a/gated", (403, "GatedRepo"), "only to those who were granted access"),
    ],
)
def test_what_is_not_to_be_had_names_the_manual_way(fake_hub, hub_id, refusal, message):
    if refusal:
        fake_hub.refusals[f"datasets/{hub_id}"] = refusal

    with pytest.raises(MissingInputError, match=message) as caught:
        fetch_dataset(f"hub:{hub_id}", Progress())

    manual = f"`hf download {hub_id} --repo-type dataset --local-dir FOLDER`, and name that folder"
    assert manual in str(caught.value)


def test_a_file_outside_of_the_set_is_refused(fake_hub):
    fake_hub.repositories["datasets/a/b"] = {"../../evil.txt": b"x"}

    with pytest.raises(MissingInputError, match="it names a file outside of itself"):
        fetch_dataset("hub:a/b", Progress())


@pytest.mark.parametrize("name", ["hub:", "hub:a b", "hub:a/b/c", "hub:../x"])
def test_no_name_of_a_data_set(name):
    with pytest.raises(RecipeError, match="no data set of the Hub; expected hub:owner/name"):
        fetch_dataset(name, Progress())


def test_an_answer_that_is_not_the_hubs(fake_hub):
    fake_hub.repositories["datasets/a/b"] = {"a.txt": b"x"}
    fake_hub.commit = "main"

    with pytest.raises(MissingInputError, match="does not answer as the Hub does"):
        fetch_dataset("hub:a/b", Progress())
