"""Processes that do the units of a long work, several at a time.

A worker is a fresh interpreter, never a fork: it shares nothing with this process but a
socket, over which jobs and short answers go; what is worked on stays in files. It hears
no signal of the terminal's, is killed when the work is to end (a unit is either a finished
file or nothing), and ends by itself when this process dies, however suddenly.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing import connection
from typing import Any, NoReturn, Protocol, TypeVar

from llmctl.core import errors
from llmctl.core.child_process import broken_pipe_as_error, start_module
from llmctl.core.errors import LlmctlError
from llmctl.core.progress import Progress

POLL_SECONDS = 0.1
REPORT_SECONDS = 0.2

Job = TypeVar("Job")
_Given = TypeVar("_Given", contravariant=True)


@dataclass(frozen=True, slots=True)
class Done:
    """How much work is done, or done since the last report.

    Attributes:
        input_bytes: As they lie in the inputs.
        documents: Whatever became of them.
        text_bytes: Of these documents' lines, unpacked.
    """

    input_bytes: int = 0
    documents: int = 0
    text_bytes: int = 0

    def __add__(self, other: Done) -> Done:
        return Done(
            self.input_bytes + other.input_bytes,
            self.documents + other.documents,
            self.text_bytes + other.text_bytes,
        )


Advance = Callable[[Done], None]


class Task(Protocol[_Given]):
    """What a worker does; made once in each, from picklable parts."""

    def __call__(self, job: _Given, advance: Advance) -> Any:
        """Do one job.

        Args:
            job: Which.
            advance: Told now and then how much more is done.

        Returns:
            Something small that can be pickled.
        """
        ...


class WorkerPool:
    """Runs jobs in spawned processes, one activity after the other; a context manager.

    Args:
        num_workers: At most so many processes; they are started as jobs come, and kept.
        progress: Asked for an early end ten times a second.
    """

    def __init__(self, num_workers: int, progress: Progress) -> None:
        self._num_workers = num_workers
        self._progress = progress
        self._workers: list[_Worker] = []

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_error: object) -> None:
        for worker in self._workers:
            worker.end()

    def prepare(self, module: str) -> None:
        """Start all processes now, and have them import a module while this one goes on.

        Args:
            module: Of the task to come.
        """
        while len(self._workers) < self._num_workers:
            self._workers.append(_Worker())
            self._workers[-1].send("import", module)

    def run(
        self,
        jobs: Iterable[Job],
        advance: Advance,
        make_task: Callable[..., Task[Job]],
        *arguments: Any,
    ) -> Generator[tuple[Job, Any]]:
        """Yield each job and its result as they are finished, in whatever order.

        Args:
            jobs: Asked for the next one when a worker has nothing to do.
            advance: Told what the workers have done.
            make_task: Called in each worker with `arguments`, importable by its name.
            arguments: Picklable.

        Raises:
            Interrupted, OutOfTime: `progress` asked for the end.
            LlmctlError: A job ended with it, or a worker died.
            RuntimeError: A job ended with any other error; the message is its traceback.
        """
        task = (make_task, arguments)
        waiting = iter(jobs)
        is_over = False
        while True:
            while not is_over and self._num_busy < self._num_workers:
                try:
                    job = next(waiting)
                except StopIteration:
                    is_over = True
                else:
                    self._idle().give(job, task)
            busy = [worker for worker in self._workers if worker.is_busy]
            if not busy:
                return
            self._progress.check()
            ready = connection.wait([worker.connection for worker in busy], POLL_SECONDS)
            advance(Done())
            for worker in busy:
                if worker.connection in ready:
                    yield from worker.answer(advance)

    @property
    def _num_busy(self) -> int:
        return sum(worker.is_busy for worker in self._workers)

    def _idle(self) -> _Worker:
        for worker in self._workers:
            if not worker.is_busy:
                return worker
        self._workers.append(_Worker())
        return self._workers[-1]


class _Worker:
    """One process, what it can do now, and the job that it has."""

    def __init__(self) -> None:
        self._jobs: list[Any] = []
        self._task: tuple[Any, ...] | None = None
        ours, theirs = socket.socketpair()
        with theirs:
            descriptor = theirs.fileno()
            self._process = start_module(
                __name__,
                descriptor,
                os.getpid(),
                stdin=subprocess.DEVNULL,
                pass_fds=[descriptor],
            )
        self.connection = connection.Connection(ours.detach())

    @property
    def is_busy(self) -> bool:
        return bool(self._jobs)

    def give(self, job: Any, task: tuple[Any, ...]) -> None:
        self._jobs.append(job)
        if self._task is not task:
            self.send("task", *task)
            self._task = task
        self.send("job", job)

    def send(self, *message: Any) -> None:
        try:
            with broken_pipe_as_error():
                self.connection.send(message)
        except OSError:
            self._raise_death()

    def answer(self, advance: Advance) -> Iterator[tuple[Any, Any]]:
        """Take one message; yield where it is the end of the job."""
        try:
            message, *content = self.connection.recv()
        except (EOFError, OSError):
            self._raise_death()
        if message == "advance":
            advance(Done(*content))
        elif message == "failed":
            kind, said = content
            raise getattr(errors, kind)(said) if kind else RuntimeError(said)
        else:
            yield self._jobs.pop(), content[0]

    def _raise_death(self) -> NoReturn:
        code = self._process.wait()
        if code == -signal.SIGKILL:
            raise LlmctlError(
                "a worker process was killed by the system, most likely for want of memory; "
                "fewer take less: --workers 1; the same command goes on from here"
            )
        raise LlmctlError(f"a worker process ended with exit code {code}; run the command again")

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        self.connection.close()


class _Reporter:
    """Tells the parent of progress, but not too often."""

    def __init__(self, parent: Any) -> None:
        self._parent = parent
        self._last = time.monotonic()
        self._done = Done()

    def __call__(self, done: Done) -> None:
        self._done += done
        if time.monotonic() - self._last >= REPORT_SECONDS:
            self.flush()

    def flush(self) -> None:
        # Not the object: in the child this module is __main__, and its classes are others.
        done = self._done
        self._parent.send(("advance", done.input_bytes, done.documents, done.text_bytes))
        self._last = time.monotonic()
        self._done = Done()


def _end_with(parent_pid: int) -> None:
    while os.getppid() == parent_pid:
        time.sleep(0.5)
    os._exit(1)


def _serve(parent: Any) -> None:
    setup: tuple[Any, ...] = ()
    task: Any = None
    while True:
        try:
            message, *content = parent.recv()
        except EOFError:
            return
        if message == "import":
            with contextlib.suppress(ImportError):  # the task will tell
                importlib.import_module(content[0])
            continue
        if message == "task":
            setup, task = tuple(content), None
            continue
        reporter = _Reporter(parent)
        try:
            if task is None:  # made with the first job, so that its errors are told
                make_task, arguments = setup
                task = make_task(*arguments)
            result = task(content[0], reporter)
        except LlmctlError as error:
            parent.send(("failed", type(error).__name__, str(error)))
        except MemoryError:
            os.kill(os.getpid(), signal.SIGKILL)
        except Exception:
            parent.send(("failed", None, "in a worker process:\n" + traceback.format_exc()))
        else:
            reporter.flush()
            parent.send(("done", result))


def _main() -> None:
    descriptor, parent_pid = (int(argument) for argument in sys.argv[1:])
    threading.Thread(target=_end_with, args=[parent_pid], daemon=True).start()
    try:
        _serve(connection.Connection(descriptor))
    except BrokenPipeError:  # the parent has gone
        sys.exit(1)


if __name__ == "__main__":
    _main()
