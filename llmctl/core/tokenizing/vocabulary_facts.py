"""What a vocabulary holds, and what of it is ever used. V vocabulary."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from llmctl.core.artifacts.shards_facts import TokenEntry, TokenKind, VocabularyFacts
from llmctl.core.tokenizing.token_facts import HAN, TokenFacts

MAX_LISTED = 50
SPECIAL, BYTES, OTHER = "special tokens", "parts of characters", "others"
_LATIN = "A-Za-zªºÀ-ÖØ-öø-ɏḀ-ỿＡ-Ｚａ-ｚ"
_IN_FRONT = r"[ -/:-@\[-`{-~]?"
# The first that fits.
_KINDS = {
    "blanks": re.compile(r"\s+"),
    "Han": re.compile(f"[{HAN}]+"),
    "Latin words": re.compile(rf"{_IN_FRONT}[{_LATIN}]+"),
    "digits": re.compile(rf"{_IN_FRONT}\d+"),
    "punctuation and symbols": re.compile(r"(?:[^\w]|_)+"),
}
_SIGNS = ("blanks", "punctuation and symbols")
KINDS = (*_KINDS, OTHER, BYTES, SPECIAL)
"""All kinds, in the order of the report."""


def vocabulary_facts(facts: TokenFacts, occurrences_V: NDArray[np.int64]) -> VocabularyFacts:
    """Return what a report says of a vocabulary.

    Args:
        facts: What its ids stand for.
        occurrences_V: How often each id occurs.

    Raises:
        ValueError: These are not of one vocabulary.
    """
    if len(occurrences_V) != facts.vocab_size:
        raise ValueError(f"{len(occurrences_V)} counts of {facts.vocab_size} entries")
    kind_V = np.array([_kind(facts, token) for token in range(facts.vocab_size)], dtype=object)
    is_text_V = facts.byte_lengths_V > 0
    unused = np.flatnonzero(is_text_V & (occurrences_V == 0)).tolist()
    lengths = {
        token: len(facts.contents[token].decode())
        for token in np.flatnonzero(is_text_V & facts.is_whole_V).tolist()
    }
    by_length = sorted(lengths, key=lambda token: (-lengths[token], token))
    by_count = np.lexsort((np.arange(facts.vocab_size), -occurrences_V)).tolist()

    def entries(tokens: Iterable[int]) -> list[TokenEntry]:
        return [
            TokenEntry(
                id=token,
                text=facts.tokenizer.piece(token),
                bytes=len(facts.contents[token]),
                count=int(occurrences_V[token]),
            )
            for token in [*tokens][:MAX_LISTED]
        ]

    return VocabularyFacts(
        size=facts.vocab_size,
        entries=facts.tokenizer.num_entries,
        unused=len(unused),
        unused_entries=entries(token for token in unused if facts.byte_lengths_V[token] > 1),
        kinds=_kinds(kind_V, occurrences_V),
        most_frequent=entries(token for token in by_count if occurrences_V[token]),
        longest=entries(token for token in by_length if kind_V[token] not in _SIGNS),
        longest_han=entries(token for token in by_length if kind_V[token] == "Han"),
    )


def _kind(facts: TokenFacts, token: int) -> str | None:
    """Return the kind of an id; None where it stands for nothing."""
    if facts.is_special_V[token]:
        return SPECIAL
    content = facts.contents[token]
    if not content:
        return None
    if not facts.is_whole_V[token]:
        return BYTES
    text = content.decode()
    return next((kind for kind, pattern in _KINDS.items() if pattern.fullmatch(text)), OTHER)


def _kinds(kind_V: NDArray[np.object_], occurrences_V: NDArray[np.int64]) -> list[TokenKind]:
    found: list[TokenKind] = []
    for kind in KINDS:
        counts = occurrences_V[kind_V == kind]
        if len(counts):
            unused = int((counts == 0).sum())
            found.append(TokenKind(kind, len(counts), unused, int(counts.sum())))
    return found
