"""Jobs for the tests of the worker pool; importable in a spawned process."""

import os
import signal
import time
from pathlib import Path

from llmctl.core.errors import DataError
from llmctl.core.worker_pool import Done


class Squares:
    """Squares a number, or does worse."""

    def __init__(self, offset=0):
        self.offset = offset

    def __call__(self, job, advance):
        if job == "refuse":
            raise DataError("诗.txt: no")
        if job == "fail":
            raise ZeroDivisionError("a bug")
        if job == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if job == "exit":
            os._exit(3)
        if isinstance(job, Path):
            job.write_text(str(os.getpid()))
            time.sleep(60)
        advance(Done(job, 1))
        return os.getpid(), job * job + self.offset
