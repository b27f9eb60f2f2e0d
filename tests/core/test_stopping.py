"""stopping: the first signal asks, the second ends; a watchdog and a clock do so too."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from llmctl.core import errors
from llmctl.core.errors import Interrupted, OutOfTime
from llmctl.core.progress import Progress
from llmctl.core.stopping import STOP_SIGNALS, Stop, stop_on_signals

WORK = """
import sys, time
from llmctl.core import stopping
from llmctl.core.errors import Interrupted
stopping.WATCHDOG_SECONDS = float(sys.argv[2])
with stopping.stop_on_signals(stopping.Stop()) as stop:
    print("ready", flush=True)
    for _ in range(2000):
        if sys.argv[1] == "checks":
            try:
                stop.check()
            except Interrupted as error:
                print(error, flush=True)
                stopping.die_by(error.signal_number)
        elif stop.signal_number is not None:
            print("asked", flush=True)
            time.sleep(20)
        time.sleep(0.005)
"""


def started(how: str, watchdog_seconds: float = 20.0, *before: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [*before, sys.executable, "-c", WORK, how, str(watchdog_seconds)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert read_line(process) == "ready"
    return process


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_the_first_signal_is_raised_by_check_and_ends_the_process_in_order(number):
    with started("checks") as process:
        process.send_signal(number)

        assert read_line(process) == (
            f"stopped by {number.name}; the same command goes on from here"
        )
        assert process.wait(10) == -number


def test_the_second_signal_ends_at_once_by_itself():
    with started("sleeps") as process:
        process.send_signal(signal.SIGINT)
        assert read_line(process) == "asked"
        process.send_signal(signal.SIGTERM)

        assert process.wait(10) == -signal.SIGTERM


def test_a_watchdog_ends_what_does_not_check():
    with started("sleeps", 0.1) as process:
        process.send_signal(signal.SIGTERM)

        assert process.wait(10) == 128 + signal.SIGTERM


@pytest.mark.parametrize(
    ("before", "number"),
    [
        pytest.param(["nohup"], signal.SIGHUP, id="nohup"),
        # As a shell without job control does for what it starts in the background.
        pytest.param(["sh", "-c", 'trap "" INT; exec "$@"', "sh"], signal.SIGINT, id="background"),
    ],
)
def test_what_the_caller_made_ignored_stays_ignored(before, number):
    with started("checks", 20.0, *before) as process:
        process.send_signal(number)
        time.sleep(0.1)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)

        assert process.wait(10) == -signal.SIGTERM


def test_handlers_are_put_back_and_the_watchdog_called_off():
    former = [signal.getsignal(number) for number in STOP_SIGNALS]
    with stop_on_signals(Stop()) as stop:
        during = [signal.getsignal(number) for number in STOP_SIGNALS]
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.signal_number == signal.SIGTERM

    assert [signal.getsignal(number) for number in STOP_SIGNALS] == former
    assert not set(during) & set(former)


@pytest.mark.parametrize(
    ("number", "exit_code"),
    [(signal.SIGHUP, 129), (signal.SIGINT, 130), (signal.SIGTERM, 143)],
)
def test_an_interruption_carries_the_shells_exit_code(number, exit_code):
    stop = Stop()
    stop.signal_number = number

    with pytest.raises(Interrupted, match=number.name) as raised:
        stop.check()

    assert (raised.value.exit_code, raised.value.signal_number) == (exit_code, number)


def test_the_time_limit_ends_with_try_again(monkeypatch):
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    stop = Stop(max_seconds=2.5)
    now = 102.4
    stop.check()
    assert stop.reason() is None

    now = 102.5
    with pytest.raises(OutOfTime, match=r"stopped after --max-seconds 2.5; the same") as raised:
        stop.check()

    assert raised.value.exit_code == 75


def test_a_signal_counts_before_the_clock():
    stop = Stop(max_seconds=0)
    stop.signal_number = signal.SIGINT

    assert isinstance(stop.reason(), Interrupted)


def test_without_a_limit_nothing_asks_for_the_end():
    Stop().check()
    Progress().check()


def test_progress_asks_its_stop():
    with pytest.raises(OutOfTime):
        Progress(Stop(max_seconds=0)).check()


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (errors.LlmctlError, 1),
        (errors.NumericsError, 1),
        (errors.UsageError, 2),
        (errors.DataError, 65),
        (errors.MissingInputError, 66),
        (errors.DeviceError, 69),
        (errors.OutputError, 73),
        (errors.StorageError, 74),
        (errors.BusyError, 75),
        (errors.OutOfTime, 75),
        (errors.RecipeError, 78),
    ],
)
def test_each_error_has_the_exit_code_that_scripts_rely_on(error, exit_code):
    assert error("x").exit_code == exit_code
