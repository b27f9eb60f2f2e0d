"""What changes the logits before any token is left out: bias, repetition, early ends.

In the order of Hugging Face's processors, those of other makers after its repetition
penalty. B rows, V vocabulary entries.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from llmctl.core.decoding.history import History
from llmctl.core.errors import UsageError
from llmctl.core.recipe import GeneratePlan

Penalty = Callable[[Tensor, History], None]
"""Changes the logits of one row, (V,) in float32, in place."""


class Penalties:
    """The penalties of one plan.

    Args:
        plan: Says which act, and how strongly.
        stop_ids: Tokens that end a text, not to be chosen before `min_tokens`.
        vocab_size: V.

    Attributes:
        steps: Name and penalty, in the order in which they act; those that change
            nothing are left out.

    Raises:
        UsageError: A bias for a token that is not in the vocabulary.
    """

    def __init__(self, plan: GeneratePlan, stop_ids: frozenset[int], vocab_size: int) -> None:
        outside = [token_id for token_id in plan.logit_bias if token_id >= vocab_size]
        if outside:
            raise UsageError(
                f"logit_bias: no token {outside[0]:,}; the vocabulary has {vocab_size:,}"
            )
        self.steps: list[tuple[str, Penalty]] = []
        if plan.logit_bias:
            self.steps.append(("logit_bias", _bias(plan.logit_bias)))
        if plan.repetition_penalty != 1:
            self.steps.append(("repetition_penalty", _repetition(plan.repetition_penalty)))
        if plan.frequency_penalty != 0:
            self.steps.append(("frequency_penalty", _frequency(plan.frequency_penalty)))
        if plan.presence_penalty != 0:
            self.steps.append(("presence_penalty", _presence(plan.presence_penalty)))
        if plan.no_repeat_ngram is not None:
            self.steps.append(("no_repeat_ngram", _forbid_followers))
        if plan.min_tokens > 0 and stop_ids:
            self.steps.append(("min_tokens", _early_ends(plan.min_tokens, stop_ids)))

    def apply(self, logits_BV: Tensor, histories: Sequence[History]) -> Tensor:
        """Return the changed logits in float32; as they are where nothing acts.

        Raises:
            UsageError: Nothing is left to be written.
        """
        if not self.steps:
            return logits_BV
        changed_BV = logits_BV.to(torch.float32, copy=True)
        for logits_V, history in zip(changed_BV, histories, strict=True):
            for _, penalty in self.steps:
                penalty(logits_V, history)
        if bool((changed_BV.amax(dim=-1) == -math.inf).any()):
            raise UsageError(
                "every token of the vocabulary is forbidden here; ask for a larger "
                "no_repeat_ngram or fewer min_tokens"
            )
        return changed_BV


def _bias(biases: dict[int, float]) -> Penalty:
    ids = torch.tensor(list(biases))
    values = torch.tensor(list(biases.values()), dtype=torch.float32)

    def add(logits_V: Tensor, _history: History) -> None:
        logits_V[ids.to(logits_V.device)] += values.to(logits_V.device)

    return add


def _repetition(penalty: float) -> Penalty:
    """Divide positive logits and multiply negative ones, once per distinct token.

    Tokens of the prompt count as those of the text do.

    Source: Keskar et al. 2019, "CTRL", section 4.1; the sign as Hugging Face has it.
    """

    def weaken(logits_V: Tensor, history: History) -> None:
        ids = torch.from_numpy(history.ids).to(logits_V.device)
        found = logits_V[ids]
        # A token that occurs twice is read before and written twice, with one value.
        logits_V[ids] = torch.where(found < 0, found * penalty, found / penalty)

    return weaken


def _frequency(penalty: float) -> Penalty:
    """Subtract the penalty for each time a token was written; the prompt does not count.

    Source: the API reference of OpenAI, `frequency_penalty`.
    """

    def weaken(logits_V: Tensor, history: History) -> None:
        ids = torch.tensor(list(history.counts), dtype=torch.int64, device=logits_V.device)
        counts = torch.tensor(
            list(history.counts.values()), dtype=torch.float32, device=logits_V.device
        )
        logits_V[ids] -= penalty * counts

    return weaken


def _presence(penalty: float) -> Penalty:
    """Subtract the penalty from each token written so far; the prompt does not count.

    Source: the API reference of OpenAI, `presence_penalty`.
    """

    def weaken(logits_V: Tensor, history: History) -> None:
        ids = torch.tensor(list(history.counts), dtype=torch.int64, device=logits_V.device)
        logits_V[ids] -= penalty

    return weaken


def _forbid_followers(logits_V: Tensor, history: History) -> None:
    """Forbid what would repeat a run of tokens; runs of the prompt count.

    Source: Paulus et al. 2017, "A Deep Reinforced Model for Abstractive Summarization",
    section 2.5.
    """
    ids = torch.tensor(list(history.followers), dtype=torch.int64, device=logits_V.device)
    logits_V[ids] = -math.inf


def _early_ends(min_tokens: int, stop_ids: frozenset[int]) -> Penalty:
    def forbid(logits_V: Tensor, history: History) -> None:
        if history.num_written < min_tokens:
            logits_V[sorted(stop_ids)] = -math.inf

    return forbid
