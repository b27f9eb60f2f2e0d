"""`llmctl embed` as a command: vectors, streams, exit codes."""

from __future__ import annotations

import json

import numpy as np
import pytest

import llmctl as package


def test_embed_writes_a_vector_a_line(tiny, llmctl):
    (tiny / "行.txt").write_text("The world\n世界\na small bird\n", encoding="utf-8")

    result = llmctl("embed", "行.txt", "-o", "v.npy", "-m", "tiny", "--dtype", "float32")
    told = json.loads(
        llmctl("embed", "-", "-o", "w.npy", "-m", "tiny", "--json", stdin="世界\n").stdout
    )

    assert (result.exit_code, result.stdout) == (0, "v.npy\n")
    assert "3 texts" in result.stderr
    found = np.load("v.npy")
    assert (found.shape, found.dtype) == ((3, 16), np.float32)
    model = package.load("tiny", dtype="float32")
    assert model.embed(["世界"])[0] == pytest.approx(found[1], abs=1e-5)
    assert told["shape"] == [1, 16]


def test_embed_reads_records_and_blocks_of_them(tiny, llmctl, monkeypatch):
    monkeypatch.setattr("llmctl.core.stages.embed.BLOCK_TEXTS", 7)

    options = ("-m", "tiny", "--truncate", "--pooling", "last", "--layer", "0", "--no-normalize")
    result = llmctl("embed", "docs.jsonl", "-o", "v.npy", "--quiet", *options)

    assert (result.exit_code, result.stderr) == (0, "")
    found = np.load("v.npy")
    lines = (tiny / "docs.jsonl").read_text(encoding="utf-8").splitlines()
    texts = [json.loads(line)["text"] for line in lines]
    settings = {"truncate": True, "pooling": "last", "layer": 0, "normalize": False}
    assert found.shape == (len(texts), 16)
    expected = package.load("tiny").embed(texts, **settings)
    assert found.tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("content", "options", "exit_code", "message"),
    [
        pytest.param("a\n\nb\n", (), 65, "f.txt:2: empty", id="empty line"),
        pytest.param("a\n" + "a b " * 40, (), 65, "f.txt:2: ", id="too long"),
        pytest.param("", (), 65, "f.txt: no text in it", id="nothing"),
        pytest.param("a", ("--pooling", "max"), 2, "mean, last or first", id="no such pooling"),
        pytest.param("a", ("--layer", "2"), 2, "0, the embedded tokens, to 1", id="no such layer"),
        pytest.param("a", ("--text-field", "t"), 65, "f.txt:1: not JSON", id="no records"),
        pytest.param("a", ("-o", "no/v.npy"), 73, "no is no folder", id="no such folder"),
    ],
)
def test_embed_refuses_and_leaves_nothing(tiny, llmctl, content, options, exit_code, message):
    (tiny / "f.txt").write_text(content, encoding="utf-8")
    before = sorted(tiny.iterdir())

    result = llmctl("embed", "f.txt", "-o", "v.npy", "-m", "tiny", *options)

    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert message in result.stderr
    assert sorted(tiny.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        pytest.param(["-o", "v.npy"], 2, "give an input and an output", id="no input"),
        pytest.param(["docs.jsonl"], 2, "give an input and an output", id="no output"),
        pytest.param(["nothing.txt", "-o", "v.npy"], 66, "nothing.txt: cannot be read", id="none"),
    ],
)
def test_embed_needs_an_input_and_an_output(tiny, llmctl, arguments, exit_code, message):
    result = llmctl("embed", *arguments, "-m", "tiny")

    assert result.exit_code == exit_code
    assert message in result.stderr
