"""A disk that fills up: 74, one plain message, nothing lost, and the same command goes on."""

from __future__ import annotations

import contextlib
import errno
import itertools
import shutil
import subprocess

import pytest
from preloaded_server import Trap
from run_contents import data_of, leftovers, weights_of

RUN = "runs/tiny"
EVAL = ("eval", "tiny.yaml", "--set", "eval.compression=false")
CHANGED = (*EVAL, "--set", "tokenize.vocab_size=290")
# What a full disk refuses; it can still remove.
CALLS = "open|os.mkdir|os.rename|os.truncate"
OPERATIONS = "write|fsync|rename"


def slow(value):
    """A parameter for `make test-slow`."""
    return pytest.param(value, marks=pytest.mark.slow)


@pytest.fixture(scope="module")
def expected(server, finished_folder, tmp_path_factory):
    """The data of a changed run that had all the space it wanted."""
    folder = shutil.copytree(finished_folder, tmp_path_factory.mktemp("changed") / "run")
    return finish(server, folder)


@pytest.fixture
def folder(finished_folder, tmp_path):
    """A copy of a finished run."""
    return shutil.copytree(finished_folder, tmp_path / "run")


def finish(server, folder):
    """Run the changed recipe to its end, with all the space it wants."""
    ended = server.run(*CHANGED, cwd=folder)
    assert ended.exit_code == 0, ended.stderr
    assert leftovers(folder / RUN) == [path.name for path in (folder / RUN).glob("model-*")]
    return data_of(folder / RUN)


def refused(ended, old_weights, folder):
    """Whether there was no space; if so, it was said plainly and nothing is lost."""
    assert "Traceback" not in ended.stderr, ended.stderr
    assert ended.orphans == 0
    assert old_weights & weights_of(folder / RUN)
    if ended.exit_code == 0:
        return False
    assert ended.exit_code == 74, ended.stderr
    messages = [line for line in ended.stderr.splitlines() if line.startswith("llmctl: ")]
    assert messages == ended.stderr.splitlines()[-1:]
    assert "free some space and run the same command again" in messages[0]
    return True


def fill_at(server, folder, number, *, calls):
    """Let the disk be full from the n-th write on."""
    trap = Trap(number, operation=CALLS if calls else OPERATIONS, error=errno.ENOSPC, calls=calls)
    return server.run(*CHANGED, cwd=folder, trap=trap)


@pytest.mark.parametrize("number", [slow(12), 70])
def test_disk_full_from_some_moment_on(server, folder, expected, number):
    old_weights = weights_of(folder / RUN)

    assert refused(fill_at(server, folder, number, calls=True), old_weights, folder)

    assert server.run("verify", RUN, cwd=folder).exit_code == 0
    assert finish(server, folder) == expected


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("calls", [False, True], ids=["after an operation", "before a call"])
def test_disk_full_from_any_moment_on(server, finished_folder, expected, tmp_path, calls):
    old_weights = weights_of(finished_folder / RUN)
    num_refused = 0
    for number in itertools.count(1):
        folder = shutil.copytree(finished_folder, tmp_path / f"{number}")
        ended = fill_at(server, folder, number, calls=calls)
        if not refused(ended, old_weights, folder):
            # A cache that cannot be kept is no error; it is the last thing written.
            break
        num_refused += 1
        assert finish(server, folder) == expected, number
        shutil.rmtree(folder)
    print(f"{num_refused} moments")
    assert num_refused > 100


@pytest.mark.parametrize("max_file_bytes", [slow(400), 6_000])
def test_file_size_limit(server, folder, expected, max_file_bytes):
    old_weights = weights_of(folder / RUN)

    ended = server.run(*CHANGED, cwd=folder, max_file_bytes=max_file_bytes)

    assert refused(ended, old_weights, folder)
    assert finish(server, folder) == expected


@contextlib.contextmanager
def small_disk(mount_point, num_kilobytes):
    """A disk of its own, where this machine lets us have one; yields how to enlarge it."""
    mount_point.mkdir()
    options = ["mount", "-t", "tmpfs", "-o", f"size={num_kilobytes}k", "tmpfs", str(mount_point)]
    try:
        subprocess.run(options, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no right to mount a small disk")

    def change(option: str) -> None:
        command = ["mount", "-o", f"remount,{option}", str(mount_point)]
        subprocess.run(command, check=True, capture_output=True)

    try:
        yield change
    finally:
        subprocess.run(["umount", str(mount_point)], check=True)


@pytest.mark.parametrize("spare_kilobytes", [slow(0), 40, slow(130)])
def test_small_disk(server, finished_folder, expected, tmp_path, spare_kilobytes):
    size = subprocess.run(["du", "-sk", finished_folder], capture_output=True, check=True)
    num_kilobytes = int(size.stdout.split()[0]) + 32 + spare_kilobytes
    with small_disk(tmp_path / "disk", num_kilobytes) as change:
        folder = shutil.copytree(finished_folder, tmp_path / "disk/run")
        old_weights = weights_of(folder / RUN)

        assert refused(server.run(*CHANGED, cwd=folder), old_weights, folder)

        assert server.run("verify", RUN, cwd=folder).exit_code == 0
        change("size=50M")
        assert finish(server, folder) == expected


def test_disk_that_can_only_be_read(server, finished_folder, tmp_path):
    with small_disk(tmp_path / "disk", 50_000) as change:
        folder = shutil.copytree(finished_folder, tmp_path / "disk/run")
        change("ro")

        for command in (CHANGED, ("clean", "docs.jsonl", "-o", "out")):
            ended = server.run(*command, cwd=folder)

            assert ended.exit_code == 73
            (message,) = ended.stderr.splitlines()
            assert "cannot be created: Read-only file system" in message
        for command in (("status", "tiny.yaml"), ("verify", RUN), ("generate", "x", "-m", "tiny")):
            assert server.run(*command, cwd=folder).exit_code == 0
