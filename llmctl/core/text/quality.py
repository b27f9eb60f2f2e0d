"""The quality rules of `CleanPlan`: text → a number, and the bound that it breaks.

None assumes a language: letters are those of any script, words only those of scripts that
use spaces, and reference text, tables and short entries pass the defaults.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

from llmctl.core.clean_plan import QualityRules
from llmctl.core.text.words import UNSPACED

_SPACED_RUN = re.compile(f"[^\\s{UNSPACED}]+")


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that a text breaks.

    Attributes:
        rule: The rule's key in the plan.
        value: What was measured.
        threshold: The bound in the plan.
    """

    rule: str
    value: float
    threshold: float


def judge(text: str, rules: QualityRules) -> Violation | None:
    """Return the first rule that the text breaks, or None if it is to be kept.

    A text of white space only always breaks `min_characters`.
    """
    least = max(rules.min_characters or 0, 1)
    length = visible_characters(text, enough=int(least))
    if length < least:
        return Violation("min_characters", length, least)
    share, bound = letter_share(text), rules.min_letter_share
    if bound and share < bound:
        return Violation("min_letter_share", round(share, 4), bound)
    share, bound = repeated_line_share(text), rules.max_repeated_line_share
    if bound is not None and bound is not False and share > bound:
        return Violation("max_repeated_line_share", round(share, 4), bound)
    bound = rules.max_word_characters
    if bound is not None and bound is not False:
        length = longest_word(text, at_least=int(bound) + 1)
        if length > bound:
            return Violation("max_word_characters", length, bound)
    return None


def visible_characters(text: str, enough: int | None = None) -> int:
    """Count the characters that are not white space, wide ones (Chinese, kana, Hangul) twice.

    A wide character says about as much as two narrow ones, and is as wide on the screen.

    Args:
        text: Any text.
        enough: Where there are so many, wide ones may be counted once: it costs less.
    """
    visible = "".join(text.split())
    if visible.isascii() or (enough is not None and len(visible) >= enough):
        return len(visible)
    return len(visible) + sum(
        count for character, count in Counter(visible).items() if _is_wide(character)
    )


@lru_cache(maxsize=1 << 16)
def _is_wide(character: str) -> bool:
    return unicodedata.east_asian_width(character) in ("W", "F")


def letter_share(text: str) -> float:
    """Return the share of letters and digits among the visible characters, 0 where none are.

    Vowel signs and accents belong to their letters.
    """
    num_letters = num_visible = 0
    for character, count in Counter(text).items():
        if not character.isspace():
            num_visible += count
            num_letters += count * _is_letter(character)
    return num_letters / num_visible if num_visible else 0.0


@lru_cache(maxsize=1 << 16)
def _is_letter(character: str) -> bool:
    return character.isalnum() or unicodedata.category(character).startswith("M")


def repeated_line_share(text: str) -> float:
    """Return the share of characters in lines that repeat an earlier line.

    Blank lines, and blanks around a line, do not count.

    Source: Rae et al. 2021, Gopher, table A1, "duplicate line character fraction",
    arXiv:2112.11446.
    """
    lines = Counter(stripped for line in text.split("\n") if (stripped := line.strip()))
    total = sum(len(line) * count for line, count in lines.items())
    repeated = sum(len(line) * (count - 1) for line, count in lines.items())
    return repeated / total if total else 0.0


def longest_word(text: str, at_least: int = 1) -> int:
    """Return the length of the longest run without a space, in scripts that use spaces.

    Args:
        text: Any text.
        at_least: Shorter runs are of no interest; 0 is returned where all are.
    """
    # Most texts have no such run, and splitting at white space finds that out quickly.
    candidates = [piece for piece in text.split() if len(piece) >= at_least]
    runs = [run for piece in candidates for run in _SPACED_RUN.findall(piece)]
    longest = max(map(len, runs), default=0)
    return longest if longest >= at_least else 0
