"""How much of each source is kept, and which documents of a sample: decided by their names.

A document's draw is 64 bits made of the seed and its id. What is kept depends neither on the
order of the documents nor on who read them, and a higher weight, where no cap is, only adds
to what a lower one keeps.

Shapes: D documents.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
from numpy.typing import NDArray

from llmctl.core.artifacts.documents import shortened
from llmctl.core.clean_plan import MixPlan
from llmctl.core.errors import RecipeError

WEIGHT_RULE = "mix_weight"
CHARACTERS_RULE = "mix_characters"

_MAX_DRAW = (1 << 64) - 1
# A float64 holds so many bits without rounding 1 - 2^-64 up to 1.
_FRACTION_BITS = 53
_MIXER = np.uint64(0xD6E8FEB86659FD93)

Draws = NDArray[np.uint64]


def draw(seed: int, identifier: str) -> int:
    """Return 64 bits for a document, evenly spread and the same on every machine.

    Args:
        seed: At least 0 and below 2^64.
        identifier: The document's id; equal ones are drawn together.
    """
    name = identifier.encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(name, digest_size=8, key=seed.to_bytes(8, "little"))
    return int.from_bytes(digest.digest(), "little")


def copy_id(identifier: str, number: int) -> str:
    """Return the id of a document's copy; number 1 is the document itself."""
    return identifier if number == 1 else f"{identifier}#{number}"


@dataclass(frozen=True, slots=True)
class MixDecision:
    """What becomes of each document.

    Attributes:
        copies_D: How often it is written; 0: it is dropped.
        lacks_weight_D: Dropped by `mix_weight`: its draw, as a share, is not below the weight.
        is_over_D: Dropped by `mix_characters`: with it, its group would be above the cap.
        values_D: Of a dropped one, that share, or the characters of its group with it.
        thresholds_D: Of a dropped one, the weight or the cap.
    """

    copies_D: NDArray[np.int64]
    lacks_weight_D: NDArray[np.bool_]
    is_over_D: NDArray[np.bool_]
    values_D: NDArray[np.float64]
    thresholds_D: NDArray[np.float64]


class Mixer:
    """The weights and caps of a plan, settled for the sources that there are.

    A pattern stands for the source of that name, for those below a directory of that name,
    and for those that it matches as a glob, whose `*` matches `/` too. Of several the exact
    name counts, else the longest pattern, else the first in the alphabet: the order in the
    recipe means nothing. A source without a weight is kept whole.

    Args:
        plan: The weights and caps.
        sources: The names of the sources; documents refer to them by number.

    Raises:
        RecipeError: A pattern stands for no source.
    """

    def __init__(self, plan: MixPlan, sources: Sequence[str]) -> None:
        weights = _patterns_of(list(plan.weights), sources, "weights")
        caps = _patterns_of(list(plan.max_characters), sources, "max_characters")
        self._weights = np.array([plan.weights[name] if name else 1.0 for name in weights])
        groups = sorted(plan.max_characters)
        self._caps = [plan.max_characters[name] for name in groups]
        self._groups = np.array([groups.index(name) if name else -1 for name in caps], np.int64)

    def decide(
        self, sources_D: NDArray[np.integer], draws_D: Draws, characters_D: NDArray[np.integer]
    ) -> MixDecision:
        """Decide about all documents.

        A document is written floor(weight) times, and once more if its draw, as a share of
        all draws, is below what is left of the weight. A cap holds for all sources that its
        pattern stands for together, copies counted: their documents are taken in an order of
        their own, made of the draw, until one does not fit; those larger than the whole cap
        are passed over.

        Args:
            sources_D: The number of each document's source.
            draws_D: Each document's `draw`.
            characters_D: Each document's length.
        """
        weights_D = self._weights[sources_D]
        shares_D = (draws_D >> np.uint64(64 - _FRACTION_BITS)) * 2.0**-_FRACTION_BITS
        whole_D = np.floor(weights_D)
        copies_D = (whole_D + (shares_D < weights_D - whole_D)).astype(np.int64)
        lacks_weight_D = copies_D == 0
        is_over_D = np.zeros(len(copies_D), dtype=np.bool_)
        values_D = np.where(lacks_weight_D, shares_D, 0.0)
        thresholds_D = np.where(lacks_weight_D, weights_D, 0.0)
        sizes_D = copies_D * characters_D
        for group, cap in enumerate(self._caps):
            numbers = np.flatnonzero((self._groups[sources_D] == group) & ~lacks_weight_D)
            sums = _running_sums(draws_D[numbers], sizes_D[numbers], cap)
            over = numbers[sums > cap]
            is_over_D[over] = True
            values_D[over] = sums[sums > cap]
            thresholds_D[over] = cap
        copies_D[is_over_D] = 0
        return MixDecision(copies_D, lacks_weight_D, is_over_D, values_D, thresholds_D)


def _running_sums(draws: Draws, sizes: NDArray[np.int64], cap: int) -> NDArray[np.int64]:
    """Return the size of all documents up to each, or its own where that is above the cap."""
    # Not the draw itself: the documents that a weight of 1.5 takes twice have the lowest.
    keys = draws * _MIXER
    keys ^= keys >> np.uint64(32)
    order = np.lexsort((sizes, keys * _MIXER))
    sorted_sizes = sizes[order]
    fits = sorted_sizes <= cap
    sums = np.empty_like(sizes)
    sums[order] = np.where(fits, np.cumsum(np.where(fits, sorted_sizes, 0)), sorted_sizes)
    return sums


def _patterns_of(patterns: Sequence[str], sources: Sequence[str], key: str) -> list[str | None]:
    """Return the pattern that counts for each source; None where none stands for it."""
    ranked = sorted(patterns, key=lambda pattern: (-len(pattern), pattern))
    for pattern in patterns:
        if not any(_stands_for(pattern, source) for source in sources):
            raise RecipeError(
                f"clean.mix.{key}: {pattern!r} stands for no source; there are "
                f"{shortened(', '.join(sources)) or 'none'}"
            )
    return [
        source
        if source in ranked
        else next((pattern for pattern in ranked if _stands_for(pattern, source)), None)
        for source in sources
    ]


def _stands_for(pattern: str, source: str) -> bool:
    return (
        pattern == source
        or source.startswith(pattern.rstrip("/") + "/")
        or fnmatchcase(source, pattern)
    )


class Sampler:
    """Finds the lowest draws of documents that come unit by unit, in any order.

    Args:
        size: Documents to draw.

    Attributes:
        num_seen: Documents merged so far.
        threshold: The documents with no higher draw are the sample.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.num_seen = 0
        self.threshold = _MAX_DRAW
        self._lowest: Draws = np.empty(0, dtype=np.uint64)

    def merge(self, lowest_draws: Draws, num_documents: int) -> None:
        """Take in a unit.

        Args:
            lowest_draws: Of its documents; as many as are drawn in all, or as it has.
            num_documents: How many documents it has.
        """
        self.num_seen += num_documents
        self._lowest = np.sort(np.concatenate((self._lowest, lowest_draws)))[: self.size]
        if len(self._lowest) == self.size:
            self.threshold = int(self._lowest[-1])
