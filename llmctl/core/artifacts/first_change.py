"""Where two versions of a text first differ: the stretch, and a little around it."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import SequenceMatcher

CONTEXT_CHARACTERS = 40
SHOWN_CHARACTERS = 160
# Fewer equal characters in a row are chance, and the change goes on behind them.
_AGREEMENT = 8
_AGREEMENT_IN_CHINESE = 3
_WINDOW = 400


@dataclass(frozen=True, slots=True)
class FirstChange:
    """One change of a text.

    Attributes:
        before: The end of what stands before it, the same in both.
        deleted: What was there.
        inserted: What is there now.
        after: The beginning of what follows now.
    """

    before: str
    deleted: str
    inserted: str
    after: str


def first_change(old: str, new: str) -> FirstChange:
    """Return the first change between two texts, long stretches cut in the middle.

    Raises:
        ValueError: The texts are equal.
    """
    if old == new:
        raise ValueError("two equal texts have no change")
    start = _common_prefix(old, new)
    old_end, new_end = _ends(old, new, start)
    context = max(0, start - CONTEXT_CHARACTERS)
    return FirstChange(
        ("…" if context else "") + old[context:start],
        _cut(old[start:old_end]),
        _cut(new[start:new_end]),
        new[new_end : new_end + CONTEXT_CHARACTERS]
        + ("…" if new_end + CONTEXT_CHARACTERS < len(new) else ""),
    )


def _common_prefix(old: str, new: str) -> int:
    """Return how many characters the two begin with alike, comparing slices: it is quick."""
    low, high = 0, min(len(old), len(new))
    while low < high:
        middle = (low + high + 1) // 2
        if old[low:middle] == new[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _ends(old: str, new: str, start: int) -> tuple[int, int]:
    """Return where the texts agree again."""
    if start == len(old) or start == len(new):
        return len(old), len(new)
    ahead = new[start : start + 4 * _AGREEMENT]
    if (place := old.find(ahead, start)) >= 0 and (len(ahead) >= _AGREEMENT or place > start):
        return place, start
    ahead = old[start : start + 4 * _AGREEMENT]
    if (place := new.find(ahead, start)) >= 0 and (len(ahead) >= _AGREEMENT or place > start):
        return start, place
    pair = old[start : start + _WINDOW], new[start : start + _WINDOW]
    for block in SequenceMatcher(None, *pair, autojunk=False).get_matching_blocks():
        ends = start + block.a, start + block.b
        is_last = ends[0] + block.size == len(old) and ends[1] + block.size == len(new)
        is_ascii = old[ends[0] : ends[0] + block.size].isascii()
        enough = _AGREEMENT if is_ascii else _AGREEMENT_IN_CHINESE
        if block.size >= enough or (block.size and is_last):
            return ends
    return min(len(old), start + _WINDOW), min(len(new), start + _WINDOW)


def _cut(text: str) -> str:
    if len(text) <= SHOWN_CHARACTERS:
        return text
    half = SHOWN_CHARACTERS // 2
    return f"{text[:half]} … {text[-half:]}"
