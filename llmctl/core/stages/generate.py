"""Model and prompts → text."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from llmctl.core.errors import DataError, UsageError
from llmctl.core.language_model.chat import Chat
from llmctl.core.language_model.completion import Completer, Completion, Prompt
from llmctl.core.language_model.language_model import LanguageModel
from llmctl.core.model.bandwidth import bytes_per_token, read_bandwidth
from llmctl.core.recipe import GeneratePlan, generation_plan
from llmctl.core.tokens.chat_template import read_chat_template

_SEED_BITS = 63


@dataclass(frozen=True)
class Speed:
    """How fast one text was written.

    Attributes:
        prompt_tokens_per_second: Reading.
        decode_tokens_per_second: Writing, from the second token on; None for a single one.
        read_bytes_per_second: Weights, keys and values read while writing; likewise.
        bandwidth_bytes_per_second: What the device reads at best, measured just now.
    """

    prompt_tokens_per_second: float
    decode_tokens_per_second: float | None
    read_bytes_per_second: float | None
    bandwidth_bytes_per_second: float

    def __str__(self) -> str:
        words = [f"prompt {self.prompt_tokens_per_second:,.0f} tokens/s"]
        if self.decode_tokens_per_second is not None and self.read_bytes_per_second is not None:
            share = self.read_bytes_per_second / self.bandwidth_bytes_per_second
            words += [
                f"text {self.decode_tokens_per_second:,.1f} tokens/s",
                f"{self.read_bytes_per_second / 1e9:,.1f} GB/s, {share:.0%} of "
                f"{self.bandwidth_bytes_per_second / 1e9:,.0f} GB/s measured",
            ]
        return "; ".join(words)


def open_model(path: Path, *, device: str = "auto", dtype: str = "auto") -> LanguageModel:
    """Read a model directory; see `LanguageModel.load`."""
    return LanguageModel.load(path, device=device, dtype=dtype)


def drawn_seed() -> int:
    """Return a seed nobody chose."""
    return secrets.randbits(_SEED_BITS)


def settle(model: LanguageModel, given: Mapping[str, Any]) -> tuple[GeneratePlan, dict[str, str]]:
    """Return the plan, and where each of its settings comes from.

    What is given goes before what the checkpoint says of itself, and that before the
    defaults of a recipe.

    Args:
        model: Its generation_config.json.
        given: Name → value; None is not given.

    Raises:
        UsageError: A value is out of its range.
    """
    own = model.generation.settings
    chosen = {name: value for name, value in given.items() if value is not None}
    sources = dict.fromkeys(GeneratePlan.model_fields, "default")
    sources |= dict.fromkeys(own, "checkpoint") | dict.fromkeys(chosen, "option")
    return generation_plan(**{**own, **chosen}), sources


def token_id(model: LanguageModel, text: str) -> int:
    """Return the id that a number or the text of one token stands for.

    Raises:
        UsageError: It is no token of the model.
    """
    tokenizer = model.tokenizer
    if text.isdecimal() and int(text) < model.model.vocab_size:
        return int(text)
    named = tokenizer.id_of(text)
    ids = [named] if named is not None else tokenizer.encode(text)
    if len(ids) != 1:
        raise UsageError(
            f"{text!r} is no single token of this model, which writes it as {len(ids)}; "
            "`llmctl inspect` shows a text's tokens and their ids"
        )
    return ids[0]


def stop_at(model: LanguageModel, tokens: Sequence[str]) -> None:
    """Let more tokens end a text, named by id or text.

    Raises:
        UsageError: One is no token of the model.
    """
    ids = {token_id(model, text) for text in tokens}
    generation = model.generation
    model.generation = replace(generation, stop_ids=generation.stop_ids | ids)


def logit_biases(model: LanguageModel, assignments: Sequence[str]) -> dict[int, float]:
    """Return id → bias of assignments such as "1234=-5" or "Paris=2".

    Raises:
        UsageError: One is no assignment, or of no token of the model.
    """
    biases: dict[int, float] = {}
    for assignment in assignments:
        token, _, bias = assignment.rpartition("=")
        try:
            biases[token_id(model, token)] = float(bias)
        except ValueError:
            raise UsageError(
                f"{assignment!r}: expected TOKEN=BIAS, such as 1234=-5 or Paris=2"
            ) from None
    return biases


def generate(
    plan: GeneratePlan, model: LanguageModel, prompts: Sequence[str | Prompt], *, seed: int
) -> Iterator[Completion]:
    """Yield the continuation of each prompt, in order.

    Raises:
        DataError: A prompt is longer than the model's context; nothing is generated then.
        UsageError: A stop string is empty.
        NumericsError: The model's logits are not finite.
    """
    return model.complete(prompts, plan, seed=seed)


def stream_completion(
    model: LanguageModel | Completer,
    prompt: str | Prompt,
    plan: GeneratePlan,
    *,
    seed: int,
    write: Callable[[str], None],
) -> Completion:
    """Continue one prompt, handing on each piece of text as soon as it is certain.

    Raises:
        DataError: The prompt is longer than the model's context.
        UsageError: A stop string is empty.
        NumericsError: The model's logits are not finite.
    """
    pieces = model.stream(prompt, plan, seed=seed)
    while True:
        try:
            write(next(pieces))
        except StopIteration as end:
            return end.value


def has_chat_template(path: Path) -> bool:
    """Tell whether a model directory has a chat template."""
    return read_chat_template(path) is not None


def open_chat(model: LanguageModel, path: Path, plan: GeneratePlan, *, seed: int) -> Chat:
    """Return a conversation with a model, a context manager.

    Raises:
        DataError: The checkpoint has no chat template.
    """
    template = read_chat_template(path)
    if template is None:
        raise DataError(
            f"{path}: no chat template (chat_template.jinja, or chat_template in "
            "tokenizer_config.json), so the model knows no conversations; leave --chat away"
        )
    return Chat(model, template, plan, seed=seed)


def speed(model: LanguageModel, completion: Completion) -> Speed:
    """Return how fast a text was written, beside the bandwidth that bounds it."""
    num_written = len(completion.token_ids)
    rate = bytes_rate = None
    if num_written > 1 and completion.decode_seconds > 0:
        rate = (num_written - 1) / completion.decode_seconds
        num_before = completion.num_prompt_tokens + num_written / 2
        bytes_rate = rate * bytes_per_token(model.model, num_before)
    return Speed(
        completion.num_prompt_tokens / max(completion.prompt_seconds, 1e-9),
        rate,
        bytes_rate,
        read_bandwidth(model.device),
    )
