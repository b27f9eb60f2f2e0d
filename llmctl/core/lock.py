"""One writer at a time: a lock that the kernel frees when its holder dies."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TextIO

from llmctl.core.atomic import storage_errors
from llmctl.core.errors import BusyError
from llmctl.core.stopping import Stop


@contextmanager
def exclusive(
    path: Path, *, wait_seconds: float = 0.0, stop: Stop | None = None
) -> Generator[None]:
    """Hold the lock file at `path`, which is made where it is missing and never deleted.

    Args:
        path: The lock file; its content tells who holds it.
        wait_seconds: How long to wait for another holder.
        stop: Ends the waiting early.

    Raises:
        BusyError: Another process holds it; the message names it.
        OutputError: The file cannot be created.
    """
    with _locked(path, fcntl.LOCK_EX, wait_seconds, stop) as handle:
        handle.truncate(0)
        _sign(handle, path)
        try:
            yield
        finally:
            handle.truncate(0)


@contextmanager
def shared(path: Path, *, wait_seconds: float = 0.0, stop: Stop | None = None) -> Generator[None]:
    """Hold the lock file beside others who hold it so, while nobody does exclusively.

    Args:
        path: The lock file; its content tells of one of those who hold it.
        wait_seconds: How long to wait for an exclusive holder.
        stop: Ends the waiting early.

    Raises:
        BusyError: Another process holds it exclusively; the message names it.
        OutputError: The file cannot be created.
    """
    with _locked(path, fcntl.LOCK_SH, wait_seconds, stop) as handle:
        if holder(path) is None:
            handle.truncate(0)
            _sign(handle, path)
        yield


@contextmanager
def _locked(
    path: Path, operation: int, wait_seconds: float, stop: Stop | None
) -> Generator[TextIO]:
    deadline = time.monotonic() + wait_seconds
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = path.open("a+", encoding="utf-8")
    with handle:
        while not _try_lock(handle, operation):
            if time.monotonic() >= deadline:
                raise BusyError(
                    f"{path.parent}: in use by {holder(path) or 'another process'}; try again later"
                )
            if stop is not None:
                stop.check()
            time.sleep(0.1)
        yield handle


def _sign(handle: TextIO, path: Path) -> None:
    """Write down who holds the lock."""
    record = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": " ".join(sys.argv),
    }
    with storage_errors(path):
        # In ASCII: an argument may hold bytes that are no text. Unbuffered: what a full
        # disk refused would be tried again when the file is closed.
        os.write(handle.fileno(), json.dumps(record).encode("ascii"))


def holder(path: Path) -> str | None:
    """Say who holds the lock, or None if nobody seems to; takes no lock itself.

    A holder that was killed leaves its name behind, so the process is looked for.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["host"] == socket.gethostname():
            with suppress(PermissionError):  # it is there, and another user's
                os.kill(found["pid"], 0)
        return (
            f"process {found['pid']} on {found['host']} since {found['since']} ({found['command']})"
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _try_lock(handle: TextIO, operation: int) -> bool:
    try:
        fcntl.flock(handle, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
