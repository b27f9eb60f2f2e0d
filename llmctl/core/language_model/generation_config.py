"""What a checkpoint says of generation: which tokens begin and end a text, how to draw.

generation_config.json has the word; config.json where that is silent, as in transformers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from reprlib import repr as shortened
from typing import Any

from llmctl.core.errors import DataError, UsageError
from llmctl.core.recipe import generation_plan

# Their names → those of a recipe's `generate` section.
_SETTINGS = {
    "temperature": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "typical_p": "typical_p",
    "repetition_penalty": "repetition_penalty",
    "no_repeat_ngram_size": "no_repeat_ngram",
}
# What stands for "not at all" in transformers, where we have no value.
_OFF = {"top_k": 0, "no_repeat_ngram_size": 0}


@dataclass(frozen=True)
class GenerationConfig:
    """A checkpoint's own settings.

    Attributes:
        begin_id: What a text begins with, or is taken to follow; None for nothing.
        stop_ids: Tokens that end a text.
        settings: Of a recipe's `generate` section.
    """

    begin_id: int | None = None
    stop_ids: frozenset[int] = frozenset()
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def within(self, vocab_size: int) -> GenerationConfig:
        """Return the same without ids that a model of so many entries can neither read nor write.

        Configurations are copied from larger models more often than they are looked through.
        """
        begin_id = self.begin_id
        return replace(
            self,
            begin_id=begin_id if begin_id is not None and begin_id < vocab_size else None,
            stop_ids=frozenset(stop for stop in self.stop_ids if stop < vocab_size),
        )


def generation_config(config: Mapping[str, Any], generation: Mapping[str, Any]) -> GenerationConfig:
    """Read both files' contents.

    Raises:
        DataError: A token id or a setting is not of its kind.
    """
    begin, ends = (
        _ids(name, generation.get(name, config.get(name)))
        for name in ("bos_token_id", "eos_token_id")
    )
    # A model without a first token of its own begins after the end of another text.
    begin_id = next(iter(begin or ends), None)
    return GenerationConfig(begin_id, frozenset(ends), _settings(generation))


def _ids(name: str, value: object) -> list[int]:
    values = value if isinstance(value, list) else [] if value is None else [value]
    ids = [each for each in values if isinstance(each, int) and not isinstance(each, bool)]
    if len(ids) != len(values) or any(each < 0 for each in ids):
        raise DataError(
            f"{name}: expected a token's id or a list of them, found {shortened(value)}"
        )
    return ids


def _settings(generation: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for theirs, ours in _SETTINGS.items():
        value = generation.get(theirs)
        if value is None or value == _OFF.get(theirs):
            continue
        try:
            found[ours] = getattr(generation_plan(**{ours: value}), ours)
        except UsageError as error:
            raise DataError(f"generation_config.json: {error}") from error
    if generation.get("do_sample") is False and "temperature" in found:
        del found["temperature"]  # transformers ignores it, too
    return found
