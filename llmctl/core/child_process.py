"""Modules of llmctl run as programs of their own, beside this process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def start_module(
    module: str, *arguments: object, environment: Mapping[str, str] | None = None, **options: Any
) -> subprocess.Popen[bytes]:
    """Start a module as a program that finds its modules where this process finds them.

    It does not look in the working directory, where a file of the user's may be called
    tokenize.py, and Ctrl-C does not reach it: that is for this process to hear, and to act
    upon. It should end when the pipe or socket that it is given ends.

    Args:
        module: Its name.
        arguments: Told to it as text.
        environment: Variables beside those of this process.
        options: Those of `subprocess.Popen`.
    """
    child: Any = subprocess.Popen(
        [sys.executable, "-P", "-m", module, *map(str, arguments)],
        env={**os.environ, **(environment or {}), "PYTHONPATH": module_path()},
        process_group=0,
        **options,
    )
    return child


def module_path() -> str:
    """Return where this process finds its modules, for the environment of another."""
    return os.pathsep.join(path or str(Path.cwd()) for path in sys.path)


@contextmanager
def broken_pipe_as_error() -> Generator[None]:
    """Write to a child within: its death is a BrokenPipeError, and not ours.

    By `main` the signal of a broken pipe ends this process, for the sake of `llmctl ... | head`.
    """
    former = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPIPE})
    try:
        yield
    finally:
        if signal.SIGPIPE not in former:
            if signal.SIGPIPE in signal.sigpending():
                signal.sigwait({signal.SIGPIPE})
            signal.pthread_sigmask(signal.SIG_SETMASK, former)
