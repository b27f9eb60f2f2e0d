"""`llmctl inspect --document` as a command: results, streams, exit codes."""

from __future__ import annotations

import json

import pytest
from made_corpus import MadeCorpus

from llmctl.core.artifacts.documents import Document
from llmctl.core.clean_plan import CleanPlan
from llmctl.core.manifest import Identity, write_manifest


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("LLMCTL_RUNS", str(tmp_path))
    directory = tmp_path / "mine" / "corpus"
    directory.mkdir(parents=True)
    with MadeCorpus(directory) as writer:
        writer.keep(Document('说"你好":1', "a", "zh", "天地玄黄" * 9))
        writer.drop(Document("a:2", "a", "en", "short"), "min_characters", 5, 20)
    write_manifest(directory, Identity("corpus", CleanPlan().model_dump(mode="json")), {})
    return directory


def test_a_document_by_run_or_directory(run, llmctl):
    result = llmctl("inspect", "--document", "a:2", "mine")

    assert result.exit_code == 0
    assert "dropped by    min_characters: 5, threshold 20" in result.stdout
    assert llmctl("inspect", "--document", "a:2", str(run)).stdout == result.stdout
    kept = llmctl("inspect", "mine", "--document", '说"你好":1')
    assert "kept          documents-00000.jsonl.zst" in kept.stdout
    assert kept.stdout.split()[-4:] == ["max_word_characters", "0", "1,000", "passed"]


def test_a_document_as_json(run, llmctl):
    result = llmctl("inspect", "--document", "a:2", "mine", "--json")

    found = json.loads(result.stdout)
    assert found["corpus"] == str(run)
    [document] = found["documents"]
    assert (document["kept"], document["rule"], document["text"]) == (
        False,
        "min_characters",
        "short",
    )
    assert document["rules"][0]["passed"] is False


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        pytest.param(["--document", "a:1", "mine"], 66, "did you mean 'a:2'?", id="unknown id"),
        pytest.param(["--document", "a:2", "yours"], 66, "no corpus here", id="unknown run"),
        pytest.param(["--document", "a:2"], 2, "of which corpus?", id="no corpus named"),
        pytest.param(
            ["--document", "a:2", "mine", "-m", "x", "--top-k", "3", "--device", "cpu"],
            2,
            "does not go with --model, --top-k, --device",
            id="options of a model",
        ),
        pytest.param(
            ["--document", "a:2", "mine", "--num-neighbours", "3"], 2, "--num-neighbours", id="too"
        ),
    ],
)
def test_refusals(run, llmctl, arguments, code, message):
    result = llmctl("inspect", *arguments)

    assert result.exit_code == code
    assert message in result.stderr
    assert result.stdout == ""
