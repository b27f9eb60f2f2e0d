"""What the machine decides about a training: settled once, published, obeyed on resume."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydantic
import torch

from llmctl.core import atomic
from llmctl.core.errors import DataError, DeviceError
from llmctl.core.recipe import ModelShape, TrainPlan, seconds

# Larger micro-batches were no faster on 2 cores, and their activations leave the caches.
CPU_MICRO_BATCH_TOKENS = 4096
GPU_MICRO_BATCH_TOKENS = 65_536
MEASURED_STEPS = 3
FEWEST_STEPS = 4


class Decisions(pydantic.BaseModel):
    """The content of `training/decisions.json`.

    Attributes:
        key: The key of the model in training.
        plan: Its plan, to show differences by.
        num_steps: Optimizer steps in all.
        sequences_per_step: Sequences that one step learns from.
        micro_batch_sequences: Sequences in one forward and backward pass.
        device: cpu, cuda or mps.
        dtype: Type of the arithmetic; weights are kept in float32.
        num_threads: Threads of one operation, on which the order of sums depends.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    key: str
    plan: dict[str, Any]
    num_steps: int
    sequences_per_step: int
    micro_batch_sequences: int
    device: str
    dtype: str
    num_threads: int

    def write(self, path: Path) -> None:
        """Publish the decisions."""
        atomic.write_file(path, self.model_dump_json(indent=1).encode() + b"\n")

    def apply(self) -> None:
        """Make this process compute as decided.

        Raises:
            DeviceError: The training began on a device that is not here.
        """
        present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
        if not present.get(self.device, True):
            raise DeviceError(
                f"this training began on {self.device}, which is not available here; go on where "
                "it is, or begin anew with --restart"
            )
        torch.set_num_threads(self.num_threads)


def read_decisions(path: Path) -> Decisions | None:
    """Return the published decisions, or None where there are none.

    Raises:
        DataError: The file is damaged.
    """
    try:
        return Decisions.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except pydantic.ValidationError as error:
        raise DataError(
            f"{path}: damaged: {error.errors()[0]['msg']}; begin anew with --restart"
        ) from error


def sequences_per_step(plan: TrainPlan, shape: ModelShape) -> int:
    """Sequences of the model's context that make up about `plan.tokens_per_step` tokens."""
    return max(1, round(plan.tokens_per_step / shape.context_tokens))


def micro_batch_sequences(sequences: int, context_tokens: int, device: str) -> int:
    """Return the largest divisor of the step's sequences that stays within the device's share."""
    most_tokens = CPU_MICRO_BATCH_TOKENS if device == "cpu" else GPU_MICRO_BATCH_TOKENS
    most = max(1, most_tokens // context_tokens)
    return max(size for size in range(1, sequences + 1) if sequences % size == 0 and size <= most)


def steps_within(plan: TrainPlan, run_step: Callable[[int], Any], overhead_seconds: float) -> int:
    """Return how many steps fit into the plan's budget, by the time that a few take.

    Args:
        plan: Its `steps`, where given, are the answer and nothing is measured.
        run_step: Runs one whole step; what it changes must be undone by the caller.
        overhead_seconds: Time that validations and samples will take out of the budget.
    """
    if plan.steps is not None:
        return plan.steps
    begun = time.monotonic()
    run_step(0)  # the first step pays for allocations and thread pools
    measured: list[float] = []
    for step in range(1, MEASURED_STEPS + 1):
        start = time.monotonic()
        run_step(step)
        measured.append(time.monotonic() - start)
    left = seconds(plan.budget) - (time.monotonic() - begun) - overhead_seconds
    return max(FEWEST_STEPS, int(left / statistics.median(measured)))
