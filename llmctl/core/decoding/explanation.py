"""Why a token could or could not come next: which step left it out. V vocabulary entries."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from llmctl.core.decoding.history import History
from llmctl.core.decoding.penalties import Penalties
from llmctl.core.decoding.samplers import acting
from llmctl.core.recipe import GeneratePlan


@dataclass(frozen=True)
class Candidate:
    """A token that might come next.

    Attributes:
        token_id: The token.
        before: Its probability as the model has it.
        after: Its probability in the draw.
        cut_by: The plan's key of the step that left it out, or None; "temperature" where
            temperature 0 leaves only the likeliest.
    """

    token_id: int
    before: float
    after: float
    cut_by: str | None


def explain(
    logits_V: Tensor,
    plan: GeneratePlan,
    history: History,
    *,
    stop_ids: frozenset[int] = frozenset(),
    num_tokens: int = 10,
) -> list[Candidate]:
    """Return the tokens that are the likeliest before or after sampling, these first.

    Args:
        logits_V: The model's, of one position.
        plan: Penalties, temperature, samplers.
        history: What was read and written before.
        stop_ids: Tokens that end a text.
        num_tokens: How many to return, at most.

    Raises:
        UsageError: A bias for a token that is not in the vocabulary.
    """
    logits_V = logits_V.detach().to("cpu", torch.float32, copy=True)
    before_V = logits_V.softmax(dim=-1)
    cuts: dict[int, str] = {}
    for name, penalty in Penalties(plan, stop_ids, len(logits_V)).steps:
        penalty(logits_V, history)
        _note_cuts(logits_V, name, cuts)
    if plan.temperature == 0:
        likeliest = logits_V.argmax()
        logits_V[torch.arange(len(logits_V)) != likeliest] = -math.inf
        _note_cuts(logits_V, "temperature", cuts)
    else:
        for name, act in acting(plan):
            logits_V = act(logits_V[None])[0]
            if name != "temperature":  # a tiny one makes logits infinite, and nothing unlikelier
                _note_cuts(logits_V, name, cuts)
    after_V = logits_V.softmax(dim=-1)
    best = torch.maximum(before_V, after_V).topk(min(num_tokens, len(logits_V))).indices.tolist()
    found = [
        Candidate(token_id, before_V[token_id].item(), after_V[token_id].item(), cuts.get(token_id))
        for token_id in best
    ]
    return sorted(found, key=lambda candidate: (-candidate.after, -candidate.before))


def _note_cuts(logits_V: Tensor, name: str, cuts: dict[int, str]) -> None:
    for token_id in (logits_V == -math.inf).nonzero()[:, 0].tolist():
        cuts.setdefault(token_id, name)
