"""decisions: worked by hand, read back as written, refused where they cannot be obeyed."""

from __future__ import annotations

import time

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from llmctl.core.errors import DataError, DeviceError
from llmctl.core.recipe import ModelShape, TrainPlan
from llmctl.core.training.decisions import (
    Decisions,
    micro_batch_sequences,
    read_decisions,
    sequences_per_step,
    steps_within,
)

DECISIONS = Decisions(
    key="ab",
    plan={"名字": "值"},
    num_steps=6,
    sequences_per_step=4,
    micro_batch_sequences=2,
    device="cpu",
    dtype="float32",
    num_threads=3,
)


def test_are_read_back_as_written(tmp_path, operations):
    DECISIONS.write(tmp_path / "decisions.json")

    assert read_decisions(tmp_path / "decisions.json") == DECISIONS
    assert [operation for operation, _ in operations] == ["write", "fsync", "rename", "fsync"]


def test_none_were_made(tmp_path):
    assert read_decisions(tmp_path / "decisions.json") is None


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("", id="empty"),
        pytest.param("{}", id="keys missing"),
        pytest.param(DECISIONS.model_dump_json()[:-1] + ', "more": 1}', id="a key too many"),
    ],
)
def test_damaged_ones_are_refused(tmp_path, content):
    (tmp_path / "decisions.json").write_text(content, encoding="utf-8")

    with pytest.raises(DataError, match=r"decisions.json: damaged: .*; begin anew with --restart"):
        read_decisions(tmp_path / "decisions.json")


@pytest.fixture
def threads(monkeypatch):
    found: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", found.append)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    return found


def test_the_number_of_threads_is_obeyed(threads):
    DECISIONS.apply()

    assert threads == [3]


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_device_that_is_gone_is_refused(threads, device):
    with pytest.raises(DeviceError, match=f"began on {device}, which is not available") as raised:
        DECISIONS.model_copy(update={"device": device}).apply()

    assert raised.value.exit_code == 69
    assert threads == []


def test_a_device_that_is_here_is_taken(threads, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)

    DECISIONS.model_copy(update={"device": "cuda"}).apply()

    assert threads == [3]


@pytest.mark.parametrize(
    ("tokens", "context", "expected"),
    [
        pytest.param(8192, 256, 32, id="divides"),
        pytest.param(100, 64, 2, id="the nearest number of sequences"),
        pytest.param(10, 256, 1, id="at least one"),
    ],
)
def test_sequences_of_a_step_by_hand(tokens, context, expected):
    plan, shape = TrainPlan(tokens_per_step=tokens), ModelShape(context_tokens=context)

    assert sequences_per_step(plan, shape) == expected


@pytest.mark.parametrize(
    ("sequences", "context", "device", "expected"),
    [
        pytest.param(32, 256, "cpu", 16, id="16 x 256 are 4,096 tokens"),
        pytest.param(30, 256, "cpu", 15, id="a divisor, not 16"),
        pytest.param(7, 1024, "cpu", 1, id="a prime number above the share"),
        pytest.param(4, 8192, "cpu", 1, id="a context above the share"),
        pytest.param(32, 256, "cuda", 32, id="a GPU takes them all"),
    ],
)
def test_micro_batches_by_hand(sequences, context, device, expected):
    assert micro_batch_sequences(sequences, context, device) == expected


@given(sequences=st.integers(1, 300), context=st.integers(2, 10_000))
def test_micro_batches_cut_a_step_evenly(sequences, context):
    size = micro_batch_sequences(sequences, context, "cpu")

    assert sequences % size == 0
    assert size == 1 or size * context <= 4096


class Clock:
    """A clock that only the steps move on."""

    def __init__(self, *step_seconds: float) -> None:
        self.now = 0.0
        self.step_seconds = list(step_seconds)
        self.steps: list[int] = []

    def run_step(self, step: int) -> None:
        self.steps.append(step)
        self.now += self.step_seconds.pop(0)


@pytest.mark.parametrize(
    ("step_seconds", "overhead", "expected"),
    [
        pytest.param((3, 1, 1, 1), 0, 94, id="100 s less the 6 measured, at 1 s a step"),
        pytest.param((3, 1, 2, 50), 10, 17, id="the median of 1, 2 and 50; 10 s set aside"),
        pytest.param((3, 60, 60, 60), 0, 4, id="a machine too slow still makes four steps"),
    ],
)
def test_steps_within_a_budget_by_hand(monkeypatch, step_seconds, overhead, expected):
    clock = Clock(*step_seconds)
    monkeypatch.setattr(time, "monotonic", lambda: clock.now)

    found = steps_within(TrainPlan(budget="100s"), clock.run_step, overhead)

    assert found == expected
    assert clock.steps == [0, 1, 2, 3]


def test_given_steps_are_taken_without_measuring():
    clock = Clock()

    assert steps_within(TrainPlan(steps=7, budget="1s"), clock.run_step, 0.0) == 7
    assert clock.steps == []
