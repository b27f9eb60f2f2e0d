"""Runs the `llmctl` commands of the documentation's shell blocks, small and without imports.

`python shell_server.py SOCKET` imports everything once and then, for each command that a
client (`CLIENT`, in the place of `llmctl` on the shell's PATH) hands it with its arguments,
folder, environment and open files, forks a process that runs it. Two things differ from a
real command: every recipe is trained for a few steps of a tiny model, and the built-in
documentation is a few hundred made sentences. A client that is killed takes its command along.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import random
import select
import signal
import socket
import sys
from collections.abc import Iterator

CLIENT = """\
import array, json, os, signal, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
request = {{"argv": sys.argv[1:], "cwd": os.getcwd(), "env": dict(os.environ)}}
files = array.array("i", [0, 1, 2])
rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, files)]
server.sendmsg([json.dumps(request).encode() + b"\\n"], rights)
for name in ("INT", "TERM", "HUP"):
    signal.signal(signal.Signals["SIG" + name], lambda number, _: server.send(bytes([number])))
reply = server.recv(1)
sys.exit(reply[0] if reply else 1)
"""
PRELOADED = (
    "llmctl.cli",
    "llmctl.core.language_model.language_model",
    "llmctl.core.stages.clean",
    "llmctl.core.stages.tokenize",
    "llmctl.core.stages.train",
    "llmctl.core.stages.evaluate",
    "llmctl.core.stages.generate",
    "llmctl.core.stages.generate_file",
    "llmctl.core.stages.inspect",
    "llmctl.core.stages.embed",
    "llmctl.core.stages.export",
    "llmctl.core.stages.verify",
    "llmctl.core.standalone",
    "llmctl.core.summary",
    "llmctl.terminal.card",
    "llmctl.terminal.inspection",
    "llmctl.terminal.tables",
    "llmctl.terminal.writer",
    "pyarrow.parquet",
    "rouge_score.rouge_scorer",
    "sacrebleu",
    "safetensors.torch",
)
NUM_FILES = 3
MAX_REQUEST_BYTES = 1 << 16
POLL_SECONDS = 0.005


def main(address: str) -> None:
    """Import, then serve until standard input ends."""
    _preload()
    _shrink()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    print("ready", flush=True)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while listener in select.select([listener, sys.stdin], [], [])[0]:
        client, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _supervise(client)
            os._exit(0)
        client.close()


def _supervise(client: socket.socket) -> None:
    """Run one command, hand on the signals that its client gets, and answer with its exit code."""
    data, files, _, _ = socket.recv_fds(client, MAX_REQUEST_BYTES, NUM_FILES)
    while not data.endswith(b"\n"):
        data += client.recv(MAX_REQUEST_BYTES)
    command = os.fork()
    if command == 0:
        client.close()
        _become(json.loads(data), files)
    while True:
        ended, status = os.waitpid(command, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            client.send(bytes([code if code >= 0 else 128 - code]))
            return
        if select.select([client], [], [], POLL_SECONDS)[0]:
            received = client.recv(1)
            os.kill(command, received[0] if received else signal.SIGKILL)
            if not received:
                return


def _become(request: dict, files: list[int]) -> None:
    for number, file in enumerate(files):
        os.dup2(file, number)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.stdin, sys.stdout, sys.stderr = (
        open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115
        for number, mode in enumerate("rww")
    )
    sys.argv = ["llmctl", *request["argv"]]
    from llmctl.cli import main

    code = 0
    try:
        main()
    except SystemExit as ended:
        code = int(ended.code or 0)
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    os._exit(code)


def _preload() -> None:
    for name in PRELOADED:
        importlib.import_module(name)
    import torch

    torch.set_num_threads(1)
    gc.freeze()  # so that a fork copies no page for the collector's sake


def _shrink() -> None:
    from dataclasses import replace

    from llmctl.core import recipe
    from llmctl.core.artifacts import python_docs
    from llmctl.core.artifacts.documents import Document

    load = recipe.load_recipe
    shape = recipe.ModelShape(
        num_layers=1, width=16, num_heads=2, num_key_value_heads=1, head_width=8, mlp_width=32
    )
    small = {"budget": "0s", "tokens_per_step": 512, "num_validations": 1, "num_samples": 1}

    def load_small(*arguments: object) -> recipe.LoadedRecipe:
        loaded = load(*arguments)
        steps = {"steps": 2 if loaded.recipe.train.steps is None else 3}
        parts = {
            "model": shape,
            "train": loaded.recipe.train.model_copy(update=small | steps),
            "eval": loaded.recipe.eval.model_copy(update={"bootstrap_samples": 10}),
        }
        return replace(loaded, recipe=loaded.recipe.model_copy(update=parts))

    def made_documents() -> Iterator[Document]:
        draw = random.Random(0)
        words = ("return", "the", "new", "list", "of", "items", "if", "file", "exists", "world")
        for number in range(80):
            text = " ".join(draw.choices(words, k=60)).capitalize() + "."
            yield Document(f"made:{number}", python_docs.NAME, "en", text)

    recipe.load_recipe = load_small
    python_docs.python_documents = made_documents
    python_docs.digest = lambda: "made"


if __name__ == "__main__":
    main(sys.argv[1])
