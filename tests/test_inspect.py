"""`llmctl inspect` as a command: results, streams, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

TEXT = "The world 世界"


def test_inspect_gives_a_row_a_token(tiny, llmctl):
    result = llmctl("inspect", TEXT, "-m", "tiny/../tiny")
    same = llmctl("inspect", "-", "-m", "tiny", stdin=TEXT + "\n")

    assert result.exit_code == 0
    assert result.stdout == same.stdout
    lines = result.stdout.splitlines()
    found = json.loads(llmctl("inspect", TEXT, "-m", "tiny", "--json").stdout)
    assert len(lines) == 1 + len(found["tokens"]) + 2
    assert "".join(line.split()[0] for line in lines[1:4]) == "The␣world"
    assert f"log P = {found['log_probability']:.3f} nats" in lines[-2]
    assert found["tokens"][-1]["running_sum"] == found["log_probability"]
    assert found["num_bytes"] == len(TEXT.encode())


def test_inspect_tokens_reads_no_weights(tiny, llmctl):
    (tiny / "runs/tiny/model/model.safetensors").unlink()
    code = (
        "import sys, llmctl.cli\n"
        "try:\n    llmctl.cli.main()\n"
        "finally:\n    assert 'torch' not in sys.modules"
    )

    result = llmctl("inspect", "The 世", "-m", "tiny", "--tokens")
    found = json.loads(llmctl("inspect", "The 世", "-m", "tiny", "--tokens", "--json").stdout)
    apart = subprocess.run(
        [sys.executable, "-c", code, "inspect", "The 世", "-m", "tiny", "--tokens"],
        capture_output=True,
        text=True,
        check=True,
    )

    lines = [line.split("\t") for line in result.stdout.splitlines()]
    assert "".join(piece for _, piece in lines).startswith("The␣")
    assert [int(token_id) for token_id, _ in lines] == [
        token["token_id"] for token in found["tokens"]
    ]
    assert apart.stdout == result.stdout


def test_inspect_next_names_what_cut_a_candidate(tiny, llmctl):
    options = ("--next", "4", "--top-k", "2", "--top-p", "1")

    result = llmctl("inspect", "The", "-m", "tiny", *options)
    found = json.loads(llmctl("inspect", "The", "-m", "tiny", "--json", *options).stdout)

    assert len(found["candidates"]) == len(found["tokens"]) + 1
    assert [token["cut_by"] for token in found["candidates"][0]] == [None, None, "top_k", "top_k"]
    assert result.stdout.count("top-k") == 2 * len(found["candidates"])


def test_inspect_attention_draws_a_map_and_a_page(tiny, llmctl):
    result = llmctl("inspect", TEXT, "-m", "tiny", "--attention", "0", "--html", "图.html")
    found = json.loads(llmctl("inspect", TEXT, "-m", "tiny", "--attention", "0.1", "--json").stdout)

    assert result.exit_code == 0
    assert result.stdout.startswith("layer 0, mean of 2 heads")
    assert "log P" not in result.stdout
    page = (tiny / "图.html").read_text(encoding="utf-8")
    assert page.count('<ol aria-hidden="true"') == 3  # the mean and two heads
    (head,) = found["attention"]["heads"]
    assert head["head"] == 1
    assert len(head["weights"]) == len(found["attention"]["pieces"])


def test_inspect_neighbours_needs_no_text(tiny, llmctl):
    options = ("--neighbours", "world", "--num-neighbours", "3", "-m", "tiny")

    result = llmctl("inspect", *options)
    found = json.loads(llmctl("inspect", *options, "--json").stdout)

    assert result.exit_code == 0
    assert "tokens" not in found
    assert all(len(form["neighbours"]) == 3 for form in found["neighbours"])
    assert found["neighbours"][-1]["word"] == " world"


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        pytest.param([], 2, "no text; try", id="no text"),
        pytest.param([""], 2, "no text; try", id="empty text"),
        pytest.param(["", "--neighbours", "a"], 2, "no text; try", id="empty beside a word"),
        pytest.param(["--neighbours", ""], 2, "the word is empty", id="empty word"),
        pytest.param(["a", "--html", "f"], 2, "add --attention LAYER", id="page of nothing"),
        pytest.param(["a", "--attention", "x"], 2, "expected LAYER or", id="no layer's number"),
        pytest.param(["a", "--attention", "1"], 2, "the layers 0 to 0", id="no such layer"),
        pytest.param(["a", "--attention", "0.2"], 2, "the heads 0 to 1", id="no such head"),
        pytest.param(["a b " * 40], 65, "context holds 31", id="longer than the context"),
        pytest.param(["a", "--attention", "0", "--html", "."], 73, "cannot", id="no such file"),
        pytest.param(["a", "--top-p", "0", "--next", "1"], 2, "top_p", id="setting out of range"),
    ],
)
def test_inspect_refuses(tiny, llmctl, arguments, exit_code, message):
    result = llmctl("inspect", *arguments, "-m", "tiny")

    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert message in result.stderr
    assert "Traceback" not in result.stderr
