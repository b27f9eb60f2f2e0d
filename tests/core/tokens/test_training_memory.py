"""Memory of training: the law by hand, the estimate against a count, the refusal, the limits."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from llmctl.core.errors import LlmctlError
from llmctl.core.tokens import training_memory
from llmctl.core.tokens.tokenizer_training import TrainingRequest
from llmctl.core.tokens.training_memory import (
    BYTES_A_PIECE_BYTE,
    LEAST_BYTES,
    available_memory,
    needed_memory,
    require_memory,
)

REQUEST = TrainingRequest(300)


@pytest.mark.parametrize(
    ("part", "whole", "growth", "expected"),
    [
        pytest.param(50, 100, 10, 1000, id="all new, all along"),
        pytest.param(100, 100, 10, 100, id="nothing new"),
        pytest.param(50, 50 * 2**0.5, 100, 500 * 2**0.5, id="by the square root"),
        pytest.param(10, 100, 10, 1000, id="never faster than the text"),
        pytest.param(0, 100, 10, 1000, id="no part to tell from"),
    ],
)
def test_matches_hand_worked_growth(part, whole, growth, expected):
    assert training_memory._extrapolated(part, whole, 2, growth) == pytest.approx(expected)


def test_all_of_a_short_text_is_counted():
    # Its pieces: ab, " cd", 世界; 2 + 3 + 6 bytes.
    needed = needed_memory(["ab cd世界", "世界"], REQUEST)

    assert needed == LEAST_BYTES + 11 * BYTES_A_PIECE_BYTE["bpe"]


@pytest.mark.parametrize("texts", [[], ["", ""]], ids=["no texts", "empty ones"])
def test_nothing_takes_the_least(texts):
    assert needed_memory(texts, REQUEST) == LEAST_BYTES


@pytest.mark.parametrize("kind", ["character", "byte"])
def test_characters_and_bytes_take_little(kind):
    assert needed_memory(["世界 " * 9999], TrainingRequest(300, 2, kind)) == LEAST_BYTES


# Words by a power law, as they are in a language.
DRAW = random.Random(7)
LINES = [f"w{int(DRAW.paretovariate(0.9)):x} 世{n % 977}\n" for n in range(60_000)]


@pytest.mark.parametrize("texts", [["".join(LINES)], LINES], ids=["one text", "many texts"])
def test_a_probe_tells_of_the_whole(texts, monkeypatch):
    whole = needed_memory(texts, REQUEST) - LEAST_BYTES
    monkeypatch.setattr(training_memory, "PROBE_CHARACTERS", 40_000)
    monkeypatch.setattr(training_memory, "PASSAGE_CHARACTERS", 400)
    probe, num_characters = training_memory._probe(texts, REQUEST)

    assert 40_000 <= training_memory._characters(probe) <= 85_000
    assert num_characters == sum(map(len, texts))
    assert needed_memory(texts, REQUEST) - LEAST_BYTES == pytest.approx(whole, rel=0.3)


def test_the_probe_is_from_all_over(monkeypatch):
    monkeypatch.setattr(training_memory, "PROBE_CHARACTERS", 20_000)
    monkeypatch.setattr(training_memory, "PASSAGE_CHARACTERS", 8)
    lines = [f"{number} {number:06}\n" for number in range(60_000)]
    probe, _ = training_memory._probe(lines, REQUEST)
    found = [int(word) for passage in probe for word in "".join(passage).split() if len(word) == 6]
    gaps = [after - before for before, after in pairwise(found)]

    assert max(found) - min(found) > 57_000
    assert max(gaps) <= 1.5 * 60_000 / len(found) + 2


def test_the_probe_is_a_hundredth_of_much_text(monkeypatch):
    monkeypatch.setattr(training_memory, "PROBE_CHARACTERS", 400)
    monkeypatch.setattr(training_memory, "PASSAGE_CHARACTERS", 10)
    probe, num_characters = training_memory._probe(["two words\n" * 100_000], REQUEST)

    assert 0.01 <= training_memory._characters(probe) / num_characters <= 0.021


def test_refuses_what_the_machine_has_not(monkeypatch):
    monkeypatch.setattr(training_memory, "available_memory", lambda: LEAST_BYTES - 1_000_000)
    with pytest.raises(
        LlmctlError,
        match=r"would take about 25 MB of memory, and 24 MB are available; "
        r"lower tokenize\.max_training_bytes",
    ):
        require_memory(list, REQUEST)
    monkeypatch.setattr(training_memory, "available_memory", lambda: LEAST_BYTES)
    require_memory(list, REQUEST)
    monkeypatch.setattr(training_memory, "available_memory", lambda: None)
    require_memory(list, REQUEST)


@pytest.fixture
def system(tmp_path, monkeypatch):
    """Writes the files in which the system tells of memory."""
    monkeypatch.setattr(training_memory, "MEMORY_INFO", tmp_path / "meminfo")
    monkeypatch.setattr(training_memory, "OWN_CGROUP", tmp_path / "own")
    monkeypatch.setattr(training_memory, "CGROUPS", tmp_path / "groups")

    def write(files):
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)

    return write


MACHINE = {"meminfo": "MemTotal: 9000 kB\nMemAvailable:    5000 kB\nSwapFree: 7 kB\n"}
VERSION_2 = {"own": "0::/a/b\n"}
VERSION_1 = {"own": "12:cpu,cpuacct:/x\n4:memory:/docker/1\n"}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        pytest.param({}, None, id="a system that tells nothing"),
        pytest.param(MACHINE, 5_120_000, id="no groups"),
        pytest.param(
            MACHINE
            | VERSION_2
            | {
                "groups/a/b/memory.max": "3000\n",
                "groups/a/b/memory.current": "2000\n",
                "groups/a/b/memory.stat": "anon 5\ninactive_file 300\nfile 800\n",
            },
            1300,
            id="a group, whose cache gives way",
        ),
        pytest.param(
            MACHINE
            | VERSION_2
            | {
                "groups/a/b/memory.max": "max\n",
                "groups/a/b/memory.current": "2000\n",
                "groups/a/memory.max": "2500\n",
                "groups/a/memory.current": "2400\n",
            },
            100,
            id="the group above",
        ),
        pytest.param(
            MACHINE
            | {"own": "0::/\n", "groups/memory.max": "700\n", "groups/memory.current": "100\n"},
            600,
            id="the root, as within a container",
        ),
        pytest.param(
            MACHINE
            | VERSION_1
            | {
                "groups/memory/memory.limit_in_bytes": "4000\n",
                "groups/memory/memory.usage_in_bytes": "1000\n",
                "groups/memory/memory.stat": "inactive_file 9\ntotal_inactive_file 50\n",
            },
            3050,
            id="version 1, within a container",
        ),
        pytest.param(
            MACHINE
            | VERSION_1
            | {
                "groups/memory/docker/1/memory.limit_in_bytes": f"{2**63 - 4096}\n",
                "groups/memory/docker/1/memory.usage_in_bytes": "1000\n",
            },
            5_120_000,
            id="version 1 without a limit",
        ),
    ],
)
def test_the_least_of_what_is_left_is_available(system, files, expected):
    system(files)

    assert available_memory() == expected


def test_this_machine_has_some():
    available = available_memory()

    assert available is None or available > 10_000_000
