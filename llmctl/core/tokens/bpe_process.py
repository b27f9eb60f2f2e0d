"""Training a tokenizer in a child process, since the library cannot be interrupted.

Run as `python -m llmctl.core.tokens.bpe_process REQUEST`: the request is a JSON file, its
texts a JSON Lines file. The child ends with its parent, whatever the parent dies of: it
watches a pipe that the parent holds open.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import orjson

from llmctl.core import atomic
from llmctl.core.errors import DataError

POLL_SECONDS = 0.05
_KILLED = -9


def train_in_child(
    texts: Path, target: Path, *, vocab_size: int, min_frequency: int, check: Callable[[], None]
) -> None:
    """Learn a tokenizer from the texts and put it at `target` as a whole file.

    Args:
        texts: JSON Lines, a string a line.
        target: Where `tokenizer.json` goes; beside it the request and the child's output lie
            while it works.
        vocab_size: See `bpe.train_bpe`.
        min_frequency: Likewise.
        check: Asked several times a second; what it raises ends the child at once.

    Raises:
        DataError: The child failed; its last words are in the message.
    """
    made = target.with_name(f".{target.name}.{os.getpid()}")
    request = target.with_name(f".{target.name}.request")
    request.write_text(
        json.dumps(
            {
                "texts": str(texts),
                "target": str(made),
                "vocab_size": vocab_size,
                "min_frequency": min_frequency,
            }
        ),
        encoding="utf-8",
    )
    child = subprocess.Popen(
        [sys.executable, "-m", "llmctl.core.tokens.bpe_process", str(request)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,  # a terminal's Ctrl-C is the parent's to answer
    )
    try:
        while child.poll() is None:
            check()
            time.sleep(POLL_SECONDS)
    finally:
        child.kill()
        _, said = child.communicate()
    if child.returncode != 0:
        raise DataError(_complaint(child.returncode, said.decode("utf-8", "replace")))
    atomic.sync_file(made)
    atomic.rename(made, target)
    atomic.sync_directory(target.parent)
    request.unlink()


def _complaint(return_code: int, said: str) -> str:
    if return_code == _KILLED:
        return (
            "training the tokenizer was killed, most likely for want of memory; lower "
            "tokenize.max_training_bytes"
        )
    last_line = said.strip().splitlines()[-1] if said.strip() else f"exit code {return_code}"
    return f"training the tokenizer failed: {last_line}"


def _end_with_parent() -> None:
    os.read(sys.stdin.fileno(), 1)  # returns once the parent's end of the pipe is closed
    os._exit(1)


def _main(request_path: str) -> None:
    from llmctl.core.tokens.bpe import train_bpe

    threading.Thread(target=_end_with_parent, daemon=True).start()
    request = json.loads(Path(request_path).read_text(encoding="utf-8"))
    with Path(request["texts"]).open("rb") as lines:
        texts = (orjson.loads(line) for line in lines)
        tokenizer = train_bpe(texts, request["vocab_size"], request["min_frequency"])
    tokenizer.save(request["target"])


if __name__ == "__main__":
    _main(sys.argv[1])
