"""How far the learning rates are turned up at each step."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """Linear warm-up, a plateau, linear cooldown to zero.

    Source: the trapezoidal ("warm-up, stable, decay") schedule, Hägele et al. 2024,
    "Scaling Laws and Compute-Optimal Training Beyond Fixed Training Durations",
    arXiv:2405.18392, section 3.

    Attributes:
        num_steps: Steps of the whole training.
        warmup_share: Share of the steps over which the factor rises.
        cooldown_share: Share of the steps over which it falls.
    """

    num_steps: int
    warmup_share: float
    cooldown_share: float

    def factor(self, step: int) -> float:
        """Return the factor on the peak rates for step 0 … num_steps - 1, in (0, 1].

        Raises:
            ValueError: The step is outside the training.
        """
        if not 0 <= step < self.num_steps:
            raise ValueError(f"step {step} is outside 0 … {self.num_steps - 1}")
        warmup_steps = self.warmup_share * self.num_steps
        cooldown_steps = self.cooldown_share * self.num_steps
        rising = (step + 1) / warmup_steps if warmup_steps else 1.0
        falling = (self.num_steps - step) / cooldown_steps if cooldown_steps else 1.0
        return min(1.0, rising, falling)


def evenly_spread(count: int, num_steps: int) -> frozenset[int]:
    """Return up to `count` numbers of finished steps, evenly spread, the last one included."""
    return frozenset(round(num_steps * index / count) for index in range(1, count + 1)) - {0}
