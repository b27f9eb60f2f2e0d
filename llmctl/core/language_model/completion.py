"""Prompts in, continuations out: tokens are made, decoded and cut at stop strings."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

from llmctl.core.decoding.generation import Chosen, FinishReason, Generation
from llmctl.core.decoding.stop_strings import StopStrings
from llmctl.core.model.transformer import Transformer
from llmctl.core.recipe import GeneratePlan
from llmctl.core.tokens.text_stream import TextStream
from llmctl.core.tokens.tokenizer import Tokenizer

BATCH_ROWS = 16


@dataclass(frozen=True)
class Completion:
    """A prompt and what was written after it.

    Attributes:
        prompt: As given.
        text: The continuation alone, up to the stop string if one was met.
        token_ids: The tokens chosen, without one that ends a text; where a stop string was
            met, they may reach beyond `text`.
        finish_reason: "stop" at the end of a text or a stop string, "length" at `max_tokens`
            or where the context is full.
        num_prompt_tokens: Tokens of the prompt.
    """

    prompt: str
    text: str
    token_ids: tuple[int, ...]
    finish_reason: FinishReason
    num_prompt_tokens: int


class _Writing:
    """One row's text in the making."""

    def __init__(
        self, prompt: str, num_prompt_tokens: int, tokenizer: Tokenizer, plan: GeneratePlan
    ) -> None:
        self._prompt = prompt
        self._num_prompt_tokens = num_prompt_tokens
        self._stream = TextStream(tokenizer)
        self._stops = StopStrings(plan.stop)
        self._token_ids: list[int] = []
        self._pieces: list[str] = []
        self.completion: Completion | None = None

    def take(self, chosen: Chosen) -> str:
        """Add a token; return the text that is certain by now and was not returned before."""
        reason = chosen.finish_reason
        piece = ""
        if reason != "stop":
            self._token_ids.append(chosen.token_id)
            piece = self._stops.push(self._stream.push(chosen.token_id))
        if reason is not None:
            piece += self._stops.push(self._stream.finish())
        if self._stops.found is not None:
            reason = "stop"
        elif reason is not None:
            piece += self._stops.finish()
        self._pieces.append(piece)
        if reason is not None:
            self.completion = Completion(
                prompt=self._prompt,
                text="".join(self._pieces),
                token_ids=tuple(self._token_ids),
                finish_reason=reason,
                num_prompt_tokens=self._num_prompt_tokens,
            )
        return piece


class _Batch:
    """Prompts that are continued together."""

    def __init__(
        self,
        model: Transformer,
        tokenizer: Tokenizer,
        prompts: Sequence[str],
        plan: GeneratePlan,
        seed: int,
        first_row: int,
    ) -> None:
        ids = tokenizer.encode_batch(list(prompts))
        self.writings = [
            _Writing(prompt, len(prompt_ids), tokenizer, plan)
            for prompt, prompt_ids in zip(prompts, ids, strict=True)
        ]
        end = tokenizer.end_of_text_id
        # Nothing to continue: begin a text, as one begins after the end of another.
        begun = [prompt_ids or [end] for prompt_ids in ids]
        self._generation = Generation(
            model, begun, plan, seed=seed, stop_ids=frozenset({end}), first_row=first_row
        )

    def __iter__(self) -> Iterator[tuple[int, str]]:
        """Yield (row, certain text) of each token; afterwards every writing is complete."""
        for chosen in self._generation:
            writing = self.writings[chosen.row]
            piece = writing.take(chosen)
            if writing.completion is not None:
                self._generation.finish(chosen.row)
            yield chosen.row, piece


def complete(
    model: Transformer,
    tokenizer: Tokenizer,
    prompts: Sequence[str],
    plan: GeneratePlan,
    *,
    seed: int,
) -> Iterator[Completion]:
    """Yield the continuation of each prompt, in order; some are made together.

    Raises:
        DataError: A prompt is longer than the context; nothing is generated then.
        UsageError: A stop string is empty.
        NumericsError: The model's logits are not finite.
    """
    batches = [
        _Batch(model, tokenizer, prompts[first : first + BATCH_ROWS], plan, seed, first)
        for first in range(0, len(prompts), BATCH_ROWS)
    ]
    return _completions(batches)


def _completions(batches: list[_Batch]) -> Iterator[Completion]:
    for batch in batches:
        for _ in batch:
            pass
        for writing in batch.writings:
            if writing.completion is None:
                raise ValueError("a generation ended without finishing all its rows")
            yield writing.completion


def stream(
    model: Transformer, tokenizer: Tokenizer, prompt: str, plan: GeneratePlan, *, seed: int
) -> Generator[str, None, Completion]:
    """Yield the continuation of one prompt in pieces as it is written; return it whole.

    The pieces joined are the completion's text, which is what `complete` gives for the
    same prompt alone. No piece holds part of a character or of a stop string.

    Raises:
        DataError: The prompt is longer than the context.
        UsageError: A stop string is empty.
        NumericsError: The model's logits are not finite.
    """
    batch = _Batch(model, tokenizer, [prompt], plan, seed, 0)
    for _, piece in batch:
        if piece:
            yield piece
    completion = batch.writings[0].completion
    if completion is None:
        raise ValueError("a generation ended without finishing its row")
    return completion
