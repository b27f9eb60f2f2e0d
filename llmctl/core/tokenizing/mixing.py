"""How often each document is seen in training, and in which order.

Documents are put together in groups by corpus and source, each with its epochs: from the
recipe's `tokenize.mix`, or one. Of 2.5 epochs every document is written twice and half of
them once more: which, and the order of all, is drawn from the seed and their content, so
that it depends neither on the number nor on the order of the documents beside them. Held-out
documents take no part: they are written once.

Shapes: D documents of training, R documents as often as they are written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from llmctl.core.artifacts.documents import shortened
from llmctl.core.errors import RecipeError
from llmctl.core.text.polynomial_hashes import Hashes, mixed
from llmctl.core.tokenize_plan import TokenizePlan, TokenMix

_MAX_NAMED = 30
# Of SplitMix64 (Steele et al. 2014, "Fast splittable pseudorandom number generators").
_INCREMENT = np.uint64(0x9E3779B97F4A7C15)
# A float64 holds so many bits without rounding 1 - 2^-64 up to 1.
_FRACTION_BITS = 53

Repetitions = NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class MixGroup:
    """The training documents of one source of one corpus.

    Attributes:
        corpus: The corpus's name.
        source: The source's name.
        tokens: As they are, each document once.
    """

    corpus: str
    source: str
    tokens: int


@dataclass(frozen=True, slots=True)
class MixedGroup:
    """How often a group is seen.

    Attributes:
        corpus: The corpus's name.
        source: The source's name.
        name: The name in the recipe that counts for the group; None: none does.
        epochs: How often each of its documents is written, on average.
        tokens: So many are wanted; whole documents make a little more or less of them.
    """

    corpus: str
    source: str
    name: str | None
    epochs: float
    tokens: int


def plan_mix(plan: TokenizePlan, groups: Sequence[MixGroup]) -> list[MixedGroup]:
    """Return the epochs of each group.

    A name in the recipe stands for the corpus and the source of that name, for the sources
    below a directory of that name, and for those that it matches as a pattern, whose `*`
    matches `/` too. Of several the source's own name counts, then the corpus's, then the
    longest pattern, then the first in the alphabet: the order in the recipe means nothing.

    The groups of one name are one stretch of text, seen evenly often. Names with a weight
    get tokens in proportion to it, and as many as there can be with none seen more than its
    `epochs`, or once. Those without a weight are seen as often as `epochs` says, groups
    without a name once.

    Args:
        plan: The section of the recipe.
        groups: All groups.

    Raises:
        RecipeError: A name counts for no group.
    """
    ranked = sorted(plan.mix, key=lambda name: (-len(name), name))
    names = [_name_of(group, ranked) for group in groups]
    _refuse_idle(plan.mix, groups, names)
    tokens = dict.fromkeys(plan.mix, 0)
    for group, name in zip(groups, names, strict=True):
        if name is not None:
            tokens[name] += group.tokens
    epochs: dict[str | None, float] = {None: 1.0, **_epochs(plan.mix, tokens)}
    return [
        MixedGroup(
            group.corpus, group.source, name, epochs[name], round(epochs[name] * group.tokens)
        )
        for group, name in zip(groups, names, strict=True)
    ]


def _epochs(mix: Mapping[str, TokenMix], tokens: Mapping[str, int]) -> dict[str, float]:
    """Return the epochs of each name; in fractions, so that a bound is met and not nearly met."""
    most = {name: Fraction(entry.epochs or 1) for name, entry in mix.items()}
    # A name without any tokens would let none of the others have any.
    weights = {
        name: Fraction(entry.weight)
        for name, entry in mix.items()
        if entry.weight is not None and tokens[name]
    }
    per_weight = min((most[name] * tokens[name] / weights[name] for name in weights), default=0)
    weighted = {name: per_weight * weight / tokens[name] for name, weight in weights.items()}
    return {name: float(epochs) for name, epochs in (most | weighted).items()}


def _name_of(group: MixGroup, ranked: Sequence[str]) -> str | None:
    for own in (group.source, group.corpus):
        if own in ranked:
            return own
    return next((name for name in ranked if _stands_for(name, group)), None)


def _stands_for(name: str, group: MixGroup) -> bool:
    return any(
        own.startswith(name.rstrip("/") + "/") or fnmatchcase(own, name)
        for own in (group.source, group.corpus)
    )


def _refuse_idle(
    names: Iterable[str], groups: Sequence[MixGroup], used: Sequence[str | None]
) -> None:
    for name in names:
        if name in used:
            continue
        others = [
            other for group, other in zip(groups, used, strict=True) if _stands_for(name, group)
        ]
        if others:
            raise RecipeError(
                f"tokenize.mix: {name!r} is never used: {others[0]!r} and others that name the "
                "same more exactly count; take it out"
            )
        raise RecipeError(
            f"tokenize.mix: {name!r} stands for no corpus and no source; there are the corpora "
            f"{_listed(group.corpus for group in groups)} and the sources "
            f"{_listed(group.source for group in groups)}"
        )


def _listed(names: Iterable[str]) -> str:
    found = list(dict.fromkeys(names))
    shown = ", ".join(map(shortened, found[:_MAX_NAMED])) or "none"
    return f"{shown} and {len(found) - _MAX_NAMED:,} more" if len(found) > _MAX_NAMED else shown


def repetitions(contents_D: Hashes, epochs_D: NDArray[np.float64], seed: int) -> Repetitions:
    """Return how often each document is written, shape (D,).

    floor(epochs) times, and once more if the document's draw, as a share of all draws, is
    below what is left: more epochs only add. Documents of one content are drawn together.

    Args:
        contents_D: A hash of each document's content.
        epochs_D: Of each document's group; finite, at least 0 and below 2^32.
        seed: At least 0 and below 2^64.

    Raises:
        ValueError: The shapes differ.
    """
    if contents_D.shape != epochs_D.shape:
        raise ValueError(f"contents of shape {contents_D.shape}, epochs of {epochs_D.shape}")
    draws_D = _drawn(_states(contents_D, seed), np.uint64(0))
    shares_D = (draws_D >> np.uint64(64 - _FRACTION_BITS)) * 2.0**-_FRACTION_BITS
    whole_D = np.floor(epochs_D)
    return (whole_D + (shares_D < epochs_D - whole_D)).astype(np.uint32)


def order(contents_D: Hashes, repetitions_D: Repetitions, seed: int) -> NDArray[np.int64]:
    """Return the documents, by their number, in the order in which they are written, shape (R,).

    Each is there as often as `repetitions_D` says. Those of one content are told apart by
    their number, and stand no nearer to each other than any others.

    Args:
        contents_D: A hash of each document's content.
        repetitions_D: How often each is written.
        seed: At least 0 and below 2^64.

    Raises:
        ValueError: The shapes differ.
    """
    if contents_D.shape != repetitions_D.shape:
        raise ValueError(
            f"contents of shape {contents_D.shape}, repetitions of {repetitions_D.shape}"
        )
    # Equal contents stand together: their copies are counted through.
    by_content_D = np.argsort(contents_D, kind="stable")
    documents_R = np.repeat(by_content_D, repetitions_D[by_content_D])
    contents_R = contents_D[documents_R]
    is_first_R = np.ones(len(documents_R), dtype=bool)
    np.not_equal(contents_R[1:], contents_R[:-1], out=is_first_R[1:])
    firsts = np.flatnonzero(is_first_R)
    copies_R = np.arange(len(documents_R)) - np.repeat(
        firsts, np.diff(firsts, append=len(documents_R))
    )
    draws_R = _drawn(_states(contents_R, seed), copies_R.astype(np.uint64) + np.uint64(1))
    return documents_R[np.argsort(draws_R, kind="stable")]


def _states(contents: Hashes, seed: int) -> Hashes:
    # An unmixed seed would only make neighbouring contents change places.
    return mixed(contents ^ mixed(np.array([seed], dtype=np.uint64) + _INCREMENT))


def _drawn(states: Hashes, numbers: NDArray[np.uint64] | np.uint64) -> Hashes:
    """Return a number, counted from 0, of the sequence that SplitMix64 makes of each state."""
    return mixed(states + (numbers + np.uint64(1)) * _INCREMENT)
