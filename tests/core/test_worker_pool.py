"""The pool of workers: every job done once, errors told, no process left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pool_tasks import Squares

from llmctl.core.child_process import module_path
from llmctl.core.errors import DataError, Interrupted, LlmctlError
from llmctl.core.progress import Progress
from llmctl.core.worker_pool import Done, WorkerPool


class StopsLater(Progress):
    def __init__(self, is_time):
        super().__init__()
        self.is_time = is_time

    def check(self):
        if self.is_time():
            raise Interrupted(signal.SIGTERM)


def run(jobs, *, num_workers=2, progress=None):
    advanced = Done()

    def advance(done):
        nonlocal advanced
        advanced += done

    with WorkerPool(num_workers, progress or Progress()) as pool:
        return list(pool.run(jobs, advance, Squares, 1)), advanced


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_every_job_is_done_once_by_a_few_processes():
    done, advanced = run(range(20))

    assert sorted((job, result) for job, (_, result) in done) == [
        (job, job * job + 1) for job in range(20)
    ]
    assert len({pid for _, (pid, _) in done}) <= 2
    assert advanced == Done(sum(range(20)), 20)
    assert not any(is_alive(pid) for _, (pid, _) in done)


def test_workers_are_kept_for_the_next_activity():
    with WorkerPool(1, Progress()) as pool:
        found = [list(pool.run([2], lambda _: None, Squares, offset)) for offset in (0, 5)]

    [(_, (first, square))], [(_, (second, shifted))] = found
    assert (first == second, square, shifted) == (True, 4, 9)


def test_no_more_processes_than_jobs():
    with WorkerPool(8, Progress()) as pool:
        done = list(pool.run([3], lambda _: None, Squares, 1))

        assert [result for _, (_, result) in done] == [10]
        assert len(pool._workers) == 1


@pytest.mark.parametrize(
    ("job", "kind", "message"),
    [
        pytest.param("refuse", DataError, "诗.txt: no", id="the user's error"),
        pytest.param("fail", RuntimeError, "ZeroDivisionError: a bug", id="a bug"),
        pytest.param("die", LlmctlError, "killed by the system.*--workers 1", id="out of memory"),
        pytest.param("exit", LlmctlError, "ended with exit code 3", id="gone"),
    ],
)
def test_errors_of_a_worker_are_told(job, kind, message):
    with pytest.raises(kind, match=message):
        run([1, job, 2], num_workers=1)


@pytest.mark.usefixtures("broken_pipe_ends")
def test_a_worker_that_died_between_jobs_is_told():
    with WorkerPool(1, Progress()) as pool:
        list(pool.run([1], lambda _: None, Squares, 1))
        pool._workers[0]._process.kill()
        pool._workers[0]._process.wait()

        with pytest.raises(LlmctlError, match="killed by the system"):
            list(pool.run([2], lambda _: None, Squares, 1))


def test_an_early_end_kills_the_workers(tmp_path):
    note = tmp_path / "pid"

    with pytest.raises(Interrupted):
        run([note], progress=StopsLater(lambda: note.exists() and note.read_text()))

    assert not is_alive(int(note.read_text()))


def test_workers_end_with_their_parent(tmp_path):
    note = tmp_path / "pid"
    script = (
        "import sys; from pathlib import Path; from pool_tasks import Squares\n"
        "from llmctl.core.worker_pool import WorkerPool\n"
        "from llmctl.core.progress import Progress\n"
        "with WorkerPool(1, Progress()) as pool:\n"
        "    list(pool.run([Path(sys.argv[1])], lambda *_: None, Squares))\n"
    )
    environment = {**os.environ, "PYTHONPATH": module_path()}
    parent = subprocess.Popen([sys.executable, "-c", script, str(note)], env=environment)
    wait_until(lambda: note.exists() and note.read_text())

    parent.kill()
    parent.wait()

    pid = int(note.read_text())
    wait_until(lambda: not is_alive(pid) or _is_zombie(pid))


def _is_zombie(pid):
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
