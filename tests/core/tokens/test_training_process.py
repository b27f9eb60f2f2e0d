"""Training in a child: the same tokenizer, an end at once, and no child left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llmctl.core.errors import Interrupted, LlmctlError, OutputError
from llmctl.core.progress import Progress
from llmctl.core.stopping import Stop
from llmctl.core.tokens import training_process
from llmctl.core.tokens.tokenizer_training import train
from llmctl.core.tokens.training_process import TrainingRequest, train_in_child

TEXTS = ["The world is wide.\n\u2028", "世界很大，世界上的词语很多。\x00", ""]
REQUEST = TrainingRequest(300, 2, "word", "cl100k", ("<|im_start|>",))

# A parent that trains on what keeps a child busy for long, and tells the child's number.
PARENT = """
import json, random, subprocess, sys
from pathlib import Path
from llmctl.core.progress import Progress
from llmctl.core.tokens import training_process

class Telling(subprocess.Popen):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        print(self.pid, flush=True)

subprocess.Popen = Telling
draw = random.Random(1)
folder = Path(sys.argv[1])
words = ("".join(draw.choices("abcdefghijkl", k=40)) for _ in range(100_000))
(folder / "texts.jsonl").write_text("".join(json.dumps(word) + "\\n" for word in words))
training_process.train_in_child(
    [folder / "texts.jsonl"],
    training_process.TrainingRequest(60_000, 1),
    folder / "work",
    folder / "made.json",
    progress=Progress(),
)
"""


def is_gone(process_id):
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return True
    status = Path(f"/proc/{process_id}/stat")  # one that nobody has waited for is gone too
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z"


@pytest.fixture
def children(monkeypatch):
    """The processes that were started."""
    started = []

    class Remembered(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Remembered)
    return started


class AtFirstCheckWithChild(Progress):
    """Does something to the child as soon as there is one."""

    def __init__(self, children, act):
        super().__init__()
        self.children = children
        self.act = act

    def check(self):
        if self.children:
            self.act(self.children[0])
        super().check()


def written(path, texts):
    path.write_text("".join(json.dumps(text) + "\n" for text in texts), encoding="utf-8")
    return path


def train_in(folder, texts=TEXTS, request=REQUEST, progress=None):
    target = folder / "made.json"
    paths = [written(folder / f"{number}.jsonl", texts[number::2]) for number in range(2)]
    train_in_child(paths, request, folder / "work", target, progress=progress or Progress())
    return target


def test_gives_what_training_here_gives(tmp_path):
    made = train_in(tmp_path)

    assert made.read_text(encoding="utf-8") == train(TEXTS, REQUEST).to_str(pretty=True) + "\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.jsonl", "1.jsonl", "made.json"]


def test_leftovers_of_an_earlier_start_do_not_matter(tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "tokenizer.json").write_text("half of a", encoding="utf-8")

    assert train_in(tmp_path).read_text(encoding="utf-8").startswith("{")


def test_modules_of_the_working_directory_are_not_taken(tmp_path, monkeypatch):
    (tmp_path / "tokenize.py").write_text("raise RuntimeError('not this one')", encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    assert train_in(tmp_path).exists()


def test_ends_early_without_leaving_a_process(tmp_path, children):
    stop = Stop()

    def end(_child):
        stop.signal_number = signal.SIGTERM

    progress = AtFirstCheckWithChild(children, end)
    progress.stop = stop

    with pytest.raises(Interrupted):
        train_in(tmp_path, progress=progress)
    assert is_gone(children[0].pid)
    assert not (tmp_path / "made.json").exists()
    assert train_in(tmp_path).exists()


def test_child_dies_with_a_killed_parent(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT, encoding="utf-8")
    with subprocess.Popen([sys.executable, script, tmp_path], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        time.sleep(1.5)  # long enough for the child to be inside the library's one call
        assert not is_gone(child)
        parent.kill()
    deadline = time.monotonic() + 10
    while not is_gone(child) and time.monotonic() < deadline:
        time.sleep(0.02)

    assert is_gone(child)
    assert not (tmp_path / "made.json").exists()


@pytest.mark.parametrize(
    ("signal_number", "message"),
    [
        pytest.param(signal.SIGKILL, "for want of memory; lower tokenize.max_training_bytes"),
        pytest.param(signal.SIGABRT, "for want of memory; lower tokenize.max_training_bytes"),
        pytest.param(signal.SIGSEGV, "training the tokenizer ended by SIGSEGV: it said nothing"),
    ],
)
def test_killed_child_is_explained(tmp_path, children, signal_number, message):
    progress = AtFirstCheckWithChild(children, lambda child: child.send_signal(signal_number))

    with pytest.raises(LlmctlError, match=message) as failure:
        train_in(tmp_path, progress=progress)
    assert failure.value.exit_code == 1


def test_failing_child_is_quoted(tmp_path):
    with pytest.raises(LlmctlError, match="failed with exit code 1: FileNotFoundError"):
        train_in_child(
            [Delusive(tmp_path / "none.jsonl")],
            REQUEST,
            tmp_path / "work",
            tmp_path / "made.json",
            progress=Progress(),
        )


class Delusive(type(Path())):
    """A file that is gone when the child looks for it."""

    def stat(self, **_):
        return os.stat_result(range(10))


def test_file_that_the_child_cannot_make_is_named(tmp_path):
    class Blocking(Progress):
        def begin(self, *arguments, **options):
            (tmp_path / "work" / "tokenizer.json").mkdir()

    with pytest.raises(OutputError, match=r"tokenizer\.json: cannot be created") as failure:
        train_in(tmp_path, progress=Blocking())
    assert failure.value.exit_code == 73


def test_want_of_memory_is_told_in_the_words_of_the_child(tmp_path, monkeypatch):
    # Of the child, in a module that it finds before its own.
    (tmp_path / "sitecustomize.py").write_text(
        "from llmctl.core.tokens import training_memory\n"
        "training_memory.available_memory = lambda: 1_000_000\n"
    )
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])

    with pytest.raises(LlmctlError) as failure:
        train_in(tmp_path)
    assert str(failure.value).startswith("training the tokenizer would take about 25 MB")
    assert failure.value.exit_code == 1
    assert not (tmp_path / "made.json").exists()


@pytest.mark.parametrize(
    ("log", "message"),
    [
        pytest.param(b"Traceback\nMemoryError\n", "for want of memory", id="Python's"),
        pytest.param(b"\xff\n\n", "failed with exit code 1: \ufffd", id="no UTF-8"),
        pytest.param(b"", "failed with exit code 1: it said nothing", id="nothing said"),
    ],
)
def test_last_words_are_understood(log, message):
    assert message in str(training_process._failure(1, log))


def test_full_disk_keeps_its_exit_code():
    assert training_process._failure(74, b"x: No space left; free some").exit_code == 74
