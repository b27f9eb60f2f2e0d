"""Jobs done by this process alone or by several, watched the same way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

from llmctl.core.progress import Progress
from llmctl.core.worker_pool import Done, Task, WorkerPool

Job = TypeVar("Job")
_MIN_SECONDS = 0.5


class JobRunner:
    """Runs one activity after the other; a context manager.

    Args:
        num_workers: How many processes there may be; 1: this one only.
        progress: Who watches.

    Attributes:
        num_workers: How many there may be.
    """

    def __init__(self, num_workers: int, progress: Progress) -> None:
        self._pool = WorkerPool(num_workers, progress) if num_workers > 1 else None
        self._progress = progress
        self.num_workers = num_workers

    def __enter__(self) -> JobRunner:
        return self

    def __exit__(self, *error: object) -> None:
        if self._pool is not None:
            self._pool.__exit__(*error)

    def prepare(self, module: str) -> None:
        """Start the processes, if there are to be any; see `WorkerPool.prepare`."""
        if self._pool is not None:
            self._pool.prepare(module)

    def run(
        self,
        activity: str,
        total_bytes: int | None,
        jobs: Iterable[Job],
        make_task: Callable[..., Task[Job]],
        *arguments: Any,
    ) -> Iterator[tuple[Job, Any]]:
        """Yield each job with its result as it is finished, in whatever order.

        Args:
            activity: What it is called.
            total_bytes: How much there is to do; None: documents are counted instead.
            jobs: Asked for one at a time.
            make_task: What does a job, made from `arguments`, both picklable; a context
                manager is left at the end.
        """
        watch = _Watch(self._progress, counts_bytes=total_bytes is not None)
        self._progress.begin(
            activity, total_bytes or None, "documents" if total_bytes is None else "bytes"
        )
        if self._pool is None:
            task = make_task(*arguments)
            with task if isinstance(task, AbstractContextManager) else nullcontext():
                for job in jobs:
                    self._progress.check()
                    yield job, task(job, watch.checked)
        else:
            yield from self._pool.run(jobs, watch, make_task, *arguments)
        # A column, a compressed page: not every byte of an input is read.
        watch(Done(max(0, (total_bytes or 0) - watch.done.input_bytes)))
        self._progress.end()


class _Watch:
    """Passes on what is done, with the rates."""

    def __init__(self, progress: Progress, *, counts_bytes: bool) -> None:
        self._progress = progress
        self._counts_bytes = counts_bytes
        self._begun = time.monotonic()
        self.done = Done()

    def checked(self, done: Done) -> None:
        self(done)
        self._progress.check()

    def __call__(self, done: Done) -> None:
        self.done += done
        seconds = time.monotonic() - self._begun
        figures: dict[str, float | str] = {}
        if seconds >= _MIN_SECONDS:
            figures["documents/s"] = self.done.documents / seconds
            if self.done.text_bytes:
                figures["MB/s of text"] = self.done.text_bytes / 1e6 / seconds
        amount = done.input_bytes if self._counts_bytes else done.documents
        self._progress.advance(amount, **figures)
