"""The sentences and cells that the pages of shards have in common."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

from llmctl.core.artifacts.corpus_sentences import Figures
from llmctl.core.artifacts.html_text import number, share_text, shown_piece

COUNT_COLUMNS = (
    "documents",
    "tokens",
    "bytes/token",
    "characters/token",
    "tokens/Han",
    "single bytes",
)
_LONGEST_RUN = 8


def summary(figures: Figures) -> str:
    """Say what was encoded by what."""
    entries = figures["vocabulary"]["entries"]
    return (
        f"{figures['documents']:,} documents became {figures['tokens']:,} tokens of a vocabulary "
        f"of {entries:,} entries."
    )


def count_cells(counts: Figures) -> tuple[str, ...]:
    """Return what `COUNT_COLUMNS` name."""
    return f"{counts['documents']:,}", f"{counts['tokens']:,}", *ratio_cells(counts)


def ratio_cells(counts: Figures) -> tuple[str, ...]:
    """Return the last four of these."""
    share = counts.get("single_byte_share")
    return (
        ratio(counts.get("bytes_per_token")),
        ratio(counts.get("characters_per_token")),
        ratio(counts.get("tokens_per_han_character")),
        share_text(share) if share else "–",
    )


def ratio(value: float | None) -> str:
    """Return a number, or a dash where there is none."""
    return "–" if value is None else number(value)


def leak_sentence(leaks: Figures) -> str:
    """Say what of the test data was found in the training split."""
    if leaks["against"] == "validation":
        return (
            f"{leaks['found']:,} of {leaks['checked']:,} documents for validation have a "
            "near-duplicate in the training split."
        )
    return (
        f"{leaks['found']:,} of {leaks['checked']:,} items of {leaks['against']} are found in the "
        "training split."
    )


def shown_token(text: str) -> str:
    r"""Return a token for people: blanks as marks, a long run as × its length, U+200B as \u200b."""
    if len(text) > _LONGEST_RUN and len(set(text)) == 1:
        return f"{shown_token(text[0])} × {len(text)}"
    return "".join(
        f"\\u{ord(character):04x}"
        if unicodedata.category(character) in ("Cf", "Zs", "Zl", "Zp")
        else character
        for character in shown_piece(text)
    )


def by_tokens(counts: Mapping[str, Figures]) -> list[str]:
    """Return the names of counts, that of the most tokens first."""
    return sorted(counts, key=lambda name: (-counts[name]["tokens"], name))
