"""Counting characters by kind over whole texts: letters, wide ones, those of unspaced scripts."""

from __future__ import annotations

import unicodedata

import numpy as np
from numpy.typing import NDArray

from llmctl.core.text.code_points import CodePointTable, code_points
from llmctl.core.text.words import UNSPACED_CHARACTER

SPACE = 1
LETTER = 2
"""A letter of any script, a digit, or a vowel sign or accent, which belongs to its letter."""
WIDE = 4
"""As wide as two of the Latin ones: Chinese, kana, Hangul, full-width forms, emoji."""
UNSPACED_SCRIPT = 8
"""Of a script that is written without spaces."""


def _kind(character: str) -> int:
    if character.isspace():
        return SPACE
    kind = 0
    if character.isalnum() or unicodedata.category(character).startswith("M"):
        kind |= LETTER
    if unicodedata.east_asian_width(character) in ("W", "F"):
        kind |= WIDE
    if UNSPACED_CHARACTER.match(character):
        kind |= UNSPACED_SCRIPT
    return kind


def kinds(text: str) -> NDArray[np.uint8]:
    """Return the kinds of each character: `SPACE`, `LETTER` and the others, added up."""
    return _KINDS.of(code_points(text))


_KINDS = CodePointTable(_kind, np.uint8)
