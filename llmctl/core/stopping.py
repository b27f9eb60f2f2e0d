"""Ending early on purpose: signals and time limits, asked about between units of work."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

from llmctl.core.errors import Interrupted, LlmctlError, OutOfTime

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
WATCHDOG_SECONDS = 20.0


class Stop:
    """Whether the work should end, and why.

    Args:
        max_seconds: Ask for the end after so many seconds; None for never.
    """

    def __init__(self, max_seconds: float | None = None) -> None:
        self.signal_number: int | None = None
        self.max_seconds = max_seconds
        self._deadline = None if max_seconds is None else time.monotonic() + max_seconds

    def reason(self) -> LlmctlError | None:
        """Return the error to end with, or None to go on."""
        if self.signal_number is not None:
            return Interrupted(self.signal_number)
        if self._deadline is not None and time.monotonic() >= self._deadline:
            return OutOfTime(
                f"stopped after --max-seconds {self.max_seconds:g}; "
                "the same command goes on from here"
            )
        return None

    def check(self) -> None:
        """Raise the reason to end, if there is one.

        Raises:
            Interrupted: A signal came.
            OutOfTime: The time limit has passed.
        """
        reason = self.reason()
        if reason is not None:
            raise reason


@contextmanager
def stop_on_signals(stop: Stop) -> Generator[Stop]:
    """Let the first INT, TERM or HUP set `stop`; a second, or 20 s without an end, is final.

    Ending at once loses nothing that was published: every artifact survives SIGKILL.
    What the caller made ignored, as `nohup` and a shell's `&` do, stays ignored. Restores
    the former handlers. Works in the main thread only, as signals do.
    """
    watchdog: threading.Timer | None = None

    def on_signal(number: int, _frame: FrameType | None) -> None:
        nonlocal watchdog
        if stop.signal_number is not None:
            die_by(number)
        stop.signal_number = number
        watchdog = threading.Timer(WATCHDOG_SECONDS, die_by, [number])
        watchdog.daemon = True
        watchdog.start()

    heeded = [number for number in STOP_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    former = {number: signal.signal(number, on_signal) for number in heeded}
    try:
        yield stop
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
        if watchdog is not None:
            watchdog.cancel()


def die_by(signal_number: int) -> None:
    """End this process by the signal's default action, so that a shell's loop ends too."""
    if sys.stderr.isatty():
        os.write(sys.stderr.fileno(), b"\x1b[?25h")  # a progress bar may have hidden the cursor
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal_number, signal.SIG_DFL)
        os.kill(os.getpid(), signal_number)
    os._exit(128 + signal_number)  # only the main thread may change a handler
