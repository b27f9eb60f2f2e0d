"""From logits to the next token: which tokens stay in the draw, and the draw.

The samplers act in the plan's order, by default that of Hugging Face's processors:
temperature, top-k, top-p, min-p, typical-p. Each but the last keeps all tokens above
some logit, so equally likely tokens stay or go together. B rows, V vocabulary entries,
C candidates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from llmctl.core.decoding.candidates import least_of_top_p, likely_candidates
from llmctl.core.recipe import GeneratePlan

_ENTRIES_AT_ONCE = 100_000
_LEAST_TEMPERATURE = 1e-30  # float32 holds it, and its quotients end as 0 or minus infinity


def choose(
    logits_BV: Tensor, plan: GeneratePlan, seed: int, draws: Sequence[tuple[int, ...]]
) -> list[int]:
    """Return each row's next token.

    Args:
        logits_BV: Of one position per row; minus infinity for a forbidden token.
        plan: Temperature and filters; temperature 0 takes the likeliest token.
        seed: Of the whole generation.
        draws: Each row's (row number, position), or (row number, position, sample
            number): with the seed these alone decide the row's random number, whatever
            else is in the batch.
    """
    if plan.temperature == 0:
        return logits_BV.argmax(dim=-1).tolist()
    uniforms_B = torch.tensor([uniform(seed, *draw) for draw in draws], dtype=torch.float64)
    logits_BV = logits_BV.float()
    chosen_B = torch.full((len(draws),), -1)
    for places, ids_BC, weights_BC in likely_candidates(logits_BV, plan):
        drawn = _draw(weights_BC, uniforms_B[places])
        chosen_B[places] = ids_BC.gather(1, drawn[:, None])[:, 0]
    rest_B = (chosen_B < 0).nonzero()[:, 0]
    # Few rows at a time: what one step hands to the next then stays in the processor's cache.
    rows_at_once = 1 + _ENTRIES_AT_ONCE // logits_BV.shape[-1]
    for first in range(0, len(rest_B), rows_at_once):
        rest = rest_B[first : first + rows_at_once]
        kept_BV = filter_logits(logits_BV[rest.to(logits_BV.device)], plan).cpu()
        weights_BV = (kept_BV - kept_BV.amax(dim=-1, keepdim=True)).double().exp_()
        chosen_B[rest] = _draw(weights_BV, uniforms_B[rest])
    return chosen_B.tolist()


def uniform(seed: int, row: int, position: int, sample: int = 0) -> float:
    """Return a number in [0, 1) that depends on nothing but its arguments.

    One output of the counter-based generator Philox 4x64, keyed by the seed, at the
    counter (row, position, sample). Only 52 bits are used: the product with a sum of
    weights then never rounds up to that sum.

    Source: Salmon et al. 2011, "Parallel Random Numbers: As Easy as 1, 2, 3", section 5.
    """
    generator = np.random.Philox(key=seed, counter=[0, sample, position, row])
    return (int(generator.random_raw()) >> 12) * 2.0**-52


def _draw(weights_BV: Tensor, uniforms_B: Tensor) -> Tensor:
    # On the CPU and in float64 the same weights give the same draw on every device.
    cumulative_BV = weights_BV.cumsum(dim=-1)
    targets_B1 = uniforms_B[:, None] * cumulative_BV[:, -1:]
    # The first entry beyond the target has weight, so no filtered token is ever drawn.
    return torch.searchsorted(cumulative_BV, targets_B1, right=True)[:, 0]


def filter_logits(logits_BV: Tensor, plan: GeneratePlan) -> Tensor:
    """Return the logits with the plan's temperature and minus infinity for what it drops."""
    for _, act in acting(plan):
        logits_BV = act(logits_BV)
    return logits_BV


def acting(plan: GeneratePlan) -> list[tuple[str, Callable[[Tensor], Tensor]]]:
    """Return the name and the function of each sampler that the plan asks for, in order."""
    known: dict[str, tuple[Callable[[Tensor, float], Tensor], float | None]] = {
        "temperature": (with_temperature, plan.temperature),
        "top_k": (lambda logits_BV, k: keep_top_k(logits_BV, int(k)), plan.top_k),
        "top_p": (keep_top_p, plan.top_p),
        "min_p": (keep_min_p, plan.min_p),
        "typical_p": (keep_typical_p, plan.typical_p),
    }
    found: list[tuple[str, Callable[[Tensor], Tensor]]] = []
    for name in plan.samplers:
        act, value = known[name]
        if value is not None:
            found.append((name, lambda logits_BV, act=act, value=value: act(logits_BV, value)))
    return found


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
    """Keep the fewest likeliest tokens whose probabilities sum to at least p, ties whole.

    Source: Holtzman et al. 2019, "The Curious Case of Neural Text Degeneration", section 3.1.
    """
    if p >= 1:
        return logits_BV
    descending_BV = logits_BV.sort(dim=-1, descending=True).values
    weights_BV = (descending_BV - descending_BV[:, :1]).double().exp_()
    least_B1 = least_of_top_p(descending_BV, weights_BV, weights_BV.sum(-1, keepdim=True), p)
    return logits_BV.masked_fill(logits_BV < least_B1, -math.inf)


def keep_min_p(logits_BV: Tensor, min_p: float) -> Tensor:
    """Keep tokens at least min_p times as likely as the likeliest.

    Source: Nguyen et al. 2024, "Min-p Sampling", section 3.
    """
    if min_p == 0:
        return logits_BV
    least_B1 = logits_BV.amax(dim=-1, keepdim=True) + math.log(min_p)
    return logits_BV.masked_fill(logits_BV < least_B1, -math.inf)


def keep_typical_p(logits_BV: Tensor, p: float) -> Tensor:
    """Keep the fewest tokens whose surprise is nearest to the entropy and that sum to p.

    Source: Meister et al. 2022, "Locally Typical Sampling", section 4.
    """
    if p >= 1:
        return logits_BV
    log_probabilities_BV = logits_BV.log_softmax(dim=-1)
    probabilities_BV = log_probabilities_BV.exp()
    entropy_B1 = -(probabilities_BV * log_probabilities_BV).nansum(dim=-1, keepdim=True)
    distances_BV = (log_probabilities_BV + entropy_B1).abs()
    nearest_BV, order_BV = distances_BV.sort(dim=-1)
    cumulative_BV = probabilities_BV.gather(1, order_BV).cumsum(dim=-1)
    last_B1 = (cumulative_BV < p).sum(dim=-1, keepdim=True).clamp(max=logits_BV.shape[-1] - 1)
    farthest_B1 = nearest_BV.gather(1, last_B1)
    return logits_BV.masked_fill(distances_BV > farthest_B1, -math.inf)
