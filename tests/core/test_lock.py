"""lock: one holder at a time, named to the others, freed by the kernel when it dies."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from llmctl.core.errors import BusyError, Interrupted, OutputError
from llmctl.core.lock import exclusive, holder, shared
from llmctl.core.stopping import Stop

HOLD = """
import sys
from pathlib import Path
from llmctl.core.lock import exclusive
with exclusive(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path):
    """Another process that holds the lock until its stdin is closed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path / "运行" / ".lock", "字"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    with process:
        yield process
        process.kill()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "运行" / ".lock"


def test_the_file_names_its_holder_while_it_is_held(path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["llmctl", "train", "配方.yaml"])
    with exclusive(path):
        record = json.loads(path.read_text(encoding="utf-8"))
        told = holder(path)

    assert (record["pid"], record["host"]) == (os.getpid(), socket.gethostname())
    assert record["command"] == "llmctl train 配方.yaml"
    assert told == (
        f"process {os.getpid()} on {socket.gethostname()} since {record['since']} "
        "(llmctl train 配方.yaml)"
    )
    assert holder(path) is None


def test_a_lock_left_by_an_error_has_no_holder(path):
    with pytest.raises(KeyError), exclusive(path):
        raise KeyError

    assert holder(path) is None
    with exclusive(path):
        pass


def test_arguments_that_are_no_text_do_not_hinder(path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["llmctl", "\udcc4\udce3.txt"])

    with exclusive(path):
        assert r"\udcc4" in path.read_text(encoding="utf-8")


def test_a_second_process_is_refused_and_told_who_holds_it(other, path):
    with pytest.raises(BusyError, match=f"in use by process {other.pid} on .*字.*; try") as raised:
        exclusive(path).__enter__()

    assert raised.value.exit_code == 75
    assert str(path.parent) in str(raised.value)


def test_a_holder_that_has_not_written_its_name_is_another_process(path):
    with exclusive(path):
        path.write_text("", encoding="utf-8")
        with pytest.raises(BusyError, match="in use by another process"):
            exclusive(path).__enter__()


def test_asking_for_the_holder_takes_no_lock(path):
    with exclusive(path):
        pass
    assert holder(path) is None

    with exclusive(path):
        assert holder(path) is not None
        with pytest.raises(BusyError):
            exclusive(path).__enter__()


def test_the_kernel_frees_the_lock_of_a_killed_process(other, path):
    other.send_signal(signal.SIGKILL)
    other.wait()

    assert str(other.pid) in path.read_text(encoding="utf-8")
    assert holder(path) is None
    with exclusive(path):
        pass


def test_waiting_takes_the_lock_once_it_is_free(path):
    first = exclusive(path)
    first.__enter__()
    threading.Timer(0.15, lambda: first.__exit__(None, None, None)).start()
    begun = time.monotonic()

    with exclusive(path, wait_seconds=20):
        waited = time.monotonic() - begun

    assert 0.1 < waited < 10


def test_waiting_ends_after_its_time(path):
    with exclusive(path):
        begun = time.monotonic()
        with pytest.raises(BusyError):
            exclusive(path, wait_seconds=0.2).__enter__()

        assert 0.2 <= time.monotonic() - begun < 5


def test_waiting_ends_on_a_signal(path):
    stop = Stop()
    stop.signal_number = signal.SIGTERM

    with exclusive(path), pytest.raises(Interrupted):
        exclusive(path, wait_seconds=60, stop=stop).__enter__()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param("", None, id="empty"),
        pytest.param("[]", None, id="no record"),
        pytest.param('{"pid": 1}', None, id="keys missing"),
        pytest.param(
            '{"pid": 99999999, "host": "elsewhere", "since": "now", "command": "x"}',
            "process 99999999 on elsewhere since now (x)",
            id="a process of another host cannot be looked for",
        ),
    ],
)
def test_a_holder_is_told_only_from_a_whole_record(tmp_path, content, expected):
    (tmp_path / ".lock").write_text(content, encoding="utf-8")

    assert holder(tmp_path / ".lock") == expected


def test_a_process_of_another_user_is_a_holder(tmp_path, monkeypatch):
    def refuse(_pid: int, _signal: int) -> None:
        raise PermissionError

    record = {"pid": 1, "host": socket.gethostname(), "since": "now", "command": "x"}
    (tmp_path / ".lock").write_text(json.dumps(record), encoding="utf-8")
    monkeypatch.setattr(os, "kill", refuse)

    assert "process 1 on " in (holder(tmp_path / ".lock") or "")


def test_no_lock_file_no_holder(tmp_path):
    assert holder(tmp_path / ".lock") is None


def test_a_place_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")

    with pytest.raises(OutputError, match="cannot be created"):
        exclusive(tmp_path / "file" / ".lock").__enter__()


def test_several_may_share_it_while_nobody_has_it_alone(path, other):
    with pytest.raises(BusyError, match=f"in use by process {other.pid} on "):
        shared(path).__enter__()
    other.send_signal(signal.SIGKILL)
    other.wait()

    with shared(path):
        with shared(path):
            pass
        told = f"in use by process {os.getpid()} on "
        with pytest.raises(BusyError, match=told):
            exclusive(path).__enter__()
    with exclusive(path):
        pass


def test_who_shares_it_waits_for_who_has_it_alone(path):
    first = exclusive(path)
    first.__enter__()
    threading.Timer(0.15, lambda: first.__exit__(None, None, None)).start()

    with shared(path, wait_seconds=20):
        assert holder(path) is not None
