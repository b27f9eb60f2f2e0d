"""Prompts of ids in, ids out: the prompts are read at once, then one token per row a step.

B rows, T time, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from llmctl.core.decoding.samplers import choose
from llmctl.core.errors import DataError, NumericsError
from llmctl.core.model.cache import KeyValueCache
from llmctl.core.model.transformer import Transformer
from llmctl.core.recipe import GeneratePlan

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True)
class Chosen:
    """One token that a row wrote.

    Attributes:
        row: Index of the row's prompt.
        token_id: The token.
        finish_reason: "stop" where the token ends the text and is no part of it, "length"
            where it is the last that was asked for or that the context holds; else None.
    """

    row: int
    token_id: int
    finish_reason: FinishReason | None


@dataclass
class _Row:
    index: int
    prompt: Sequence[int]
    most_tokens: int
    written: list[int] = field(default_factory=list[int])
    is_finished: bool = False


class Generation:
    """The continuation of a batch of prompts, read by iterating over it.

    A prompt may fill the context, N of T tokens, and is then continued by at most
    T - N + 1: the last token written is never read. The text that would follow is
    nothing the model was trained to write, so it ends there, by "length".

    A row's tokens depend on its prompt, the plan, the seed and its number alone.

    Args:
        model: Not changed.
        prompts: Ids, at least one each.
        plan: Temperature, filters, `max_tokens`.
        seed: Of every draw.
        stop_ids: Tokens that end a text.
        first_row: The number of the first prompt's row in the draws.

    Raises:
        DataError: A prompt is longer than the context.
        ValueError: A prompt is empty.
    """

    def __init__(
        self,
        model: Transformer,
        prompts: Sequence[Sequence[int]],
        plan: GeneratePlan,
        *,
        seed: int,
        stop_ids: frozenset[int] = frozenset(),
        first_row: int = 0,
    ) -> None:
        context = model.context_tokens
        for number, prompt in enumerate(prompts, start=first_row + 1):
            if not prompt:
                raise ValueError(f"prompt {number} has no tokens")
            if len(prompt) > context:
                raise DataError(
                    f"prompt {number} has {len(prompt):,} tokens and the model's context holds "
                    f"{context:,}; shorten the prompt"
                )
        self._model = model
        self._plan = plan
        self._seed = seed
        self._stop_ids = stop_ids
        self._first_row = first_row
        self._rows = [
            _Row(index, prompt, min(plan.max_tokens, context - len(prompt) + 1))
            for index, prompt in enumerate(prompts)
        ]

    def finish(self, row: int) -> None:
        """Write no more in this row, for a reason of the caller's, such as a stop string."""
        self._rows[row].is_finished = True

    def __iter__(self) -> Iterator[Chosen]:
        """Yield the tokens of each step, row by row.

        Raises:
            NumericsError: The model's logits are not finite.
        """
        rows = list(self._rows)
        if not rows:
            return
        cache, logits_BV = self._read_prompts(rows)
        while True:
            for row, token_id in zip(rows, self._choose(logits_BV, rows), strict=True):
                yield self._taken(row, token_id)
            active = [place for place, row in enumerate(rows) if not row.is_finished]
            if not active:
                return
            if len(active) < len(rows):
                cache.keep(active)
                rows = [rows[place] for place in active]
            logits_BV = self._read_last(rows, cache)

    def _taken(self, row: _Row, token_id: int) -> Chosen:
        row.written.append(token_id)
        reason: FinishReason | None = None
        if token_id in self._stop_ids:
            reason = "stop"
        elif len(row.written) == row.most_tokens:
            reason = "length"
        row.is_finished = reason is not None
        return Chosen(row.index, token_id, reason)

    # Inference mode belongs to the thread, so no `yield` may stand inside it.
    @torch.inference_mode()
    def _read_prompts(self, rows: list[_Row]) -> tuple[KeyValueCache, Tensor]:
        weight = self._model.output_weight
        lengths = [len(row.prompt) for row in rows]
        tokens_BT = torch.zeros(len(rows), max(lengths), dtype=torch.int64)
        for place, row in enumerate(rows):
            tokens_BT[place, : len(row.prompt)] = torch.tensor(row.prompt)
        num_slots = max(len(row.prompt) + row.most_tokens - 1 for row in rows)
        cache = self._model.new_cache(len(rows), num_slots)
        states_BTD = self._model.hidden(tokens_BT.to(weight.device), cache)
        cache.truncate(lengths)
        last_B = torch.tensor(lengths, device=weight.device) - 1
        places_B = torch.arange(len(rows), device=weight.device)
        return cache, self._model.logits(states_BTD[places_B, last_B])

    @torch.inference_mode()
    def _read_last(self, rows: list[_Row], cache: KeyValueCache) -> Tensor:
        tokens_B1 = torch.tensor([[row.written[-1]] for row in rows])
        return self._model(tokens_B1.to(self._model.output_weight.device), cache)[:, 0]

    @torch.inference_mode()
    def _choose(self, logits_BV: Tensor, rows: list[_Row]) -> list[int]:
        if not bool(logits_BV.isfinite().all()):
            raise NumericsError(
                "the model's logits are not finite: its weights are damaged, or its numbers "
                "exceed the dtype; try --dtype float32"
            )
        draws = [(self._first_row + row.index, len(row.written)) for row in rows]
        return choose(logits_BV, self._plan, self._seed, draws)
