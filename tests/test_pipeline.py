"""The five verbs through the command line: what runs, what is up to date, what is refused."""

from __future__ import annotations

import json
import shutil

import pytest

from llmctl.core.manifest import read_manifest


def states(llmctl, *arguments):
    result = llmctl("status", "tiny.yaml", "--json", *arguments)
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    return {stage: found[stage]["status"] for stage in ("clean", "tokenize", "train", "eval")}


def test_five_verbs_in_turn(fresh, llmctl):
    for verb, artifact in [
        ("clean", "corpus"),
        ("tokenize", "shards"),
        ("train", "model"),
        ("eval", "report"),
    ]:
        result = llmctl(verb, "tiny.yaml")

        assert result.exit_code == 0, result.stderr
        assert result.stdout == f"runs/tiny/{artifact}\n"
    result = llmctl("generate", "The world is", "-m", "tiny", "--max-tokens", "5", "--seed", "1")
    assert result.exit_code == 0
    assert result.stdout.endswith("\n")


def test_train_alone_does_what_comes_before(fresh, llmctl):
    result = llmctl("train", "tiny.yaml", "--json")

    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["ran"] == ["clean", "tokenize", "train"]


def test_run_ends_with_a_card_of_ten_lines(tiny, llmctl):
    result = llmctl("run", "tiny.yaml")

    assert result.exit_code == 0, result.stderr
    assert len(result.stdout.splitlines()) == 10
    assert "bits per byte" in result.stdout
    assert "from transformers import pipeline" in result.stdout


def test_second_time_is_complete(tiny, llmctl):
    before = read_manifest(tiny / "runs/tiny/model")

    result = llmctl("train", "tiny.yaml")

    assert result.exit_code == 0
    assert "complete" in result.stderr
    assert read_manifest(tiny / "runs/tiny/model") == before


def test_changed_vocabulary_makes_tokenize_and_train_stale(tiny, llmctl):
    change = ("--set", "tokenize.vocab_size=290")
    first_key = read_manifest(tiny / "runs/tiny/model").key

    assert states(llmctl, *change) == {
        "clean": "up to date",
        "tokenize": "stale",
        "train": "stale",
        "eval": "stale",
    }
    result = llmctl("status", "tiny.yaml", *change)
    assert "tokenize.vocab_size: 300 → 290" in result.stdout
    assert "shards changed" in result.stdout

    result = llmctl("train", "tiny.yaml", *change, "--json")
    assert json.loads(result.stdout)["ran"] == ["tokenize", "train"]
    aside = tiny / f"runs/tiny/model-{first_key[:8]}"
    assert read_manifest(aside).key == first_key

    assert states(llmctl)["train"] == "aside"
    result = llmctl("train", "tiny.yaml", "--json")
    assert json.loads(result.stdout)["ran"] == []
    assert read_manifest(tiny / "runs/tiny/model").key == first_key


def test_changed_input_makes_everything_stale(tiny, llmctl):
    with (tiny / "docs.jsonl").open("a", encoding="utf-8") as handle:
        handle.write(json.dumps({"text": "再多一篇文章，说的是山和河。" * 5}) + "\n")

    assert set(states(llmctl).values()) == {"stale"}
    assert "input docs.jsonl changed" in llmctl("status", "tiny.yaml").stdout


def test_corpus_stands_when_its_input_is_gone(tiny, llmctl):
    (tiny / "docs.jsonl").unlink()

    assert set(states(llmctl).values()) == {"up to date"}


def test_touching_an_input_changes_nothing(tiny, llmctl):
    (tiny / "docs.jsonl").touch()

    assert set(states(llmctl).values()) == {"up to date"}


def test_only_refuses_a_stale_input(tiny, llmctl):
    result = llmctl("train", "tiny.yaml", "--only", "--set", "tokenize.vocab_size=290")

    assert result.exit_code == 66
    assert "shards: stale" in result.stderr
    assert "--only" in result.stderr


def test_status_without_a_recipe_lists_all_runs(tiny, llmctl):
    result = llmctl("status")

    assert result.exit_code == 0
    assert "tiny" in result.stdout
    assert "corpus shards model report" in result.stdout


def test_unfinished_training_of_another_recipe_is_refused(tiny, llmctl):
    shutil.rmtree(tiny / "runs/tiny/model")
    stopped = llmctl("train", "tiny.yaml", "--max-seconds", "0.000001")
    assert stopped.exit_code == 75

    long = ("--set", "train.steps=100000", "--set", "train.num_samples=0")
    stopped = llmctl("train", "tiny.yaml", *long, "--max-seconds", "1.5")
    assert stopped.exit_code == 75, stopped.stderr
    assert states(llmctl, *long)["train"] == "unfinished"

    refused = llmctl("train", "tiny.yaml")
    assert refused.exit_code == 78
    assert "train.steps: 100000 → 6" in refused.stderr
    assert "--restart" in refused.stderr

    assert llmctl("train", "tiny.yaml", "--restart").exit_code == 0


@pytest.mark.parametrize(
    ("stage", "name", "change"),
    [
        pytest.param(
            "corpus", "documents-00000.jsonl.zst", "tokenize.vocab_size=290", id="documents"
        ),
        pytest.param("shards", "train-00000.bin", "train.steps=7", id="a shard"),
        pytest.param("model", "model.safetensors", "eval.bootstrap_samples=9", id="the weights"),
    ],
)
def test_one_flipped_bit_is_named(tiny, llmctl, stage, name, change):
    path = tiny / "runs/tiny" / stage / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)

    for command in (("eval", "tiny.yaml", "--set", change), ("verify", "runs/tiny")):
        result = llmctl(*command)

        assert result.exit_code == 65
        assert f"{stage}/{name}: damaged" in result.stderr
        assert "Traceback" not in result.stderr


def test_missing_file_is_named(tiny, llmctl):
    (tiny / "runs/tiny/shards/train-00000.bin").unlink()

    result = llmctl("train", "tiny.yaml", "--set", "train.steps=7")

    assert result.exit_code == 66
    assert "shards/train-00000.bin: missing" in result.stderr
