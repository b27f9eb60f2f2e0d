"""The few tokens that a draw can choose, found without sorting the vocabulary.

Sorting 151,936 logits takes some ten milliseconds, finding the 256 largest a third of
one. B rows, V vocabulary entries, C candidates.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from llmctl.core.recipe import GeneratePlan

WIDTHS = (256, 4096)  # candidates tried one after the other, for the rows not yet settled
_THRESHOLDS = frozenset({"temperature", "top_k", "top_p", "min_p"})


@dataclass
class _Filtering:
    """Rows on their way through the samplers.

    Attributes:
        logits_BV: Shifted so that the largest of a row is 0.
        values_BC: The largest of them, descending.
        least_B1: What is kept is no smaller, before any temperature.
        settled_B1: The candidates have been enough so far.
        temperature: Of all samplers so far.
        is_whole: Nothing has been left out.
    """

    logits_BV: Tensor
    values_BC: Tensor
    least_B1: Tensor
    settled_B1: Tensor
    temperature: float = 1.0
    is_whole: bool = True

    def raise_least(self, least_B1: Tensor) -> None:
        self.least_B1 = torch.maximum(self.least_B1, least_B1)
        # Where the last candidate is kept, there may be more of its kind among the others.
        self.settled_B1 = self.settled_B1 & (self.values_BC[:, -1:] < self.least_B1)
        self.is_whole = False

    def weights(self) -> Tensor:
        kept_BC = self.values_BC.masked_fill(self.values_BC < self.least_B1, -math.inf)
        return (kept_BC / self.temperature).double().exp_()

    def keep_top_p(self, p: float) -> None:
        weights_BC = self.weights()
        if self.is_whole:
            total_B1 = (self.logits_BV / self.temperature).exp_().sum(-1, keepdim=True).double()
        else:
            total_B1 = weights_BC.sum(-1, keepdim=True)
        # Where the candidates do not reach p, this is the last of them, which settles nothing.
        self.raise_least(least_of_top_p(self.values_BC, weights_BC, total_B1, p))


def likely_candidates(
    logits_BV: Tensor, plan: GeneratePlan
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield the rows whose draw a few candidates decide, and what each may choose.

    A row that is never yielded needs the whole vocabulary: the plan's filters drop too
    little, or typical-p is among them.

    Args:
        logits_BV: In float32.
        plan: With a temperature above 0.

    Yields:
        The rows' places (B,), their candidates' ids in ascending order (B, C) and these
        candidates' weights in the draw (B, C), float64, 0 for one that was filtered out;
        all on the CPU.
    """
    num_entries = logits_BV.shape[-1]
    rest_B = torch.arange(len(logits_BV))
    if not _can_settle(plan):
        return
    shifted_BV = logits_BV - logits_BV.amax(dim=-1, keepdim=True)
    for width in WIDTHS:
        # A candidate too many must be there to tell that no other is as likely as the last.
        if width >= num_entries or (plan.top_k or 0) >= width or not len(rest_B):
            continue
        rows_BV = shifted_BV if len(rest_B) == len(shifted_BV) else shifted_BV[rest_B]
        values_BC, ids_BC = rows_BV.topk(width)
        settled_B, weights_BC = _filter(rows_BV, values_BC, plan)
        settled_B, weights_BC, ids_BC = settled_B.cpu(), weights_BC.cpu(), ids_BC.cpu()
        ids_BC, order_BC = ids_BC[settled_B].sort(dim=-1)
        yield rest_B[settled_B], ids_BC, weights_BC[settled_B].gather(1, order_BC)
        rest_B = rest_B[~settled_B]


def _can_settle(plan: GeneratePlan) -> bool:
    drops = {
        "top_k": plan.top_k is not None,
        "top_p": plan.top_p is not None and plan.top_p < 1,
        "min_p": bool(plan.min_p),
    }
    acts = {name for name in plan.samplers if name != "typical_p" or (plan.typical_p or 1) < 1}
    return acts <= _THRESHOLDS and any(drops.get(name, False) for name in acts)


def _filter(rows_BV: Tensor, values_BC: Tensor, plan: GeneratePlan) -> tuple[Tensor, Tensor]:
    """Return which rows are settled (B,) and the candidates' weights (B, C)."""
    state = _Filtering(
        logits_BV=rows_BV,
        values_BC=values_BC,
        least_B1=torch.full_like(values_BC[:, :1], -math.inf),
        settled_B1=torch.ones_like(values_BC[:, :1], dtype=torch.bool),
    )
    for name in plan.samplers:
        if name == "temperature":
            state.temperature = max(state.temperature * plan.temperature, 1e-30)
        elif name == "top_k" and plan.top_k is not None:
            state.raise_least(values_BC[:, plan.top_k - 1 : plan.top_k])
        elif name == "top_p" and plan.top_p is not None and plan.top_p < 1:
            state.keep_top_p(plan.top_p)
        elif name == "min_p" and plan.min_p:
            least = math.log(plan.min_p) * state.temperature
            state.raise_least(torch.full_like(values_BC[:, :1], least))
    return state.settled_B1[:, 0], state.weights()


def least_of_top_p(descending_BC: Tensor, weights_BC: Tensor, total_B1: Tensor, p: float) -> Tensor:
    """Return the smallest logit that top-p keeps, (B, 1).

    Args:
        descending_BC: Logits, the largest first.
        weights_BC: Their weights, float64, in the same order.
        total_B1: The weight of all tokens, these and others.
        p: The share of it to be kept.
    """
    before_BC = weights_BC.cumsum(dim=-1) - weights_BC
    num_kept_B1 = (before_BC < p * total_B1).sum(dim=-1, keepdim=True)
    return descending_BC.gather(1, (num_kept_B1 - 1).clamp(min=0))
