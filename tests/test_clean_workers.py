"""`llmctl clean` in several processes: killed, short of memory and disk, divided among machines."""

from __future__ import annotations

import gzip
import json
import os
import random
import signal
import subprocess
import time

import pyarrow as pa
import pytest
from preloaded_server import Trap
from pyarrow import parquet
from refusals import NO_STORAGE, refused

from llmctl.core.artifacts.corpus import read_corpus

TRY_AGAIN = 75
# What costs little: the processes are what is looked at, not what they do to a text.
PLAIN = (
    *("--set", "clean.profile=none"),
    *("--set", "clean.repair=false"),
    *("--set", "clean.privacy.action=off"),
    *("--set", "clean.duplicates.similarity=null"),
)
UNIT = r"units/\.?\d+-\w+-\d+\.jsonl\.zst$"


def records(num_documents, seed, size=4000):
    draw = random.Random(seed)
    words = [draw.randbytes(3).hex() for _ in range(400)]
    for number in range(num_documents):
        yield {"text": f"第{seed}-{number}篇 " + " ".join(draw.choices(words, k=size // 7))}


def jsonl(*arguments):
    return b"".join(json.dumps(record).encode() + b"\n" for record in records(*arguments))


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    """A folder with input of every sort, and enough for several processes."""
    folder = tmp_path_factory.mktemp("big")
    (folder / "in").mkdir()
    (folder / "in/a.jsonl").write_bytes(jsonl(1100, 1))
    (folder / "in/b.jsonl.gz").write_bytes(gzip.compress(jsonl(1100, 2), 1))
    rows = [record["text"] for record in records(1000, 3)]
    parquet.write_table(pa.table({"text": rows}), folder / "in/c.parquet", row_group_size=100)
    table = "".join(f'{number},"{row["text"]}"\n' for number, row in enumerate(records(100, 4)))
    (folder / "in/d.csv").write_text("id,text\n" + table, encoding="utf-8")
    for number, record in enumerate(records(30, 5)):
        (folder / f"in/诗{number}.md").write_text(record["text"], encoding="utf-8")
    assert sum(path.stat().st_size for path in (folder / "in").iterdir()) > 8_000_000
    return folder


def command(out, *more, workers=2):
    return ("clean", "in", "-o", out, "--workers", str(workers), *PLAIN, *more)


@pytest.fixture(scope="module")
def undisturbed(server, big):
    """The corpus of one process that nothing disturbs."""
    ended = server.run(*command("undisturbed", workers=1), cwd=big)
    assert ended.exit_code == 0, ended.stderr
    return data_of(big / "undisturbed")


def data_of(folder):
    """The bytes of a corpus, without the manifest."""
    return {
        path.name: path.read_bytes() for path in folder.iterdir() if path.name != "manifest.json"
    }


def finished(server, big, out, expected, *more):
    """Go on to the end, which is tidy and gives the bytes of an undisturbed run."""
    ended = server.run(*command(out, *more), cwd=big)
    assert ended.exit_code == 0, ended.stderr
    assert ended.orphans == 0
    assert data_of(big / out) == expected
    assert not list(big.glob(f".work-{out}-*"))
    return True


def children_of(pid):
    """The numbers of a process's children."""
    table = subprocess.run(
        ["ps", "-A", "-o", "ppid=,pid="], capture_output=True, text=True, check=True
    )
    pairs = (map(int, line.split()) for line in table.stdout.splitlines())
    return [child for parent, child in pairs if parent == pid]


def wait_for(found):
    """Wait for something to be there, and return it."""
    deadline = time.monotonic() + 60
    while not (result := found()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return result


def first_unit(big, out):
    return wait_for(lambda: list(big.glob(f".work-{out}-*/units/*.jsonl.zst")))


# ------------------------------------------------------------------ the same bytes


@pytest.mark.parametrize("workers", [2, pytest.param(8, marks=pytest.mark.slow)])
def test_any_number_of_processes_gives_the_same_bytes(server, big, undisturbed, workers):
    out = f"workers-{workers}"

    ended = server.run(*command(out, workers=workers), cwd=big)

    assert ended.exit_code == 0, ended.stderr
    assert data_of(big / out) == undisturbed
    assert len(list(read_corpus(big / out))) == 3330


# ------------------------------------------------------------------ the main process is ended


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGKILL,
        pytest.param(signal.SIGINT, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, marks=pytest.mark.slow),
    ],
)
def test_ended_among_the_units_it_goes_on_to_the_same_bytes(server, big, undisturbed, number):
    out = f"among-units-{int(number)}"
    running = server.start(*command(out), cwd=big)
    first_unit(big, out)
    assert len(children_of(running.pid)) == 2
    sent = time.monotonic()

    ended = running.send(number).wait()

    assert ended.exit_code == -number
    assert time.monotonic() - sent < 3
    assert "Traceback" not in ended.stderr
    assert ended.orphans == 0
    assert finished(server, big, out, undisturbed)


@pytest.mark.parametrize(
    ("operation", "path"),
    [
        pytest.param("remove", r"/scratch$", id="in the decisions"),
        pytest.param("write", r"report\.json", id="in the report", marks=pytest.mark.slow),
        pytest.param(
            "rename", r"manifest\.json$", id="before the corpus is there", marks=pytest.mark.slow
        ),
    ],
)
@pytest.mark.parametrize(
    "number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_ended_later_it_goes_on_to_the_same_bytes(
    server, big, undisturbed, operation, path, number
):
    out = f"later-{int(number)}-{len(path)}"
    trap = Trap(operation=operation, path=path, signal=number)

    ended = server.run(*command(out), cwd=big, trap=trap)

    assert ended.orphans == 0
    if ended.exit_code != 0:  # what is nearly done may be done before the signal is heard
        assert ended.exit_code == -number, ended.stderr
    assert finished(server, big, out, undisturbed)


@pytest.mark.slow
def test_ended_among_the_parts_it_goes_on_to_the_same_bytes(server, big, undisturbed):
    running = server.start(*command("parts"), cwd=big)
    wait_for(lambda: list(big.glob(".work-parts-*/parts/*.part.json")))

    ended = running.send(signal.SIGKILL).wait()

    assert ended.exit_code == -signal.SIGKILL
    assert ended.orphans == 0
    assert finished(server, big, "parts", undisturbed)


@pytest.mark.slow
def test_out_of_time_it_goes_on_later(server, big, undisturbed):
    ended = server.run(*command("slow", "--max-seconds", "0.7"), cwd=big)

    assert refused(ended, TRY_AGAIN, "stopped after --max-seconds 0.7; the same command goes on")
    assert ended.orphans == 0
    assert finished(server, big, "slow", undisturbed)


# ------------------------------------------------------------------ a worker's end


def test_a_worker_killed_by_the_system_is_told(server, big, undisturbed):
    running = server.start(*command("killed"), cwd=big)
    workers = wait_for(lambda: children_of(running.pid))
    first_unit(big, "killed")
    os.kill(workers[0], signal.SIGKILL)

    ended = running.wait()

    assert refused(ended, 1, "killed by the system", "--workers 1", "the same command goes on")
    assert ended.orphans == 0
    assert list(big.glob(".work-killed-*/units/*.jsonl.zst"))
    assert finished(server, big, "killed", undisturbed)


def test_a_full_disk_in_a_worker_is_told(server, big, undisturbed):
    # Units of plain JSON Lines and of tables are written by workers, pieces by the main process.
    few = ("clean", "in/a.jsonl", "in/c.parquet", "-o", "full", "--workers", "2", *PLAIN)

    ended = server.run(*few, cwd=big, max_file_bytes=300_000)

    assert refused(ended, NO_STORAGE, "File too large; free some space and run the same command")
    assert ended.orphans == 0
    again = server.run(*few, cwd=big)
    assert again.exit_code == 0, again.stderr
    assert len(list(read_corpus(big / "full"))) == 2100


# ------------------------------------------------------------------ shards


def test_shards_at_once_and_then_the_rest(server, big, undisturbed):
    shards = [
        server.start(*command("sharded", "--shard", f"{number}/3", workers=1), cwd=big)
        for number in (1, 2, 3)
    ]
    for shard in shards:
        ended = shard.wait()
        assert ended.exit_code == 0, ended.stderr
    units = len(list(big.glob(".work-sharded-*/units/*.jsonl.zst")))
    assert units >= 3

    rest = server.run(*command("sharded"), cwd=big)

    assert rest.exit_code == 0, rest.stderr
    assert data_of(big / "sharded") == undisturbed
    assert not list(big.glob(".work-sharded-*"))
    late = server.run(*command("sharded", "--shard", "1/3", "--json"), cwd=big)
    assert (late.exit_code, json.loads(late.stdout)["counts"]) == (0, {"units": 0})


@pytest.fixture
def small(tmp_path):
    """A folder with the work of a moment."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.jsonl").write_bytes(jsonl(20, 1))
    return tmp_path


def test_the_whole_waits_for_a_shard(server, small):
    trap = Trap(operation="rename", path=UNIT, pause_seconds=20)
    shard = server.start(*command("out", "--shard", "1/2", workers=1), cwd=small, trap=trap)
    shard.until("rename", UNIT)

    whole = server.run(*command("out"), cwd=small)
    same = server.run(*command("out", "--shard", "1/2"), cwd=small)
    other_plan = server.run("clean", "in", "-o", "out", cwd=small)

    for ended in (whole, same, other_plan):
        assert refused(ended, TRY_AGAIN, f"in use by process {shard.pid} on ")
    assert server.run(*command("out", "--shard", "2/2"), cwd=small).exit_code == 0
    assert shard.send(signal.SIGKILL).wait().exit_code == -signal.SIGKILL
    assert server.run(*command("out"), cwd=small).exit_code == 0


def test_a_shard_waits_for_the_whole(server, small):
    trap = Trap(operation="remove", path=r"/scratch$", pause_seconds=1)
    whole = server.start(*command("out"), cwd=small, trap=trap).until("remove", r"/scratch$")

    shard = server.run(*command("out", "--shard", "1/2"), cwd=small)
    waiting = server.run(*command("out", "--shard", "1/2", "--wait", "30"), cwd=small)

    assert refused(shard, TRY_AGAIN, f"in use by process {whole.pid} on ")
    assert waiting.exit_code == 0, waiting.stderr
    assert whole.wait().exit_code == 0
    assert len(list(read_corpus(small / "out"))) == 20
    assert not list(small.glob(".work-*"))
