"""Training a tokenizer in a process of its own, which can be ended at any moment.

The library's training is one call that cannot be interrupted. The child reads its task
from a directory and leaves its result there, or says why there is none; its standard input
is a pipe on which nothing is ever sent: when the parent dies, however suddenly, the pipe
ends, and with it the child.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import orjson

from llmctl.core import atomic
from llmctl.core.child_process import start_module
from llmctl.core.errors import LlmctlError, OutputError, StorageError
from llmctl.core.progress import Progress
from llmctl.core.tokens.tokenizer_training import TrainingRequest, train
from llmctl.core.tokens.training_memory import require_memory

__all__ = ["TrainingRequest", "train_in_child"]

REQUEST_NAME = "request.json"
RESULT_NAME = "tokenizer.json"
LOG_NAME = "log.txt"
POLL_SECONDS = 0.1
# Of the child, when it says in full why it did not train.
_REFUSED = 3


def train_in_child(
    texts: Sequence[Path],
    request: TrainingRequest,
    directory: Path,
    target: Path,
    *,
    progress: Progress,
) -> None:
    """Train a tokenizer on the texts and put its tokenizer.json at `target`.

    Args:
        texts: Files of what to learn from, in each line a text as JSON.
        request: What to learn.
        directory: Holds the child's task; made anew, and removed at the end.
        target: The finished file; on the same file system.
        progress: Asked for an early end ten times a second.

    Raises:
        Interrupted, OutOfTime: `progress` asked for the end; the child is gone.
        LlmctlError: The child failed, or there is not the memory for it.
        StorageError: The disk is full.
    """
    with atomic.storage_errors(directory):
        atomic.remove_tree(directory)
        directory.mkdir(parents=True)
        task = {"texts": [str(path.absolute()) for path in texts], "request": asdict(request)}
        (directory / REQUEST_NAME).write_bytes(orjson.dumps(task))
        progress.begin("train tokenizer", unit="bytes")
        progress.advance(sum(path.stat().st_size for path in texts))
        _run_child(directory, progress)
        atomic.rename(directory / RESULT_NAME, target)
        atomic.sync_directory(target.parent)
        atomic.remove_tree(directory)
        progress.end()


def _run_child(directory: Path, progress: Progress) -> None:
    with (directory / LOG_NAME).open("wb") as log:
        child = start_module(
            __name__,
            directory,
            environment={"RUST_BACKTRACE": "0"},
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
        )
    try:
        while True:
            progress.check()
            progress.advance(0)
            try:
                return_code = child.wait(POLL_SECONDS)
            except subprocess.TimeoutExpired:
                continue
            break
    finally:
        child.kill()
        child.communicate()
    if return_code != 0:
        raise _failure(return_code, (directory / LOG_NAME).read_bytes())


def _failure(return_code: int, log: bytes) -> LlmctlError:
    lines = log.decode("utf-8", "replace").split("\n")
    said = next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
    for kind in (StorageError, OutputError):
        if return_code == kind.exit_code:
            return kind(said)
    if return_code == _REFUSED:
        return LlmctlError(said)
    if return_code in (-signal.SIGKILL, -signal.SIGABRT) or "MemoryError" in said:
        return LlmctlError(
            "training the tokenizer was killed by the system, most likely for want of memory; "
            "lower tokenize.max_training_bytes"
        )
    ending = (
        f"ended by {signal.Signals(-return_code).name}"
        if return_code < 0
        else f"failed with exit code {return_code}"
    )
    return LlmctlError(f"training the tokenizer {ending}: {said}")


def _read_texts(paths: Sequence[str]) -> Iterator[str]:
    for path in paths:
        with Path(path).open("rb") as handle:
            for line in handle:
                yield orjson.loads(line)


def _end_with_parent() -> None:
    # Not sys.stdin: its lock, held by a thread that waits, is fatal where the process ends.
    while os.read(0, 1):
        pass
    os._exit(1)


def _main(directory: Path) -> int:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    task = orjson.loads((directory / REQUEST_NAME).read_bytes())
    fields = task["request"]
    request = TrainingRequest(**fields | {"special_tokens": tuple(fields["special_tokens"])})
    try:
        require_memory(lambda: _read_texts(task["texts"]), request)
        tokenizer = train(_read_texts(task["texts"]), request)
        atomic.write_file(
            directory / RESULT_NAME, tokenizer.to_str(pretty=True).encode("utf-8") + b"\n"
        )
    except LlmctlError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the parent reads the log
        return error.exit_code if isinstance(error, OutputError) else _REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(_main(Path(sys.argv[1])))
