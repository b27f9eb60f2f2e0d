"""Beam search: the likeliest texts, kept in mind several at a time.

Equal to Hugging Face's `generate(num_beams=…, do_sample=False)`. B beams, V vocabulary.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from llmctl.core.decoding.generation import (
    FinishReason,
    Request,
    check_finite,
    check_prompt,
    most_tokens,
)
from llmctl.core.decoding.history import History
from llmctl.core.decoding.penalties import Penalties
from llmctl.core.decoding.reading import read_last, read_prompts
from llmctl.core.model.transformer import Transformer
from llmctl.core.recipe import GeneratePlan

_SLOTS_STEP = 64


@dataclass(frozen=True)
class Beam:
    """A finished text.

    Attributes:
        token_ids: Its tokens; where `finish_reason` is "stop", the last one ends it.
        score: The sum of its log-probabilities after penalties, divided by the number of
            its tokens to the power of `length_penalty`.
        finish_reason: As of `generation.Chosen`.
        logprobs: Of each token as the model has it.
    """

    token_ids: tuple[int, ...]
    score: float
    finish_reason: FinishReason
    logprobs: tuple[float, ...]


@dataclass(frozen=True)
class _Running:
    """A text that goes on."""

    history: History
    total: float
    logprobs: tuple[float, ...]


@dataclass(frozen=True)
class _Candidate:
    """One more token after a running text."""

    beam: int
    token_id: int
    total: float
    logprob: float


class _Search:
    """The search for one prompt's continuations, a step at a time."""

    def __init__(
        self,
        model: Transformer,
        prompt: Sequence[int],
        plan: GeneratePlan,
        stop_ids: frozenset[int],
    ) -> None:
        self._plan = plan
        self._stop_ids = stop_ids
        self._model = model
        self._penalties = Penalties(plan, stop_ids, model.vocab_size)
        self._most_tokens = most_tokens(plan, prompt, model.context_tokens)
        limit = plan.time_limit_seconds
        self._deadline = float("inf") if limit is None else time.monotonic() + limit
        read = read_prompts(model, [prompt])
        self._cache = read.cache
        self._running = [_Running(History(prompt, plan.no_repeat_ngram), 0.0, ())]
        self._finished: list[Beam] = []
        self._num_written = 0
        self._logits_BV = read.logits_BV

    def run(self) -> list[Beam]:
        """Return the finished texts, the best first."""
        while True:
            candidates = self._candidates()
            self._num_written += 1
            is_last = self._num_written == self._most_tokens or time.monotonic() >= self._deadline
            ended = [is_last or found.token_id in self._stop_ids for found in candidates]
            # Only the best may finish; the others are there so that enough go on.
            for found, has_ended in list(zip(candidates, ended, strict=True))[
                : self._plan.num_beams
            ]:
                if has_ended:
                    self._finish(found)
            going = [found for found, end in zip(candidates, ended, strict=True) if not end]
            going = going[: self._plan.num_beams]
            if not going or self._is_over(going[0].total):
                return self._finished
            self._go_on(going)

    def _candidates(self) -> list[_Candidate]:
        check_finite(self._logits_BV)
        logprobs_BV = self._logits_BV.float().log_softmax(dim=-1)
        changed_BV = self._penalties.apply(logprobs_BV, [beam.history for beam in self._running])
        totals = torch.tensor([beam.total for beam in self._running], device=changed_BV.device)
        totals_N = (changed_BV + totals[:, None]).flatten()
        num_kept = max(2, 1 + len(self._stop_ids)) * self._plan.num_beams
        best_N = totals_N.topk(min(num_kept, len(totals_N)))
        beams_N = best_N.indices // self._model.vocab_size
        ids_N = best_N.indices % self._model.vocab_size
        found = zip(
            beams_N.tolist(),
            ids_N.tolist(),
            best_N.values.tolist(),
            logprobs_BV[beams_N, ids_N].tolist(),
            strict=True,
        )
        # What a penalty forbids is no candidate, however few are left.
        return [_Candidate(*fields) for fields in found if fields[2] > -float("inf")]

    def _finish(self, found: _Candidate) -> None:
        before = self._running[found.beam]
        reason: FinishReason = "time"
        if found.token_id in self._stop_ids:
            reason = "stop"
        elif self._num_written == self._most_tokens:
            reason = "length"
        beam = Beam(
            token_ids=(*before.history.written, found.token_id),
            score=found.total / self._num_written**self._plan.length_penalty,
            finish_reason=reason,
            logprobs=(*before.logprobs, found.logprob),
        )
        best = sorted([*self._finished, beam], key=lambda beam: -beam.score)
        self._finished = best[: self._plan.num_beams]

    def _is_over(self, best_total: float) -> bool:
        if len(self._finished) < self._plan.num_beams:
            return False
        if self._plan.early_stopping is True:
            return True
        length = self._num_written
        if self._plan.early_stopping == "never" and self._plan.length_penalty > 0:
            length = self._most_tokens
        return best_total / length**self._plan.length_penalty <= self._finished[-1].score

    def _go_on(self, going: list[_Candidate]) -> None:
        self._running = [
            _Running(
                self._running[found.beam].history.extended(found.token_id),
                found.total,
                (*self._running[found.beam].logprobs, found.logprob),
            )
            for found in going
        ]
        self._cache.keep([found.beam for found in going])
        self._logits_BV = self._read()

    def _read(self) -> Tensor:
        needed = max(self._cache.lengths) + 1
        if needed > self._cache.num_slots:
            self._cache.grow(min(self._model.context_tokens, needed + _SLOTS_STEP))
        return read_last(
            self._model, self._cache, [running.history.ids for running in self._running]
        )


@torch.inference_mode()
def beam_search(
    model: Transformer,
    request: Request,
    plan: GeneratePlan,
    *,
    stop_ids: frozenset[int] = frozenset(),
) -> list[Beam]:
    """Return a prompt's `num_samples` best continuations, the best first.

    Args:
        model: Not changed.
        request: The prompt.
        plan: `num_beams`, `length_penalty`, `early_stopping`, penalties, `max_tokens`;
            temperature and samplers do not act.
        stop_ids: Tokens that end a text.

    Raises:
        DataError: The prompt is longer than the context.
        NumericsError: The model's logits are not finite.
        UsageError: A bias for a token that is not in the vocabulary, or penalties that
            leave nothing to be written.
        ValueError: The prompt is empty.

    Source: Wu et al. 2016, "Google's Neural Machine Translation System", section 7, with
    the length penalty and the early ends of Hugging Face's `generate`.
    """
    check_prompt(request, model.context_tokens)
    return _Search(model, request.prompt, plan, stop_ids).run()[: plan.num_samples]
