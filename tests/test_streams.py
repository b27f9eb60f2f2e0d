"""Standard streams that are closed, full, or read by somebody who has had enough."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from preloaded_server import CLOSED
from refusals import BAD_DATA, NO_INPUT, NO_STORAGE

RUN = "runs/tiny"


def shell(line, **more):
    """A line of bash, in which $llmctl is the command."""
    environment = {**os.environ, "llmctl": f"{sys.executable} -m llmctl"}
    command = ["bash", "-c", line]
    return subprocess.run(command, capture_output=True, text=True, env=environment, **more)


# Ten characters and, on the next line, how the writer ended.
HEAD = "| head -c 10; status=${PIPESTATUS[0]}; echo; echo $status"


def test_reader_that_has_read_enough(tmp_path):
    ended = shell(f"$llmctl schema {HEAD}", cwd=tmp_path)

    first, status, _ = ended.stdout.rsplit("\n", 2)
    assert len(first) == 10
    assert status in ("0", "141")
    assert ended.stderr == ""


def test_reader_that_has_read_enough_of_a_text(server, tiny):
    os.mkfifo(tiny / "pipe")
    command = ("generate", "The world is", "-m", "tiny", "--max-tokens", "5000", "--seed", "1")
    writer = server.start(*command, cwd=tiny, stdout=str(tiny / "pipe"))
    with (tiny / "pipe").open("rb") as pipe:
        assert len(pipe.read(10)) == 10

    ended = writer.wait()

    assert ended.exit_code == -signal.SIGPIPE  # 141 in a shell
    assert ended.stderr == "model: runs/tiny/model\n"


@pytest.mark.slow
def test_reader_that_has_read_enough_of_a_text_in_a_shell(tiny):
    generate = "$llmctl generate 'The world is' -m tiny --max-tokens 5000"

    ended = shell(f"{generate} {HEAD}", cwd=tiny)

    assert ended.stdout.splitlines()[-1] == "141"
    assert ended.stderr == ""


def test_closed_streams(server, fresh):
    """A file of ours must not take the number of a closed stream, and get its output."""
    closed = {"stdin": CLOSED, "stdout": CLOSED, "stderr": CLOSED}

    plain = ("tiny.yaml", "--set", "eval.compression=false")

    assert server.run("eval", *plain, cwd=fresh, **closed).exit_code == 0

    assert server.run("verify", RUN, cwd=fresh).exit_code == 0
    for command, exit_code in [
        (("status",), 0),
        (("status", "tiny.yaml"), 0),
        (("run", *plain), 0),
        (("generate", "x", "-m", "tiny"), 0),
        (("generate", "x", "-m", "nowhere"), NO_INPUT),
        (("generate",), 2),
        (("clean", "-", "-o", "out"), BAD_DATA),
    ]:
        assert server.run(*command, cwd=fresh, **closed).exit_code == exit_code, command


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")  # noqa: PTH110
def test_output_onto_a_full_disk(tmp_path):
    lines = {
        "$llmctl recipes quickstart >/dev/full": (NO_STORAGE, "llmctl: No space left on device\n"),
        "$llmctl recipes nothing 2>/dev/full": (NO_INPUT, ""),
    }
    for line, expected in lines.items():
        ended = shell(line, cwd=tmp_path)

        assert (ended.returncode, ended.stderr) == expected


def test_interrupted_text_ends_by_the_signal(server, tiny):
    """A shell's loop around the command ends too, and nobody reads a traceback."""
    os.mkfifo(tiny / "pipe")
    command = ("generate", "The world is", "-m", "tiny", "--max-tokens", "5000", "--seed", "1")
    writer = server.start(*command, cwd=tiny, stdout=str(tiny / "pipe"))
    with (tiny / "pipe").open("rb") as pipe:
        assert pipe.read(1)  # it is writing, and would go on when the pipe is full
        ended = writer.send(signal.SIGINT).wait()

    assert ended.exit_code == -signal.SIGINT
    assert ended.stderr == "model: runs/tiny/model\n"
