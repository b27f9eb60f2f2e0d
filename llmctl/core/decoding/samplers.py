"""From logits to the next token: which tokens stay in the draw, and the draw.

The filters run in the order of Hugging Face's processors: temperature, top-k, top-p,
min-p. B rows, V vocabulary entries.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from llmctl.core.recipe import GeneratePlan

_LEAST_TEMPERATURE = 1e-30  # float32 holds it, and its quotients end as 0 or minus infinity


def choose(
    logits_BV: Tensor, plan: GeneratePlan, seed: int, draws: Sequence[tuple[int, int]]
) -> list[int]:
    """Return each row's next token.

    Args:
        logits_BV: Of one position per row, finite.
        plan: Temperature and filters; temperature 0 takes the likeliest token.
        seed: Of the whole generation.
        draws: Each row's (row number, position): with the seed these alone decide the
            row's random number, whatever else is in the batch.
    """
    if plan.temperature == 0:
        return logits_BV.argmax(dim=-1).tolist()
    # On the CPU and in float64 the same logits give the same draw on every device.
    probabilities_BV = filter_logits(logits_BV.float().cpu(), plan).double().softmax(dim=-1)
    cumulative_BV = probabilities_BV.cumsum(dim=-1)
    drawn = [uniform(seed, row, position) for row, position in draws]
    uniforms_B = torch.tensor(drawn, dtype=torch.float64)
    targets_B1 = uniforms_B[:, None] * cumulative_BV[:, -1:]
    # The first entry beyond the target has probability, so no filtered token is ever drawn.
    return torch.searchsorted(cumulative_BV, targets_B1, right=True)[:, 0].tolist()


def uniform(seed: int, row: int, position: int) -> float:
    """Return a number in [0, 1) that depends on nothing but its arguments.

    One output of the counter-based generator Philox 4x64, keyed by the seed, at the
    counter (row, position). Only 52 bits are used: the product with a sum of
    probabilities then never rounds up to that sum.

    Source: Salmon et al. 2011, "Parallel Random Numbers: As Easy as 1, 2, 3", section 5.
    """
    generator = np.random.Philox(key=seed, counter=[0, 0, position, row])
    return (int(generator.random_raw()) >> 12) * 2.0**-52


def filter_logits(logits_BV: Tensor, plan: GeneratePlan) -> Tensor:
    """Return the logits with the plan's temperature and minus infinity for what it drops."""
    kept_BV = with_temperature(logits_BV, plan.temperature)
    if plan.top_k is not None:
        kept_BV = keep_top_k(kept_BV, plan.top_k)
    if plan.top_p is not None:
        kept_BV = keep_top_p(kept_BV, plan.top_p)
    if plan.min_p is not None:
        kept_BV = keep_min_p(kept_BV, plan.min_p)
    return kept_BV


def with_temperature(logits_BV: Tensor, temperature: float) -> Tensor:
    """Return (logits - their maximum) / temperature: the shift keeps tiny temperatures finite.

    Raises:
        ValueError: The temperature is not positive.
    """
    if temperature <= 0:
        raise ValueError(f"expected a positive temperature, got {temperature}")
    shifted_BV = logits_BV - logits_BV.amax(dim=-1, keepdim=True)
    return shifted_BV / max(temperature, _LEAST_TEMPERATURE)


def keep_top_k(logits_BV: Tensor, k: int) -> Tensor:
    """Keep the k largest logits, and all that equal the smallest of these.

    Source: Fan et al. 2018, "Hierarchical Neural Story Generation", section 5.4.
    """
    least_B1 = logits_BV.topk(min(k, logits_BV.shape[-1])).values[:, -1:]
    return logits_BV.masked_fill(logits_BV < least_B1, -math.inf)


def keep_top_p(logits_BV: Tensor, p: float) -> Tensor:
    """Keep the fewest likeliest tokens whose probabilities sum to at least p.

    Source: Holtzman et al. 2019, "The Curious Case of Neural Text Degeneration", section 3.1.
    """
    ascending_BV, order_BV = logits_BV.sort(dim=-1)
    drop_BV = ascending_BV.softmax(dim=-1).cumsum(dim=-1) <= 1 - p
    drop_BV[:, -1] = False
    return logits_BV.masked_fill(drop_BV.scatter(1, order_BV, drop_BV), -math.inf)


def keep_min_p(logits_BV: Tensor, min_p: float) -> Tensor:
    """Keep tokens at least min_p times as likely as the likeliest.

    Source: Nguyen et al. 2024, "Min-p Sampling", section 3.
    """
    probabilities_BV = logits_BV.softmax(dim=-1)
    least_B1 = min_p * probabilities_BV.amax(dim=-1, keepdim=True)
    return logits_BV.masked_fill(probabilities_BV < least_B1, -math.inf)
