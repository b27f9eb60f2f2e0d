"""The scores of single documents, and what they add up to. D documents."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmctl.core.scores.intervals import FEWEST_DOCUMENTS, ratio_interval
from llmctl.core.scores.perplexity import bits_per_byte, bits_per_character, token_perplexity

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class DocumentScore:
    """What one document cost a model.

    Attributes:
        nats: Minus the log-probability of the whole document.
        num_tokens: Its length in tokens.
        num_bytes: Its length in bytes of UTF-8.
        num_characters: Its length in Unicode code points.
        language: "zh", "ja", "ko", "en", or "und".
    """

    nats: float
    num_tokens: int
    num_bytes: int
    num_characters: int
    language: str

    @property
    def bits_per_byte(self) -> float:
        """Cross-entropy in bits per byte; the document must not be empty."""
        return self.nats / math.log(2) / self.num_bytes


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are drawn; see `intervals.ratio_interval`.

    Attributes:
        num_samples: Resamples behind each; 0 for no intervals.
        seed: Decides the draws.
    """

    num_samples: int
    seed: int


def figures_of(scores: Iterable[DocumentScore], bootstrap: Bootstrap) -> dict[str, Any]:
    """Return every figure of a text by its name, empty documents left out.

    Each score `x` has beside it `x_interval`: two numbers, or None where none are asked for
    or there are too few documents.

    Raises:
        ValueError: No document stands for any text.
    """
    chosen = [score for score in scores if score.num_bytes > 0]
    nats_D = np.array([score.nats for score in chosen], np.float64)
    tokens_D = np.array([score.num_tokens for score in chosen], np.int64)
    bytes_D = np.array([score.num_bytes for score in chosen], np.int64)
    characters_D = np.array([score.num_characters for score in chosen], np.int64)

    def interval(counts_D: Integers, shown: Callable[[float], float]) -> tuple[float, float] | None:
        if bootstrap.num_samples == 0 or nats_D.size < FEWEST_DOCUMENTS:
            return None
        low, high = ratio_interval(
            nats_D, counts_D, num_samples=bootstrap.num_samples, seed=bootstrap.seed
        )
        return shown(low), shown(high)

    return {
        "bits_per_byte": bits_per_byte(nats_D, bytes_D),
        "bits_per_byte_interval": interval(bytes_D, _bits),
        "bits_per_character": bits_per_character(nats_D, characters_D),
        "bits_per_character_interval": interval(characters_D, _bits),
        "token_perplexity": token_perplexity(nats_D, tokens_D),
        "token_perplexity_interval": interval(tokens_D, math.exp),
        "documents": len(chosen),
        "tokens": int(tokens_D.sum()),
        "bytes": int(bytes_D.sum()),
        "characters": int(characters_D.sum()),
        "nats": float(nats_D.sum()),
    }


def figures_by_language(
    scores: Iterable[DocumentScore], bootstrap: Bootstrap
) -> dict[str, dict[str, Any]]:
    """Return the figures of each language's documents, or nothing where one is known at most."""
    groups: dict[str, list[DocumentScore]] = {}
    for score in scores:
        if score.num_bytes > 0:
            groups.setdefault(score.language, []).append(score)
    if len(groups.keys() - {"und"}) < 2:
        return {}
    return {language: figures_of(groups[language], bootstrap) for language in sorted(groups)}


def _bits(nats: float) -> float:
    return nats / math.log(2)
