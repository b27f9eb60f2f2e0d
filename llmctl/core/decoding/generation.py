"""Prompts of ids in, ids out: a batch that is refilled as its rows end.

A prompt is read beside the batch and its keys and values copied into a free place of it,
once for each sample; then every row of the batch writes one token a step. B rows,
V vocabulary.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import torch
from torch import Tensor

from llmctl.core.decoding.history import History
from llmctl.core.decoding.memory import Memory
from llmctl.core.decoding.penalties import Penalties
from llmctl.core.decoding.reading import CHUNK_TOKENS, ReadPrompts, alike, read_last, read_prompts
from llmctl.core.decoding.samplers import choose
from llmctl.core.errors import DataError, NumericsError
from llmctl.core.model.cache import KeyValueCache
from llmctl.core.model.transformer import Transformer
from llmctl.core.recipe import GeneratePlan

FinishReason = Literal["stop", "length", "time"]
BATCH_ROWS = 16
_LEAST_GROWTH = 64


@dataclass(frozen=True)
class Request:
    """A prompt to be continued.

    Attributes:
        number: Tells it from others; with the seed it decides what is drawn.
        prompt: Ids, at least one.
    """

    number: int
    prompt: Sequence[int]


@dataclass(frozen=True)
class GenerationSettings:
    """How requests are worked on; none of it changes what is written.

    Attributes:
        batch_rows: Texts written at the same time, at most.
        chunk_tokens: Tokens of a prompt that are read in one pass, at most.
        with_logprobs: Tell each token's log-probability.
        memory: Of the text before, for a single request that may begin alike.
    """

    batch_rows: int = BATCH_ROWS
    chunk_tokens: int = CHUNK_TOKENS
    with_logprobs: bool = False
    memory: Memory | None = None


@dataclass(frozen=True)
class Chosen:
    """One token that was written.

    Attributes:
        request: The request's number.
        sample: Which of its continuations, from 0.
        token_id: The token.
        finish_reason: "stop" where the token ends the text and is no part of it, "length"
            where it is the last that was asked for or that the context holds, "time"
            where the time is up; else None.
        logprob: Its log-probability as the model has it, in nats, where it was asked for.
    """

    request: int
    sample: int
    token_id: int
    finish_reason: FinishReason | None
    logprob: float | None = None


@dataclass
class _Row:
    request: int
    sample: int
    history: History
    most_tokens: int
    deadline: float
    is_finished: bool = False


@dataclass(frozen=True)
class _Start:
    """A continuation that has a prompt read for it, and no place in the batch yet."""

    request: Request
    sample: int
    read: ReadPrompts
    place: int


def most_tokens(plan: GeneratePlan, prompt: Sequence[int], context_tokens: int) -> int:
    """Return how many tokens may follow a prompt: the last one written is never read."""
    return min(plan.max_tokens, context_tokens - len(prompt) + 1)


def check_prompt(request: Request, context_tokens: int) -> None:
    """Refuse what cannot be read.

    Raises:
        DataError: The prompt is longer than the context.
        ValueError: It is empty.
    """
    num_tokens = len(request.prompt)
    if not num_tokens:
        raise ValueError(f"prompt {request.number + 1} has no tokens")
    if num_tokens > context_tokens:
        raise DataError(
            f"prompt {request.number + 1} has {num_tokens:,} tokens and the model's context holds "
            f"{context_tokens:,}; shorten the prompt"
        )


class Generation:
    """The continuation of any number of prompts, read by iterating over it.

    A prompt may fill the context, N of T tokens, and is then continued by at most
    T - N + 1: the last token written is never read. The text that would follow is
    nothing the model was trained to write, so it ends there, by "length".

    A text depends on its prompt, the plan, the seed, its request's and its sample's number
    alone; which texts come first depends on the batch.

    Args:
        model: Not changed.
        prompts: Requests, or ids that are numbered by their place; taken as there is room.
        plan: Penalties, temperature, samplers, `max_tokens`, `num_samples`; no beams.
        seed: Of every draw.
        stop_ids: Tokens that end a text.
        settings: Size of the batch and the like.

    Raises:
        UsageError: A bias for a token that is not in the vocabulary.
    """

    def __init__(
        self,
        model: Transformer,
        prompts: Iterable[Request | Sequence[int]],
        plan: GeneratePlan,
        *,
        seed: int,
        stop_ids: frozenset[int] = frozenset(),
        settings: GenerationSettings | None = None,
    ) -> None:
        self._model = model
        self._plan = plan
        self._seed = seed
        self._stop_ids = stop_ids
        self._settings = settings or GenerationSettings()
        self._penalties = Penalties(plan, stop_ids, model.vocab_size)
        self._waiting = (
            prompt if isinstance(prompt, Request) else Request(number, prompt)
            for number, prompt in enumerate(prompts)
        )
        self._starts: deque[_Start] = deque()
        self._rows: list[_Row] = []
        self._cache: KeyValueCache | None = None

    def finish(self, request: int, sample: int = 0) -> None:
        """Write no more of this text, for a reason of the caller's, such as a stop string."""
        for row in self._rows:
            if (row.request, row.sample) == (request, sample):
                row.is_finished = True

    def __iter__(self) -> Iterator[Chosen]:
        """Yield the tokens of each step.

        Raises:
            DataError: A prompt is longer than the context.
            NumericsError: The model's logits are not finite.
            UsageError: The penalties leave nothing to be written.
            ValueError: A prompt is empty.
        """
        while True:
            now = time.monotonic()
            starts = self._next_starts()
            if starts:
                rows, logits_BV = self._place(starts, now)
                # A row that ends at once leaves its place to another before the next step.
                yield from self._write(rows, logits_BV)
                continue
            self._drop_finished()
            if self._cache is None or not self._rows:
                return
            yield from self._write(self._rows, self._read_last(self._cache))

    def _next_starts(self) -> list[_Start]:
        """Return what to begin in the free places, none where no place is free."""
        num_free = self._settings.batch_rows - sum(not row.is_finished for row in self._rows)
        if num_free > len(self._starts):
            num_prompts = -(-(num_free - len(self._starts)) // self._plan.num_samples)
            requests = list(islice(self._readable(), num_prompts))
            for group in alike([len(request.prompt) for request in requests]):
                together = [requests[place] for place in group]
                read = self._read([request.prompt for request in together])
                self._starts.extend(
                    _Start(request, sample, read, place)
                    for place, request in enumerate(together)
                    for sample in range(self._plan.num_samples)
                )
        return [self._starts.popleft() for _ in range(min(num_free, len(self._starts)))]

    def _read(self, prompts: list[Sequence[int]]) -> ReadPrompts:
        settings = self._settings
        if settings.memory is not None and len(prompts) == 1:
            return settings.memory.read(self._model, prompts[0], settings.chunk_tokens)
        return read_prompts(self._model, prompts, settings.chunk_tokens)

    def _readable(self) -> Iterator[Request]:
        for request in self._waiting:
            check_prompt(request, self._model.context_tokens)
            yield request

    # Inference mode belongs to the thread, so no `yield` may stand inside it.
    @torch.inference_mode()
    def _place(self, starts: list[_Start], now: float) -> tuple[list[_Row], Tensor]:
        limit = self._plan.time_limit_seconds
        rows = [
            _Row(
                request=start.request.number,
                sample=start.sample,
                history=History(start.request.prompt, self._plan.no_repeat_ngram),
                most_tokens=most_tokens(
                    self._plan, start.request.prompt, self._model.context_tokens
                ),
                deadline=float("inf") if limit is None else now + limit,
            )
            for start in starts
        ]
        longest = max(row.history.num_prompt for row in rows)
        if self._cache is None:
            self._cache = self._model.new_cache(len(rows), longest)
            places, self._rows = list(range(len(rows))), list(rows)
        else:
            places = [place for place, row in enumerate(self._rows) if row.is_finished][: len(rows)]
            for place, row in zip(places, rows, strict=True):
                self._rows[place] = row
            self._cache.grow(longest)
        for read, members in _by_reading(starts):
            self._cache.put(
                [places[member] for member in members],
                read.cache,
                [starts[member].place for member in members],
            )
        return rows, torch.stack([start.read.logits_BV[start.place] for start in starts])

    @torch.inference_mode()
    def _drop_finished(self) -> None:
        active = [place for place, row in enumerate(self._rows) if not row.is_finished]
        memory = self._settings.memory
        if memory is not None and self._cache is not None and len(self._rows) == 1 and not active:
            read = self._rows[0].history.ids[: self._cache.lengths[0]]
            memory.keep(read.tolist(), self._cache)
        if self._cache is not None and active and len(active) < len(self._rows):
            self._cache.keep(active)
        self._rows = [self._rows[place] for place in active]

    @torch.inference_mode()
    def _read_last(self, cache: KeyValueCache) -> Tensor:
        needed = max(cache.lengths) + 1
        if needed > cache.num_slots:
            most = max(row.history.num_prompt + row.most_tokens - 1 for row in self._rows)
            cache.grow(min(most, needed + max(_LEAST_GROWTH, needed // 2)))
        return read_last(self._model, cache, [row.history.ids for row in self._rows])

    def _write(self, rows: Sequence[_Row], logits_BV: Tensor) -> Iterator[Chosen]:
        token_ids, logprobs = self._choose(rows, logits_BV)
        now = time.monotonic()
        for row, token_id, logprob in zip(list(rows), token_ids, logprobs, strict=True):
            row.history.append(token_id)
            reason: FinishReason | None = None
            if token_id in self._stop_ids:
                reason = "stop"
            elif row.history.num_written == row.most_tokens:
                reason = "length"
            elif now >= row.deadline:
                reason = "time"
            row.is_finished = reason is not None
            yield Chosen(row.request, row.sample, token_id, reason, logprob)

    @torch.inference_mode()
    def _choose(
        self, rows: Sequence[_Row], logits_BV: Tensor
    ) -> tuple[list[int], Sequence[float | None]]:
        check_finite(logits_BV)
        histories = [row.history for row in rows]
        changed_BV = self._penalties.apply(logits_BV, histories)
        draws = [(row.request, row.history.num_written, row.sample) for row in rows]
        token_ids = choose(changed_BV, self._plan, self._seed, draws)
        if not self._settings.with_logprobs:
            return token_ids, [None] * len(rows)
        chosen_B1 = torch.tensor(token_ids, device=logits_BV.device)[:, None]
        return token_ids, logits_BV.float().log_softmax(-1).gather(1, chosen_B1)[:, 0].tolist()


def check_finite(logits_BV: Tensor) -> None:
    """Refuse logits that are no numbers.

    Raises:
        NumericsError: One is infinite or not a number.
    """
    # Where one is, so is the sum; a tenth of the time of looking at each.
    if not bool(logits_BV.sum(dtype=torch.float32).isfinite()):
        raise NumericsError(
            "the model's logits are not finite: its weights are damaged, or its numbers "
            "exceed the dtype; try --dtype float32"
        )


def _by_reading(starts: Sequence[_Start]) -> list[tuple[ReadPrompts, list[int]]]:
    """Return the members of `starts` by the reading in which their prompts were read."""
    found: dict[int, tuple[ReadPrompts, list[int]]] = {}
    for member, start in enumerate(starts):
        found.setdefault(id(start.read), (start.read, []))[1].append(member)
    return list(found.values())
