"""What a command and all processes that it starts take: seconds, processor time, memory."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SAMPLED_EVERY_SECONDS = 0.02
_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


@dataclass(frozen=True)
class Taken:
    """What one run of a command took.

    Attributes:
        seconds: From its start to its end.
        cpu_seconds: Of all its processes.
        peak_megabytes: Most memory at a time of all its processes, pages that several share
            counted once; 0 unless it was watched.
    """

    seconds: float
    cpu_seconds: float
    peak_megabytes: float


def run(command: Sequence[str], *, watches_memory: bool) -> Taken:
    """Run a command and say what it took; Linux only.

    Args:
        command: Its words; what it says is shown only where it fails.
        watches_memory: Looking costs time itself: leave it out where seconds count.
    """
    # Processes that outlive their parent, such as a fork server, become this one's children,
    # so that their time is counted.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    before = _cpu_seconds_of_children()
    begun = time.monotonic()
    # A file, as what outlives the command could keep a pipe open.
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said)
        peak, is_over = 0.0, threading.Event()

        def watch() -> None:
            nonlocal peak
            while not is_over.wait(SAMPLED_EVERY_SECONDS):
                peak = max(peak, sum(map(_megabytes, _family(process.pid))))

        watcher = threading.Thread(target=watch)
        if watches_memory:
            watcher.start()
        process.wait()
        seconds = time.monotonic() - begun
        is_over.set()
        if watches_memory:
            watcher.join()
        with contextlib.suppress(ChildProcessError):
            while True:
                os.wait()
        if process.returncode != 0:
            said.seek(0)
            shown, words = " ".join(command[:4]), said.read().decode()[-2000:]
            raise SystemExit(f"{shown} ended with {process.returncode}:\n{words}")
    return Taken(seconds, _cpu_seconds_of_children() - before, peak)


def _cpu_seconds_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _family(pid: int) -> list[int]:
    """Return a process and all that descend from it."""
    found = [pid]
    for member in found:
        # A process or a thread of it may end while it is looked at.
        with contextlib.suppress(OSError):
            for thread in Path(f"/proc/{member}/task").iterdir():
                with contextlib.suppress(OSError):
                    found += map(int, (thread / "children").read_text().split())
    return found


def _megabytes(pid: int) -> float:
    """Return the memory of a process that is its own or its share of, in MB."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024 / 1e6
    return 0.0
