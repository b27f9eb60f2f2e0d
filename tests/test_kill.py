"""A killed run, started again, gives the bytes of a run never disturbed, and leaves nothing.

Each command here is a fork of one preloaded process: see `preloaded_server`.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import shutil
import signal
import subprocess
import time

import pytest
from preloaded_server import Trap
from run_contents import data_of, leftovers, weights_of

RUN = "runs/tiny"
EVAL = ("eval", "tiny.yaml")
CHANGED = (*EVAL, "--set", "tokenize.vocab_size=290")


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A folder with a recipe of few operations, and its documents."""
    from conftest import write_tiny_recipe

    folder = tmp_path_factory.mktemp("start")
    recipe = write_tiny_recipe(folder)
    text = recipe.read_text(encoding="utf-8")
    text = text.replace("steps: 6", "steps: 4").replace("eval:", "eval:\n  compression: false")
    recipe.write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def undisturbed(server, start, tmp_path_factory):
    """The same folder after a run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed") / "done"
    shutil.copytree(start, folder)
    finish(server, folder)
    return folder


@pytest.fixture
def folder(start, tmp_path):
    """A copy of the beginning."""
    return shutil.copytree(start, tmp_path / "run")


@pytest.fixture
def finished(undisturbed, tmp_path):
    """A copy of the end."""
    return shutil.copytree(undisturbed, tmp_path / "run")


def finish(server, folder, command=EVAL):
    """Run to the end, which is a quiet and tidy one."""
    ended = server.run(*command, cwd=folder)
    assert ended.exit_code == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    assert "warning" not in ended.stderr
    assert ended.orphans == 0
    verified = server.run("verify", RUN, cwd=folder)
    assert verified.exit_code == 0, verified.stderr
    aside = [path.name for path in (folder / RUN).glob("model-*")]
    assert leftovers(folder / RUN) == aside
    return data_of(folder / RUN)


def kill(server, folder, command=EVAL, **trap):
    """Run until the trap kills it; False where it came to its end."""
    ended = server.run(*command, cwd=folder, trap=Trap(**trap))
    if ended.exit_code == 0:
        return False
    assert ended.exit_code == -signal.SIGKILL, ended.stderr
    assert ended.orphans == 0
    return True


def kill_again_and_again(server, folder, command=EVAL, *, stride=5, calls=False):
    """Kill it after 5 operations, then after 10 more, 15 more … until it comes to its end."""
    for num_kills in itertools.count():
        if not kill(server, folder, command, number=(num_kills + 1) * stride, calls=calls):
            return num_kills
    raise AssertionError


def set_train(folder, **values):
    """Change keys of the recipe's section `train`."""
    recipe = folder / "tiny.yaml"
    kept = [
        line
        for line in recipe.read_text(encoding="utf-8").splitlines()
        if line.strip().partition(":")[0] not in values
    ]
    added = [f"  {name}: {value}" for name, value in values.items() if value is not None]
    at = kept.index("train:") + 1
    recipe.write_text("\n".join([*kept[:at], *added, *kept[at:]]) + "\n", encoding="utf-8")


def child_of(command):
    """Wait until the command has a child process, and return its number."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        table = subprocess.run(
            ["ps", "-A", "-o", "ppid=,pid="], capture_output=True, text=True, check=True
        )
        for line in table.stdout.splitlines():
            parent, child = map(int, line.split())
            if parent == command.pid:
                return child
    raise TimeoutError("no child process")


# ------------------------------------------------------------------ at each operation


def test_killed_again_and_again(server, folder, undisturbed):
    num_kills = kill_again_and_again(server, folder)

    assert num_kills >= 5
    assert finish(server, folder) == data_of(undisturbed / RUN)


def test_killed_at_chosen_points_of_a_replacement(server, finished, undisturbed, tmp_path):
    """Each restart goes on from where the one before was killed, to the next point."""
    old_weights = weights_of(undisturbed / RUN)
    points = [
        ("rename", r"result/manifest\.json$"),  # all is ready, nothing in its place
        ("rename", r"\.old-shards$"),  # between the two renames of a swap
        ("rename", r"training/decisions\.json$"),
        ("rename", r"step-00000003$"),  # before the oldest checkpoint goes
        ("rename", r"\.work-model-\w+/result/manifest\.json$"),
        ("rename", r"/model-\w{8}$"),  # the old model stepped aside, the new is not there yet
        ("rename", r"tiny/model$"),  # published, and the training is still there
        ("rename", r"tiny/report$"),
    ]
    for operation, path in points:
        assert kill(server, finished, CHANGED, operation=operation, path=path), path
        assert old_weights & weights_of(finished / RUN)

    comparison = shutil.copytree(undisturbed, tmp_path / "comparison")
    assert finish(server, finished, CHANGED) == finish(server, comparison, CHANGED)
    assert finish(server, finished) == data_of(undisturbed / RUN)  # the old one comes back


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("calls", [False, True], ids=["after each operation", "before each call"])
def test_killed_anywhere(server, start, undisturbed, tmp_path, calls):
    expected = data_of(undisturbed / RUN)
    for number in itertools.count(1):
        folder = shutil.copytree(start, tmp_path / f"{number}")
        if not kill(server, folder, number=number, calls=calls):
            break
        assert finish(server, folder) == expected, number
        shutil.rmtree(folder)
    print(f"{number - 1} kills")
    assert number > 150


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("calls", [False, True], ids=["after each operation", "before each call"])
def test_replacement_killed_anywhere(server, undisturbed, tmp_path, calls):
    old_weights = weights_of(undisturbed / RUN)
    comparison = shutil.copytree(undisturbed, tmp_path / "comparison")
    expected = finish(server, comparison, CHANGED)
    for number in itertools.count(1):
        folder = shutil.copytree(undisturbed, tmp_path / f"{number}")
        if not kill(server, folder, CHANGED, number=number, calls=calls):
            break
        assert old_weights & weights_of(folder / RUN), number
        assert finish(server, folder, CHANGED) == expected, number
        assert old_weights & weights_of(folder / RUN), number
        shutil.rmtree(folder)
    print(f"{number - 1} kills")
    assert number > 120


# ------------------------------------------------------------------ at random moments

# For each of the five stages of a `run`, what is done last before its work begins.
BEGINNINGS = {
    "clean": r"\.work-corpus-\w+/result$",
    "tokenize": r"\.work-shards-\w+/result$",
    "train": r"\.work-model-\w+/result$",
    "eval": r"\.work-report-\w+/result$",
    "generate": r"\.work-report-\w{8}$",
}
WHOLE = ("run", "tiny.yaml", "--set", "eval.compression=true", "--set", "generate.max_tokens=60")


@pytest.fixture(scope="module")
def spans(server, start, tmp_path_factory):
    """How many seconds each of the five stages takes."""
    folder = shutil.copytree(start, tmp_path_factory.mktemp("spans") / "run")
    ended = server.run(*WHOLE, cwd=folder)
    assert ended.exit_code == 0, ended.stderr
    begun = [
        next(done.seconds for done in ended.operations if re.search(path, done.path))
        for path in BEGINNINGS.values()
    ]
    ends = [*begun[1:], ended.seconds]
    return {stage: end - since for stage, since, end in zip(BEGINNINGS, begun, ends, strict=True)}


def kill_inside(server, folder, stage, seconds):
    """Kill a whole run so long after a stage began; False where it came to its end."""
    command = server.start(*WHOLE, cwd=folder).until("remove", BEGINNINGS[stage])
    time.sleep(seconds)
    ended = command.send(signal.SIGKILL).wait()
    assert ended.orphans == 0
    return ended.exit_code == -signal.SIGKILL


def test_killed_at_a_random_moment_of_each_stage(server, folder, undisturbed, spans):
    draw = random.Random(1)
    stages = ["clean", "tokenize", "train", "eval"]

    kills = [kill_inside(server, folder, stage, draw.random() * spans[stage]) for stage in stages]

    assert sum(kills) >= 3  # on a busy machine a stage may be over before its moment comes
    assert finish(server, folder, WHOLE) == data_of(undisturbed / RUN)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_at_twenty_random_moments(server, start, undisturbed, spans, tmp_path):
    draw = random.Random(2)
    kills = dict.fromkeys(BEGINNINGS, 0)
    for number in itertools.count():
        stage = min(kills, key=kills.__getitem__)
        folder = shutil.copytree(start, tmp_path / f"{number}")
        kills[stage] += kill_inside(server, folder, stage, draw.random() * spans[stage])
        assert finish(server, folder, WHOLE) == data_of(undisturbed / RUN)
        if sum(kills.values()) == 20:
            break
    assert number < 40
    assert set(kills.values()) == {4}


# ------------------------------------------------------------------ what the machine decided


def test_budget_settled_before_the_kill_is_obeyed_after_it(server, folder, tmp_path):
    decided = 0
    for budget in ("0.2s", "0.5s", "1s", "2s", "5s"):
        set_train(folder, steps=None, budget=budget)
        assert kill(server, folder, operation="rename", path="training/decisions")
        decided = json.loads((folder / RUN / "training/decisions.json").read_text())["num_steps"]
        if decided > 4:  # the fewest there can be, on a busy machine: settled by no measurement
            break
    other = shutil.copytree(folder, tmp_path / "other")

    expected = finish(server, other)

    assert kill_again_and_again(server, folder, stride=20) >= 2
    assert finish(server, folder) == expected
    manifest = json.loads((folder / RUN / "model/manifest.json").read_text())
    assert manifest["counts"]["steps"] == decided > 4


@pytest.mark.parametrize("every", ["0s", pytest.param("60s", marks=pytest.mark.slow)])
def test_early_stopping_is_the_same_with_kills(server, folder, tmp_path, every):
    set_train(
        folder,
        steps=12,
        num_validations=12,
        num_samples=0,
        patience=2,
        learning_rate=1.0,
        embedding_learning_rate=3.0,
        checkpoint_every=every,
    )
    other = shutil.copytree(folder, tmp_path / "other")
    expected = finish(server, other)
    counts = json.loads((other / RUN / "model/manifest.json").read_text())["counts"]
    assert 4 < counts["steps"] < 12  # it did stop early

    assert kill_again_and_again(server, folder, stride=40) >= 2
    assert finish(server, folder) == expected


def test_checkpoints_of_a_lost_training_are_not_taken_for_this_one(server, folder, undisturbed):
    """Without its decisions nobody can tell whose a checkpoint is."""
    set_train(folder, learning_rate=0.5)
    assert kill(server, folder, operation="rename", path="step-00000003$")
    (folder / RUN / "training/decisions.json").unlink()
    set_train(folder, learning_rate=None)

    assert finish(server, folder) == data_of(undisturbed / RUN)


# ------------------------------------------------------------------ asked to end


def test_signals_during_training_end_in_good_order(server, folder, undisturbed):
    for step, number in enumerate((signal.SIGTERM, signal.SIGHUP, signal.SIGINT), start=1):
        trap = Trap(operation="rename", path=f"step-0000000{step}$", signal=number)
        ended = server.run(*EVAL, cwd=folder, trap=trap)

        assert ended.exit_code == -number
        assert ended.seconds - ended.operations[-1].seconds < 3
        assert ended.stderr.splitlines()[-1] == (
            f"llmctl: stopped by {number.name}; the same command goes on from here"
        )
        assert "Traceback" not in ended.stderr
        assert (folder / RUN / f"training/step-0000000{step}").is_dir()
    assert finish(server, folder) == data_of(undisturbed / RUN)


def test_signal_during_a_long_step_drops_the_step(server, folder):
    set_train(folder, tokens_per_step=4096, num_validations=0, num_samples=0)
    wide = (
        "--set",
        "model.width=256",
        "--set",
        "model.mlp_width=1024",
        "--set",
        "model.num_layers=6",
    )
    command = server.start(*EVAL, *wide, cwd=folder).until("rename", r"training/decisions\.json$")
    time.sleep(0.1)  # it is at the first step
    sent = time.monotonic()

    ended = command.send(signal.SIGTERM).wait()

    assert ended.exit_code == -signal.SIGTERM
    assert time.monotonic() - sent < 3
    assert (folder / RUN / "training/step-00000000").is_dir()
    assert not (folder / RUN / "training/metrics.jsonl").exists()


def test_signal_during_tokenizer_training_ends_the_child(server, folder, tmp_path):
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=9)) for _ in range(12_000)]
    texts = [" ".join(words[start : start + 200]) for start in range(0, len(words), 200)]
    lines = [json.dumps({"text": text}) for text in texts]
    (folder / "docs.jsonl").write_text("\n".join(lines), encoding="utf-8")
    long = ("tokenize", "tiny.yaml", "--set", "tokenize.vocab_size=20000")
    long += ("--set", "tokenize.min_frequency=1")
    command = server.start(*long, cwd=folder)
    child = child_of(command)
    time.sleep(0.2)
    sent = time.monotonic()

    ended = command.send(signal.SIGTERM).wait()

    assert ended.exit_code == -signal.SIGTERM
    assert time.monotonic() - sent < 3
    assert ended.orphans == 0
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
    assert not list((folder / RUN).glob(".work-shards-*/units/tokenizer-largest.json"))
    assert server.run(*long, cwd=folder).exit_code == 0


def test_second_signal_ends_at_once(server, folder):
    trap = Trap(operation="rename", path="step-00000001$", pause_seconds=30)
    command = server.start(*EVAL, cwd=folder, trap=trap).until("rename", "step-00000001$")
    command.send(signal.SIGTERM)
    time.sleep(0.3)
    sent = time.monotonic()

    ended = command.send(signal.SIGTERM).wait()

    assert ended.exit_code == -signal.SIGTERM
    assert time.monotonic() - sent < 1


@pytest.mark.slow
def test_work_that_hears_nothing_is_ended_by_the_watchdog(server, folder):
    trap = Trap(operation="rename", path="step-00000001$", pause_seconds=60)
    command = server.start(*EVAL, cwd=folder, trap=trap).until("rename", "step-00000001$")
    sent = time.monotonic()

    ended = command.send(signal.SIGTERM).wait()

    assert ended.exit_code in (128 + signal.SIGTERM, -signal.SIGTERM)
    assert 19 < time.monotonic() - sent < 25


def test_time_limit_ends_with_75_and_the_same_command_goes_on(server, folder, undisturbed):
    num_stops = 0
    for limit in ("0.3", "0.1", "0.03"):  # a fast machine needs no 0.3 s for all of it
        shutil.rmtree(folder / "runs", ignore_errors=True)
        limited = (*EVAL, "--max-seconds", limit)
        ended = server.run(*limited, cwd=folder)
        if ended.exit_code == 0:
            continue
        while ended.exit_code != 0:
            num_stops += 1
            assert ended.exit_code == 75
            assert f"stopped after --max-seconds {limit}; the same command goes on" in ended.stderr
            ended = server.run(*limited, cwd=folder)
        break

    assert num_stops >= 1
    assert finish(server, folder) == data_of(undisturbed / RUN)
