"""One writer at a time, and readers that wait for nobody."""

from __future__ import annotations

import json
import shutil
import signal
import time

import pytest
from preloaded_server import Trap
from run_contents import data_of, leftovers

RUN = "runs/tiny"
LONG = ("--set", "train.steps=1000000", "--set", "train.num_samples=0")
LONG += ("--set", "train.num_validations=0", "--set", "train.checkpoint_every=60s")


@pytest.fixture
def holder(server, tiny):
    """A command that trains for hours beside the finished model of the run."""
    command = server.start("train", "tiny.yaml", *LONG, cwd=tiny)
    command.until("rename", r"training/decisions\.json$")
    yield command
    command.send(signal.SIGKILL).wait()


def test_second_writer_is_told_who_works(server, tiny, holder):
    for verb in ("clean", "train", "eval"):
        ended = server.run(verb, "tiny.yaml", cwd=tiny)

        assert ended.exit_code == 75
        assert ended.stdout == ""
        (message,) = ended.stderr.splitlines()
        assert f"{RUN}: in use by process {holder.pid} on " in message
        assert "(llmctl train tiny.yaml --set train.steps=1000000" in message
        assert message.endswith("try again later")
        assert ended.seconds < 2


def test_readers_work_meanwhile(server, tiny, holder):
    overview = server.run("status", cwd=tiny)
    states = server.run("status", "tiny.yaml", "--json", cwd=tiny)
    text = server.run(
        "generate", "The world", "-m", "tiny", "--max-tokens", "3", "--seed", "1", cwd=tiny
    )
    verified = server.run("verify", RUN, cwd=tiny)

    for ended in (overview, states, text, verified):
        assert ended.exit_code == 0, ended.stderr
        assert ended.seconds < 3
    found = json.loads(states.stdout)
    assert f"process {holder.pid} on " in found["holder"]
    assert found["train"]["status"] == "up to date"  # the older model is still in its place
    assert overview.stdout.splitlines()[1].endswith("in use")
    assert len(text.stdout) > 1
    assert f"{RUN}/model: " in verified.stdout


def test_who_waits_is_served_when_the_holder_ends(server, tiny, holder):
    waiter = server.start("clean", "tiny.yaml", "--wait", "30", cwd=tiny)
    time.sleep(0.3)
    assert not waiter.operations()

    holder.send(signal.SIGTERM)

    ended = waiter.wait()
    assert ended.exit_code == 0, ended.stderr
    assert ended.seconds >= 0.3


def test_who_waits_in_vain_is_told_so(server, tiny, holder):
    ended = server.run("clean", "tiny.yaml", "--wait", "0.2", cwd=tiny)

    assert ended.exit_code == 75
    assert f"process {holder.pid}" in ended.stderr
    assert 0.2 <= ended.seconds < 3


def test_waiting_ends_by_a_signal(server, tiny, holder):
    waiter = server.start("clean", "tiny.yaml", "--wait", "60", cwd=tiny)
    time.sleep(0.3)

    ended = waiter.send(signal.SIGTERM).wait()

    assert ended.exit_code == -signal.SIGTERM
    assert ended.seconds < 3


def test_killed_holder_frees_the_run(server, tiny, holder):
    holder.send(signal.SIGKILL).wait()

    ended = server.run("clean", "tiny.yaml", cwd=tiny)

    assert ended.exit_code == 0, ended.stderr
    status = server.run("status", "tiny.yaml", "--json", cwd=tiny)
    assert json.loads(status.stdout)["holder"] is None


def test_stopped_holder_still_holds(server, tiny):
    """A suspended process has not gone: what it will write when it wakes must have its place."""
    trap = Trap(operation="rename", path=r"recipe\.resolved", signal=signal.SIGSTOP)
    change = ("--set", "tokenize.vocab_size=290")
    command = server.start("tokenize", "tiny.yaml", *change, cwd=tiny, trap=trap)
    command.until("rename", r"recipe\.resolved")

    assert server.run("clean", "tiny.yaml", cwd=tiny).exit_code == 75

    assert command.send(signal.SIGCONT).wait().exit_code == 0


def test_four_racers_make_one_output(server, fresh, finished_folder):
    racers = [server.start("tokenize", "tiny.yaml", cwd=fresh) for _ in range(4)]

    codes = [racer.wait().exit_code for racer in racers]

    assert set(codes) <= {0, 75}
    assert 0 in codes
    ended = server.run("train", "tiny.yaml", cwd=fresh)
    assert ended.exit_code == 0, ended.stderr
    assert "tokenize: starting" not in ended.stderr
    made, expected = data_of(fresh / RUN), data_of(finished_folder / RUN)
    # The other run was made in this process, with another number of threads.
    same = [name for name in expected if not name.startswith("model/")]
    assert {name: made[name] for name in same} == {name: expected[name] for name in same}
    assert leftovers(fresh / RUN) == []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_many_races(server, fresh, tmp_path):
    first: dict[str, str] = {}
    for number in range(10):
        folder = tmp_path / f"race-{number}"
        folder.mkdir()
        for name in ("tiny.yaml", "docs.jsonl"):
            shutil.copy(fresh / name, folder)
        command = ("eval", "tiny.yaml", "--set", "eval.compression=false")
        racers = [server.start(*command, cwd=folder) for _ in range(4)]
        waiter = server.start(*command, "--wait", "60", cwd=folder)

        endings = [racer.wait() for racer in racers]

        assert {ended.exit_code for ended in endings} <= {0, 75}
        assert waiter.wait().exit_code == 0
        started = [ended.stderr.count("train: starting") for ended in endings]
        assert sum(started) <= 1
        assert leftovers(folder / RUN) == []
        first = first or data_of(folder / RUN)
        assert data_of(folder / RUN) == first


def test_two_at_one_output_folder(server, fresh):
    trap = Trap(operation="rename", path=r"units/.*\.zst", signal=signal.SIGSTOP)
    command = server.start("clean", "docs.jsonl", "-o", "out", cwd=fresh, trap=trap)
    command.until("rename", r"units/.*\.zst")

    ended = server.run("clean", "docs.jsonl", "-o", "out", cwd=fresh)

    assert ended.exit_code == 75
    assert f"in use by process {command.pid} on " in ended.stderr
    assert command.send(signal.SIGCONT).wait().exit_code == 0
    assert server.run("verify", "out", cwd=fresh).exit_code == 0
