"""Model and prompts → text."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from llmctl.core.language_model.completion import Completion
from llmctl.core.language_model.language_model import LanguageModel
from llmctl.core.recipe import GeneratePlan

_SEED_BITS = 63


def open_model(path: Path, *, device: str = "auto", dtype: str = "auto") -> LanguageModel:
    """Read a model directory; see `LanguageModel.load`."""
    return LanguageModel.load(path, device=device, dtype=dtype)


def drawn_seed() -> int:
    """Return a seed nobody chose."""
    return secrets.randbits(_SEED_BITS)


def generate(
    plan: GeneratePlan, model: LanguageModel, prompts: Sequence[str], *, seed: int
) -> Iterator[Completion]:
    """Yield the continuation of each prompt, in order.

    Raises:
        DataError: A prompt is longer than the model's context; nothing is generated then.
        UsageError: A stop string is empty.
        NumericsError: The model's logits are not finite.
    """
    return model.complete(prompts, plan, seed=seed)


def stream_completion(
    model: LanguageModel,
    prompt: str,
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
