"""`llmctl tokenize --text` and `--decode`, `llmctl inspect --tokens` on any tokenizer."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest
from refusals import BAD_DATA, NO_INPUT

from llmctl.core.tokens.tokenizer import Tokenizer
from llmctl.core.tokens.tokenizer_training import TrainingRequest, train

TEXT = "The world is 世界\r\n\n\ufeffa\0b\u2028c<|endoftext|>"
LIGHT = (
    "import sys, llmctl.cli\n"
    "try:\n    llmctl.cli.main()\n"
    "finally:\n    assert not {'torch', 'transformers', 'pyarrow'} & set(sys.modules)"
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a tokenizer's file and nothing else."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LLMCTL_RUNS", raising=False)
    backend = train(["世 the world "] * 9, TrainingRequest(270, 2))
    (tmp_path / "词 表").mkdir()
    backend.save(str(tmp_path / "词 表/tokenizer.json"))
    return tmp_path


def test_what_was_encoded_comes_back(folder, llmctl):
    (folder / "文本.txt").write_bytes(TEXT.encode())

    ids = llmctl("tokenize", "--text", "文本.txt", "-m", "词 表/tokenizer.json")
    same = llmctl("tokenize", "--text", "-", "-m", "词 表", stdin=TEXT)
    texts = llmctl("tokenize", "--decode", "-", "-m", "词 表", stdin=ids.stdout)
    raw = llmctl("tokenize", "--decode", "-", "--raw", "-m", "词 表", stdin=ids.stdout)

    assert (ids.exit_code, ids.stderr) == (0, "")
    assert same == ids
    lines = TEXT.split("\n")
    assert [json.loads(row)["text"] for row in texts.stdout.split("\n")[:-1]] == lines
    assert raw.stdout == "".join(lines)


def test_special_tokens_and_pieces(folder, llmctl):
    options = ("-m", "词 表", "--special", "--with-pieces")

    result = llmctl("tokenize", "--text", "-", *options, stdin="世<|endoftext|>\n")

    row = json.loads(result.stdout)
    assert row["ids"][-1] == 0
    assert row["pieces"] == ["世", "<|endoftext|>"]


def test_nothing_in_nothing_out(folder, llmctl):
    for way in ("--text", "--decode"):
        result = llmctl("tokenize", way, "-", "-m", "词 表", stdin="")

        assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")


def test_a_tokenizer_is_named_in_many_ways(tiny, llmctl):
    pair = tiny / "pair"
    pair.mkdir()
    state = json.loads((tiny / "runs/tiny/shards/tokenizer.json").read_text())["model"]
    (pair / "vocab.json").write_text(json.dumps(state["vocab"]))
    merges = [" ".join(merge) for merge in state["merges"]]
    (pair / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]))

    def encoded(*options):
        result = llmctl("tokenize", "--text", "-", *options, stdin="The 世界\n")
        assert result.exit_code == 0, result.stderr
        return result.stdout, result.stderr

    rows, told = encoded()
    assert told == "model: runs/tiny/model\n"
    assert encoded("-q") == (rows, "")
    assert encoded("-m", "tiny") == (rows, "tokenizer: runs/tiny/model\n")
    for path in ("runs/tiny/shards", "runs/tiny/model", "runs/tiny/shards/tokenizer.json"):
        assert encoded("-m", path) == (rows, "")
    expected = Tokenizer.from_pair(pair / "vocab.json", pair / "merges.txt").encode("The 世界")
    for path in ("pair", "pair/vocab.json", "pair/merges.txt"):
        assert json.loads(encoded("-m", path)[0])["ids"] == expected
    shutil.rmtree(tiny / "runs/tiny/model")
    assert encoded("-m", "tiny") == (rows, "tokenizer: runs/tiny/shards\n")


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (["--text", "-", "--decode", "-"], 2, "--text and --decode do not go together"),
        (["--text", "-", "a.yaml"], 2, "--text and RECIPE | CORPUS do not go together"),
        (["--decode", "-", "-o", "x"], 2, "--decode and --output do not go together"),
        (["--text", "-", "--set", "a=1"], 2, "--text and --set do not go together"),
        (["--text", "-", "--run-dir", "x"], 2, "--text and --run-dir do not go together"),
        (["--text", "-", "--only"], 2, "--text and --only do not go together"),
        (["--text", "-", "--max-seconds", "0"], 2, "--text and --max-seconds do not"),
        (["--text", "-", "--wait", "3"], 2, "--text and --wait do not go together"),
        (["--text", "-", "--json"], 2, "--text and --json do not go together"),
        (["a.yaml", "--special"], 2, "--special needs --text"),
        (["--decode", "-", "--special"], 2, "--special needs --text"),
        (["--decode", "-", "--with-pieces"], 2, "--with-pieces needs --text"),
        (["--text", "-", "--raw"], 2, "--raw needs --decode"),
        (["a.yaml", "-m", "x"], 2, "--model needs --text or --decode"),
        ([], 2, "expected one recipe, got 0"),
        (["--text", "nowhere.txt", "-m", "词 表"], NO_INPUT, "nowhere.txt: No such file"),
        (["--text", "-", "-m", "nowhere"], NO_INPUT, "nowhere"),
        (["--text", "-"], NO_INPUT, "no finished model here"),
        (["--text", "-", "-m", "坏.json"], BAD_DATA, "坏.json: damaged: not UTF-8 at byte 3"),
        (["--text", "坏.json", "-m", "词 表"], BAD_DATA, "坏.json:2: invalid UTF-8"),
        (["--decode", "坏.json", "-m", "词 表"], BAD_DATA, "坏.json:1: not JSON"),
    ],
)
def test_refuses(folder, llmctl, arguments, exit_code, message):
    (folder / "坏.json").write_bytes(b"{\na\xff")

    result = llmctl("tokenize", *arguments, stdin="a\n")

    assert result.exit_code == exit_code, result.stderr
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_a_line_in_a_line_out_until_interrupted(folder):
    command = [sys.executable, "-c", LIGHT, "tokenize", "--text", "-", "-m", "词 表"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        for _ in range(3):
            process.stdin.write("世 the\n".encode())
            process.stdin.flush()
            assert len(json.loads(process.stdout.readline())["ids"]) == 2
        process.send_signal(signal.SIGINT)

        assert process.wait(20) == -signal.SIGINT


def test_a_reader_that_has_read_enough(server, folder):
    os.mkfifo(folder / "pipe")
    (folder / "text").write_text("世界\n" * 50_000, encoding="utf-8")
    command = ("tokenize", "--text", "text", "-m", "词 表")
    writer = server.start(*command, cwd=folder, stdout=str(folder / "pipe"))
    with (folder / "pipe").open("rb") as pipe:
        assert len(pipe.read(10)) == 10

    ended = writer.wait()

    assert (ended.exit_code, ended.stderr) == (-signal.SIGPIPE, "")


def test_inspect_shows_tokens_without_heavy_imports(folder):
    command = [sys.executable, "-c", LIGHT, "inspect", "the 界", "-m", "词 表", "--tokens"]

    result = subprocess.run(command, capture_output=True, text=True, check=True)

    pieces = [line.split("\t")[1] for line in result.stdout.splitlines()]
    assert pieces[-3:] == ["<0xE7>", "<0x95>", "<0x8C>"]
    assert result.stderr == (
        f"{len(pieces)} tokens, 5 characters, 7 bytes, {7 / len(pieces):.2f} bytes/token, "
        "3.00 tokens per Han character\n"
    )


def test_inspect_tells_where_tokens_are_from(folder, llmctl):
    found = json.loads(llmctl("inspect", "a界", "-m", "词 表", "--tokens", "--json").stdout)
    quiet = llmctl("inspect", "-", "-m", "词 表", "--tokens", "-q", stdin="a\r\n")

    places = [(token["bytes"], token["start"], token["end"]) for token in found["tokens"]]
    assert places == [("61", 0, 1), ("e7", 1, 2), ("95", 1, 2), ("8c", 1, 2)]
    assert found["tokens_per_han_character"] == 3
    assert found["model"] == "词 表"
    assert [line.split("\t")[1] for line in quiet.stdout.splitlines()] == ["a", "\\x0d"]
    assert quiet.stderr == ""


def test_inspect_refuses_what_is_no_text(folder):
    command = [sys.executable, "-m", "llmctl", "inspect", "-", "-m", "词 表", "--tokens"]

    result = subprocess.run(command, input=b"a\xffb", capture_output=True, check=False)

    assert result.returncode == BAD_DATA
    assert b"stdin: invalid UTF-8: invalid start byte 0xff at byte 1" in result.stderr
