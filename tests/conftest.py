"""What tests share: the command line in this process, and one tiny finished run."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

# Tiny models gain nothing from a second thread, and on a busy machine two threads that wait
# for one another take a hundred times as long. Read when torch is first imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# No test asks the real Hub: a run's name that is not there may be an id of the Hub.
os.environ["HF_HUB_OFFLINE"] = "1"

TINY_RECIPE = """\
name: tiny
seed: 3
clean:
  inputs: [docs.jsonl]
tokenize:
  vocab_size: 300
  validation_share: 0.2
model:
  num_layers: 1
  width: 16
  num_heads: 2
  num_key_value_heads: 1
  head_width: 8
  mlp_width: 32
  context_tokens: 32
train:
  steps: 6
  tokens_per_step: 128
  num_validations: 2
  num_samples: 2
  sample_tokens: 4
  checkpoint_every: 0s
  prompts: ["The world is", "世界"]
eval:
  bootstrap_samples: 20
generate:
  prompts: ["The world is"]
  max_tokens: 8
"""

WORDS = (
    "the",
    "a",
    "small",
    "river",
    "world",
    "stone",
    "carries",
    "light",
    "over",
    "every",
    "bird",
)
HAN = "世界人们河山日月光年水火木石风云"


def made_documents(num_documents: int = 60, seed: int = 0) -> list[str]:
    """English and Chinese documents, made by seed, no two alike."""
    draw = random.Random(seed)
    texts = []
    for index in range(num_documents):
        if index % 3 == 2:
            sentences = ["".join(draw.choices(HAN, k=12)) + "。" for _ in range(8)]
            texts.append("".join(sentences))
        else:
            sentences = [" ".join(draw.choices(WORDS, k=9)).capitalize() + "." for _ in range(8)]
            texts.append(" ".join(sentences))
    return texts


def write_jsonl(path: Path, texts: list[str]) -> Path:
    """A JSON Lines file with a record a text."""
    lines = [json.dumps({"text": text}, ensure_ascii=False) for text in texts]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_tiny_recipe(folder: Path) -> Path:
    """The tiny recipe and its documents."""
    write_jsonl(folder / "docs.jsonl", made_documents())
    recipe = folder / "tiny.yaml"
    recipe.write_text(TINY_RECIPE, encoding="utf-8")
    return recipe


@dataclass(frozen=True)
class Result:
    """How a command ended and what it said."""

    exit_code: int
    stdout: str
    stderr: str


@pytest.fixture
def llmctl(capfd, monkeypatch):
    """Run a command line in this process; the exit code is what `main` would end with."""
    from llmctl.cli import main

    def run(*arguments: str | Path, stdin: str | None = None) -> Result:
        monkeypatch.setattr(sys, "argv", ["llmctl", *map(str, arguments)])
        if stdin is not None:
            import io

            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        capfd.readouterr()
        former = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGPIPE)}
        try:
            with pytest.raises(SystemExit) as ended:
                main()
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)
        captured = capfd.readouterr()
        return Result(int(ended.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture
def broken_pipe_ends():
    """A broken pipe would end this process, as it does a command, were it not seen to."""
    former = signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGPIPE, former)


@pytest.fixture(scope="session")
def finished_folder(tmp_path_factory):
    """A folder with the tiny recipe, its documents and its finished run; do not change it."""
    from llmctl.core.pipeline import Run, Settings
    from llmctl.core.recipe import load_recipe

    folder = tmp_path_factory.mktemp("finished")
    recipe = write_tiny_recipe(folder)
    settings = Settings(device="cpu", run_directory=folder / "runs" / "tiny")
    Run(load_recipe(recipe), settings).bring_up_to_date("eval")
    return folder


@pytest.fixture
def tiny(finished_folder, tmp_path, monkeypatch):
    """A copy of the finished folder, to be changed at will; the working directory is in it."""
    folder = tmp_path / "tiny 名字"
    shutil.copytree(finished_folder, folder)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("LLMCTL_RUNS", raising=False)
    return folder


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    """A folder with the tiny recipe and its documents, nothing run yet."""
    write_tiny_recipe(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LLMCTL_RUNS", raising=False)
    return tmp_path


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """The preloaded process that runs command lines in children of their own."""
    from preloaded_server import PreloadedServer

    server = PreloadedServer(tmp_path_factory.mktemp("commands"))
    yield server
    server.close()
