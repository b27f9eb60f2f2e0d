"""A process with everything imported, which forks a child for each command line of llmctl.

A kill test ends hundreds of commands. Each would spend seconds on its imports, and a signal
at a random moment would hit them and not the work. So one process imports llmctl with all
that it uses, computes nothing (a library's pool of threads does not survive a fork), and for
each request forks a child that is as good as a command just started. Run as a program, this
file is that process; `PreloadedServer` starts it and speaks with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import itertools
import json
import os
import pkgutil
import re
import resource
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

CLOSED = "closed"
ORPHAN_SECONDS = 5.0
_SET_CHILD_SUBREAPER = 36
_POLL_SECONDS = 0.002
# Imported by others only once they are used.
_LATE_IMPORTS = ("pyarrow.parquet", "safetensors.torch", "torch", "encodings.idna")


@dataclass(frozen=True)
class Trap:
    """What is to happen at one operation of a command.

    Attributes:
        number: At the how-manieth operation that fits, counted from 1.
        operation: A regular expression for its name: write, fsync, rename, remove.
        path: One that is looked for in its path.
        signal: Sent to the command, once the operation is done.
        pause_seconds: Instead, the command sleeps so long at it.
        error: Instead, the operation and all later ones that fit fail with this number.
        calls: Count what Python is about to ask of the file system (open for writing, mkdir,
            rename, remove, rmdir, truncate) instead of what `atomic` tells of.
    """

    number: int = 1
    operation: str = ""
    path: str = ""
    signal: int = signal.SIGKILL
    pause_seconds: float = 0.0
    error: int = 0
    calls: bool = False


@dataclass(frozen=True)
class Operation:
    """One thing a command did, and when, in seconds since it began."""

    seconds: float
    name: str
    path: str


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, or a signal's number as a negative one.

    Its memory at most counts what it shares with the server.
    """

    exit_code: int
    stdout: str
    stderr: str
    seconds: float
    operations: list[Operation] = field(repr=False)
    orphans: int
    peak_bytes: int = field(compare=False)


# ------------------------------------------------------------------ the tests' side


class Command:
    """A command that is running."""

    def __init__(self, server: PreloadedServer, pid: int, folder: Path) -> None:
        self.pid = pid
        self._server = server
        self._folder = folder
        self._ended: Ended | None = None

    def operations(self) -> list[Operation]:
        """What it did until now."""
        return _read_trace(self._folder / "trace")

    def until(self, operation: str, path: str = "", *, number: int = 1) -> Command:
        """Wait for its n-th operation that fits, at most a minute."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            fitting = (
                found
                for found in self.operations()
                if re.search(operation, found.name) and re.search(path, found.path)
            )
            if next(itertools.islice(fitting, number - 1, None), None):
                return self
            time.sleep(_POLL_SECONDS)
        raise TimeoutError(f"no {operation} of {path}; {(self._folder / 'stderr').read_text()}")

    def send(self, number: int) -> Command:
        """Send it a signal, unless it has ended."""
        self._server.ask({"signal": int(number), "pid": self.pid})
        return self

    def wait(self, seconds: float = 100.0) -> Ended:
        """Wait for its end; past the time it is killed."""
        if self._ended is not None:
            return self._ended
        reply = self._server.ask({"wait": self.pid, "seconds": seconds})
        if reply["timed_out"]:
            said = (self._folder / "stderr").read_text(encoding="utf-8", errors="replace")
            raise TimeoutError(f"still running after {seconds} s:\n{said}")
        self._ended = Ended(
            exit_code=reply["exit_code"],
            stdout=(self._folder / "stdout").read_text(encoding="utf-8"),
            stderr=(self._folder / "stderr").read_text(encoding="utf-8"),
            seconds=reply["ran"],
            operations=self.operations(),
            orphans=reply["orphans"],
            peak_bytes=reply["peak_bytes"],
        )
        return self._ended


class PreloadedServer:
    """The process with everything imported.

    Args:
        folder: Where the commands' output goes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count()
        threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | dict.fromkeys(threads, "1"),
            text=True,
        )

    def close(self) -> None:
        """End it, and with it what is still running."""
        self._process.communicate()

    def ask(self, request: Mapping[str, object]) -> dict:
        """Send one request and return the answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def start(
        self,
        *arguments: str | Path,
        cwd: Path,
        trap: Trap | None = None,
        env: Mapping[str, str | None] | None = None,
        stdin: str = os.devnull,
        stdout: str = "",
        stderr: str = "",
        max_file_bytes: int | None = None,
    ) -> Command:
        """Start `llmctl ARGUMENTS`.

        Args:
            arguments: The command's words.
            cwd: Its working directory.
            trap: What is to happen to it.
            env: Changes of its environment; None removes a variable.
            stdin: A file, or CLOSED.
            stdout: Another file than that of the result; or CLOSED.
            stderr: Likewise.
            max_file_bytes: No file can grow beyond.
        """
        folder = self._folder / f"{next(self._numbers):05d}"
        folder.mkdir()
        for name in ("stdout", "stderr", "trace"):
            (folder / name).touch()
        environment = {**os.environ, "LLMCTL_RUNS": None, **(env or {})}
        reply = self.ask(
            {
                "arguments": [str(word) for word in arguments],
                "cwd": str(cwd),
                "trap": asdict(trap) if trap else None,
                "env": {name: value for name, value in environment.items() if value is not None},
                "stdin": stdin,
                "stdout": stdout or str(folder / "stdout"),
                "stderr": stderr or str(folder / "stderr"),
                "trace": str(folder / "trace") if max_file_bytes is None else os.devnull,
                "max_file_bytes": max_file_bytes,
            }
        )
        return Command(self, reply["pid"], folder)

    def run(self, *arguments: str | Path, cwd: Path, **more) -> Ended:
        """Start a command and wait for its end."""
        return self.start(*arguments, cwd=cwd, **more).wait()


def _read_trace(path: Path) -> list[Operation]:
    lines = path.read_text(encoding="utf-8", errors="surrogateescape").split("\n")[:-1]
    parts = (line.split(" ", 2) for line in lines)
    return [Operation(float(seconds), name, shown) for seconds, name, shown in parts]


# ------------------------------------------------------------------ the process itself


def _preload() -> None:
    import llmctl

    for module in pkgutil.walk_packages(llmctl.__path__, "llmctl."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in _LATE_IMPORTS:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a child that collected the garbage of all imports would copy their memory


def _serve() -> None:
    if sys.platform == "linux":  # what a killed command leaves running becomes our child
        ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    _preload()
    began: dict[int, float] = {}
    ended: dict[int, tuple[int, int]] = {}
    for line in sys.stdin:
        request = json.loads(line)
        if "signal" in request:
            _reap(ended)  # else the number may be another process's by now
            if request["pid"] not in ended:
                os.kill(request["pid"], request["signal"])
            reply = {}
        elif "wait" in request:
            reply = _wait(request["wait"], request["seconds"], began, ended)
        else:
            pid = _fork(request)
            ended.pop(pid, None)  # a former process of this number
            began[pid] = time.monotonic()
            reply = {"pid": pid}
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()
    for pid in began:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _reap(ended: dict[int, tuple[int, int]]) -> bool:
    """Collect what has ended, exit code and memory at most; say whether anything still runs."""
    unit = 1 if sys.platform == "darwin" else 1024
    while True:
        try:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid == 0:
            return True
        ended[pid] = os.waitstatus_to_exitcode(status), usage.ru_maxrss * unit


def _wait(
    pid: int, seconds: float, began: dict[int, float], ended: dict[int, tuple[int, int]]
) -> dict:
    deadline = time.monotonic() + seconds
    timed_out = False
    while _reap(ended) and pid not in ended:
        if time.monotonic() >= deadline and not timed_out:
            timed_out = True
            os.kill(pid, signal.SIGKILL)
        time.sleep(_POLL_SECONDS)
    ran = time.monotonic() - began.pop(pid)
    orphans = 0
    if not began.keys() - ended.keys():  # else what runs may be another command's
        deadline = time.monotonic() + ORPHAN_SECONDS
        while (orphans := int(_reap(ended))) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
    exit_code, peak_bytes = ended[pid]
    return {
        "exit_code": exit_code,
        "ran": ran,
        "timed_out": timed_out,
        "orphans": orphans,
        "peak_bytes": peak_bytes,
    }


def _fork(request: dict) -> int:
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    try:
        code = _command(request)
    except BaseException:
        traceback.print_exc()
        code = 1
    with contextlib.suppress(Exception):
        sys.stdout.flush()
    os._exit(code)


def _command(request: dict) -> int:
    """Become the command and run it, as the interpreter would."""
    trace = os.open(request["trace"], os.O_WRONLY | os.O_APPEND)
    files = [
        (0, "stdin", request["stdin"], os.O_RDONLY),
        (1, "stdout", request["stdout"], os.O_WRONLY),
        (2, "stderr", request["stderr"], os.O_WRONLY),
    ]
    for descriptor, name, path, flags in files:
        if path == CLOSED:
            os.close(descriptor)
            setattr(sys, name, None)
            continue
        opened = os.open(path, flags)
        os.dup2(opened, descriptor)
        os.close(opened)
        mode = "r" if name == "stdin" else "w"
        setattr(sys, name, open(descriptor, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv = ["llmctl", *request["arguments"]]
    if request["max_file_bytes"] is not None:
        limit = request["max_file_bytes"]
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    _observe(trace, Trap(**request["trap"]) if request["trap"] else None)
    from llmctl import cli

    try:
        cli.main()
    except SystemExit as ended:
        if ended.code is None or isinstance(ended.code, int):
            return ended.code or 0
        raise
    return 0


def _observe(trace: int, trap: Trap | None) -> None:
    """Write down what the command does, and set the trap."""
    from llmctl.core import atomic

    began = time.monotonic()
    fitting = itertools.count(1)

    def observe(name: str, path: object) -> None:
        line = f"{time.monotonic() - began:.4f} {name} {os.fsdecode(path)}\n"
        os.write(trace, os.fsencode(line))
        if trap is None or not re.search(trap.operation, name):
            return
        if not re.search(trap.path, os.fsdecode(path)):
            return
        number = next(fitting)
        if trap.error:
            if number >= trap.number:
                raise OSError(trap.error, os.strerror(trap.error), os.fsdecode(path))
            return
        if number == trap.number and trap.pause_seconds:
            time.sleep(trap.pause_seconds)
        elif number == trap.number:
            os.kill(os.getpid(), trap.signal)

    if trap is None or not trap.calls:
        atomic.observer = observe
        return
    here = str(Path.cwd())

    def audit(event: str, details: tuple) -> None:
        if event in _CALLS and isinstance(details[0], str | bytes | os.PathLike):
            path = os.path.abspath(os.fsdecode(details[0]))
            flags = details[2] if event == "open" else os.O_WRONLY
            if path.startswith(here) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                observe(event, path)

    sys.addaudithook(audit)


_CALLS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate"}


if __name__ == "__main__":
    _serve()
