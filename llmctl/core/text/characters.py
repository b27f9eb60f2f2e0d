"""Counting characters by kind over whole texts: letters, wide ones, those of unspaced scripts."""

from __future__ import annotations

import re
import unicodedata

import numpy as np
from numpy.typing import NDArray

from llmctl.core.text.words import UNSPACED

SPACE = 1
LETTER = 2
"""A letter of any script, a digit, or a vowel sign or accent, which belongs to its letter."""
WIDE = 4
"""As wide as two of the Latin ones: Chinese, kana, Hangul, full-width forms, emoji."""
UNSPACED_SCRIPT = 8
"""Of a script that is written without spaces."""

_UNSPACED = re.compile(f"[{UNSPACED}]")
_BLOCK = 256
_NUM_BLOCKS = 0x110000 // _BLOCK


class _Kinds:
    """The kinds of each code point, found out for 256 of them when one is first met."""

    def __init__(self) -> None:
        self._kinds = np.zeros(0x110000, dtype=np.uint8)
        self._is_known = np.zeros(_NUM_BLOCKS, dtype=np.bool_)

    def of(self, codes: NDArray[np.uint32]) -> NDArray[np.uint8]:
        blocks = codes >> 8
        if not self._is_known[blocks].all():
            for block in np.unique(blocks[~self._is_known[blocks]]).tolist():
                first = block * _BLOCK
                self._kinds[first : first + _BLOCK] = [
                    _kind(chr(code)) for code in range(first, first + _BLOCK)
                ]
                self._is_known[block] = True
        return self._kinds[codes]


def _kind(character: str) -> int:
    if character.isspace():
        return SPACE
    kind = 0
    if character.isalnum() or unicodedata.category(character).startswith("M"):
        kind |= LETTER
    if unicodedata.east_asian_width(character) in ("W", "F"):
        kind |= WIDE
    if _UNSPACED.match(character):
        kind |= UNSPACED_SCRIPT
    return kind


_KINDS = _Kinds()


def kinds(text: str) -> NDArray[np.uint8]:
    """Return the kinds of each character: `SPACE`, `LETTER` and the others, added up."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    return _KINDS.of(codes)
