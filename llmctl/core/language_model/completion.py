"""Prompts in, continuations out: tokens are made, decoded and cut at stop strings."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from llmctl.core.decoding.beam_search import beam_search
from llmctl.core.decoding.generation import (
    Chosen,
    FinishReason,
    Generation,
    GenerationSettings,
    Request,
    check_prompt,
)
from llmctl.core.decoding.memory import Memory
from llmctl.core.decoding.stop_strings import StopStrings
from llmctl.core.errors import DataError
from llmctl.core.model.transformer import Transformer
from llmctl.core.recipe import GeneratePlan
from llmctl.core.tokens.text_stream import TextStream
from llmctl.core.tokens.tokenizer import Tokenizer

BATCH_ROWS = 16


@dataclass(frozen=True)
class Prompt:
    """A prompt whose ids are already made, such as a conversation's.

    Attributes:
        text: What a person sees of it.
        ids: What the model reads.
    """

    text: str
    ids: tuple[int, ...]


@dataclass(frozen=True)
class Completion:
    """A prompt and what was written after it.

    Attributes:
        prompt: Its text, as given.
        text: The continuation alone, up to the stop string if one was met.
        token_ids: The tokens chosen, without one that ends a text; where a stop string was
            met, they may reach beyond `text`.
        finish_reason: "stop" at the end of a text or a stop string, "length" at `max_tokens`
            or where the context is full, "time" where the time was up.
        num_prompt_tokens: Tokens of the prompt.
        sample: Which continuation of the prompt, from 0; of a beam search the rank.
        logprobs: Each token's log-probability as the model has it, in nats, if asked for.
        score: Of a beam search; see `beam_search.Beam`.
        prompt_seconds: From the prompt's turn to the first token.
        decode_seconds: From the first token to the last.
    """

    prompt: str
    text: str
    token_ids: tuple[int, ...]
    finish_reason: FinishReason
    num_prompt_tokens: int
    sample: int = 0
    logprobs: tuple[float, ...] | None = None
    score: float | None = None
    prompt_seconds: float = field(default=0.0, compare=False)
    decode_seconds: float = field(default=0.0, compare=False)

    def as_dict(self) -> dict[str, Any]:
        """Return what was written, for JSON; score and log-probabilities where there are."""
        told: dict[str, Any] = {
            "text": self.text,
            "finish_reason": self.finish_reason,
            "prompt_tokens": self.num_prompt_tokens,
            "tokens": len(self.token_ids),
        }
        if self.score is not None:
            told["score"] = self.score
        if self.logprobs is not None:
            told |= {"token_ids": self.token_ids, "logprobs": self.logprobs}
        return told


class _Writing:
    """One text in the making."""

    def __init__(self, prompt: Prompt, tokenizer: Tokenizer, plan: GeneratePlan) -> None:
        self._prompt = prompt
        self._stream = TextStream(tokenizer)
        self._stops = StopStrings(plan.stop)
        self._token_ids: list[int] = []
        self._logprobs: list[float] = []
        self._pieces: list[str] = []
        self._begun = time.perf_counter()
        self._first: float | None = None
        self.score: float | None = None
        self.completion: Completion | None = None

    def take(self, chosen: Chosen) -> str:
        """Add a token; return the text that is certain by now and was not returned before."""
        reason = chosen.finish_reason
        now = time.perf_counter()
        first = self._first = now if self._first is None else self._first
        piece = ""
        if reason != "stop":
            self._token_ids.append(chosen.token_id)
            if chosen.logprob is not None:
                self._logprobs.append(chosen.logprob)
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
                prompt=self._prompt.text,
                text="".join(self._pieces),
                token_ids=tuple(self._token_ids),
                finish_reason=reason,
                num_prompt_tokens=len(self._prompt.ids),
                sample=chosen.sample,
                logprobs=None if chosen.logprob is None else tuple(self._logprobs),
                score=self.score,
                prompt_seconds=first - self._begun,
                decode_seconds=now - first,
            )
        return piece


@dataclass(frozen=True)
class Completer:
    """Continues prompts of one model.

    Attributes:
        model: Not changed.
        tokenizer: Its own.
        stop_ids: Tokens that end a text.
        begin_id: The token that begins a text where a prompt holds nothing; None: an
            empty prompt is refused.
        memory: Of the text before, so that a conversation is read once; `stream` alone uses it.
    """

    model: Transformer
    tokenizer: Tokenizer
    stop_ids: frozenset[int]
    begin_id: int | None
    memory: Memory | None = None

    def complete(
        self,
        prompts: Sequence[str | Prompt],
        plan: GeneratePlan,
        *,
        seed: int,
        with_logprobs: bool = False,
    ) -> Iterator[Completion]:
        """Yield each prompt's continuations, all in order; some are made together.

        Raises:
            DataError: A prompt is longer than the context, or empty where no text can be
                begun; nothing is generated then.
            UsageError: A stop string is empty, or a bias is for no token.
            NumericsError: The model's logits are not finite.
        """
        encoded = self._encoded(prompts)
        for number, prompt in enumerate(encoded):
            check_prompt(self.request(number, prompt), self.model.context_tokens)
        job = _Job(replace(self, memory=None), enumerate(encoded), plan, seed, with_logprobs)
        return _in_order(job, len(encoded), plan.num_samples)

    def complete_as_ready(
        self,
        prompts: Iterable[tuple[int, str | Prompt]],
        plan: GeneratePlan,
        *,
        seed: int,
        with_logprobs: bool = False,
        check: Callable[[], None] | None = None,
    ) -> Iterator[tuple[int, Completion | DataError]]:
        """Yield each continuation as soon as it is there, with the number of its prompt.

        A prompt that cannot be continued comes out as its error.

        Args:
            prompts: Numbered by the caller, each number once; with the seed it decides
                what is drawn. Taken as there is room.
            plan: What to write.
            seed: Of every draw.
            with_logprobs: Tell each token's log-probability.
            check: Called after every token; raises where the work should end early.

        Raises:
            UsageError: A stop string is empty, or a bias is for no token.
            NumericsError: The model's logits are not finite.
        """
        job = _Job(replace(self, memory=None), prompts, plan, seed, with_logprobs, refuse=True)
        return _as_ready(job, check or _go_on)

    def stream(
        self, prompt: str | Prompt, plan: GeneratePlan, *, seed: int, with_logprobs: bool = False
    ) -> Generator[str, None, Completion]:
        """Yield one continuation in pieces as it is written; return it whole.

        The pieces joined are the completion's text, which is what `complete` gives first
        for the same prompt alone. No piece holds part of a character or of a stop string.

        Raises:
            DataError: The prompt is longer than the context, or empty where no text can
                be begun.
            UsageError: A stop string is empty, or a bias is for no token.
            NumericsError: The model's logits are not finite.
        """
        plan = plan.model_copy(update={"num_samples": 1})
        found: Completion | None = None
        for _, piece, completion in _Job(self, [(0, prompt)], plan, seed, with_logprobs):
            if piece:
                yield piece
            found = found or completion
        if found is None:
            raise ValueError("a generation ended without finishing its text")
        return found

    def request(self, number: int, prompt: Prompt) -> Request:
        """Return what the model reads.

        Raises:
            DataError: Nothing, and no token begins a text; or the tokenizer is another model's.
        """
        if prompt.ids:
            if max(prompt.ids) >= self.model.vocab_size:  # a vocabulary may skip ids
                raise DataError(
                    f"the tokenizer gives the id {max(prompt.ids):,} and the model has only "
                    f"{self.model.vocab_size:,} entries; they do not belong together"
                )
            return Request(number, prompt.ids)
        if self.begin_id is None:
            raise DataError(
                f"prompt {number + 1} is empty, and the model has no token that begins a text; "
                "write the first word"
            )
        # Nothing to continue: begin a text, as one begins after the end of another.
        return Request(number, (self.begin_id,))

    def _encoded(self, prompts: Sequence[str | Prompt]) -> list[Prompt]:
        return [self.prompt(given) if isinstance(given, str) else given for given in prompts]

    def prompt(self, text: str) -> Prompt:
        """Return a text with its ids, those that the tokenizer begins a text with included.

        Raises:
            DataError: The text holds a lone surrogate.
        """
        return Prompt(text, tuple(self.tokenizer.encode_prompt(text)))


class _Job:
    """Numbered prompts on their way to completions."""

    def __init__(
        self,
        completer: Completer,
        prompts: Iterable[tuple[int, str | Prompt]],
        plan: GeneratePlan,
        seed: int,
        with_logprobs: bool,
        *,
        refuse: bool = False,
    ) -> None:
        StopStrings(plan.stop)  # an empty one is refused before anything is written
        self._completer = completer
        self._prompts = prompts
        self._plan = plan
        self._with_logprobs = with_logprobs
        self._refuse = refuse
        self._writings: dict[tuple[int, int], _Writing] = {}
        self.refused: list[tuple[int, DataError]] = []
        self._generation = Generation(
            completer.model,
            self._requests(),
            plan,
            seed=seed,
            stop_ids=completer.stop_ids,
            settings=GenerationSettings(
                batch_rows=BATCH_ROWS, with_logprobs=with_logprobs, memory=completer.memory
            ),
        )

    def __iter__(self) -> Iterator[tuple[int, str, Completion | None]]:
        """Yield (number, certain text, completion) of each token, the last where it ends one."""
        tokens = self._generation if self._plan.num_beams == 1 else self._beams()
        for chosen in tokens:
            key = chosen.request, chosen.sample
            if key not in self._writings:
                continue  # a beam goes on after a stop string
            writing = self._writings[key]
            piece = writing.take(chosen)
            if writing.completion is not None:
                self._generation.finish(*key)
                del self._writings[key]
            yield chosen.request, piece, writing.completion

    def _requests(self) -> Iterator[Request]:
        for number, given in self._prompts:
            try:
                prompt = self._completer.prompt(given) if isinstance(given, str) else given
                request = self._completer.request(number, prompt)
                check_prompt(request, self._completer.model.context_tokens)
            except DataError as error:
                if not self._refuse:
                    raise
                self.refused.append((number, error))
                continue
            for sample in range(self._plan.num_samples):
                self._writings[number, sample] = _Writing(
                    prompt, self._completer.tokenizer, self._plan
                )
            yield request

    def _beams(self) -> Iterator[Chosen]:
        for request in self._requests():
            beams = beam_search(
                self._completer.model, request, self._plan, stop_ids=self._completer.stop_ids
            )
            for sample, beam in enumerate(beams):
                self._writings[request.number, sample].score = beam.score
                for at, token_id in enumerate(beam.token_ids):
                    is_last = at == len(beam.token_ids) - 1
                    yield Chosen(
                        request.number,
                        sample,
                        token_id,
                        beam.finish_reason if is_last else None,
                        beam.logprobs[at] if self._with_logprobs else None,
                    )
            # Where few tokens are allowed, there may be fewer texts than were asked for.
            for sample in range(len(beams), self._plan.num_samples):
                del self._writings[request.number, sample]


def _go_on() -> None:
    """Never end early."""


def _as_ready(job: _Job, check: Callable[[], None]) -> Iterator[tuple[int, Completion | DataError]]:
    for number, _, completion in job:
        yield from job.refused
        job.refused.clear()
        if completion is not None:
            yield number, completion
        check()
    yield from job.refused


def _in_order(job: _Job, num_prompts: int, num_samples: int) -> Iterator[Completion]:
    ready: dict[tuple[int, int], Completion] = {}
    order = ((number, sample) for number in range(num_prompts) for sample in range(num_samples))
    awaited = next(order, None)
    for number, _, completion in job:
        if completion is None:
            continue
        ready[number, completion.sample] = completion
        while awaited in ready:
            yield ready.pop(awaited)
            awaited = next(order, None)
    # Left are those after a text that a beam search did not find.
    for key in sorted(ready):
        yield ready[key]
