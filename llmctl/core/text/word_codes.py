"""The words of `words.words` as arrays of code points, and hashes of words in a row.

One pass of numpy over the characters instead of a Python string for each word.

Shapes: C characters of the text, T characters of its words, W words.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llmctl.core.text.code_points import CodePointTable, code_points
from llmctl.core.text.polynomial_hashes import Hashes, stretch_hashes
from llmctl.core.text.words import UNSPACED_CHARACTER, WORD_CHARACTER, folded

Codes = NDArray[np.uint32]
Indices = NDArray[np.int64]

# A code is the folded code point and these flags.
FIRST = np.uint32(1 << 31)
"""The first character of its word."""
CODE_POINT = np.uint32((1 << 21) - 1)
_SPECIAL = 1 << 23  # folds to several characters, or may merge with the character before it
_IN_WORD = 1 << 22
_UNSPACED = 1 << 21
# Jamo that join the syllable before them; all others that do so are marks by category.
_JOINING_JAMO = re.compile("[\u1161-\u1175\u11a8-\u11c2]")


@dataclass(frozen=True, slots=True)
class WordCodes:
    """The words of a text.

    Attributes:
        codes_T: The folded characters of the words, one word after the other; the first of
            each word is marked `FIRST`.
        bounds: Where in `codes_T` each word begins, and last its length; shape (W + 1,).
        is_unspaced_W: Whether the word is a character of a script without spaces.
        begins_T: Where in the text each character stands.
        ends_T: Where it ends there.
    """

    codes_T: Codes
    bounds: Indices
    is_unspaced_W: NDArray[np.bool_]
    begins_T: Indices
    ends_T: Indices

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def hashes(self, firsts: Indices, ends: Indices) -> Hashes:
        """Return a 64-bit hash of each stretch of words, from `firsts` up to but without `ends`."""
        return stretch_hashes(self.codes_T, self.bounds[firsts], self.bounds[ends])


def word_codes(text: str) -> WordCodes:
    """Return the words of a text; those that `words.words` gives."""
    packed = _PACKED.of(code_points(text))
    special_C = (packed & _SPECIAL) != 0
    origins: tuple[Indices, Indices] | None = None
    if special_C.any():
        text, origins = _rewritten(text, special_C)
        packed = _PACKED.of(code_points(text))
    where = np.flatnonzero(packed & _IN_WORD)
    codes = packed[where]
    is_first = np.ones(len(where), dtype=np.bool_)
    np.not_equal(where[1:] - where[:-1], 1, out=is_first[1:])
    is_unspaced = (codes & _UNSPACED) != 0
    is_first |= is_unspaced
    is_first[1:] |= is_unspaced[:-1]
    firsts = np.flatnonzero(is_first)
    codes[firsts] |= FIRST
    bounds = np.append(firsts, len(codes))
    if origins is None:
        return WordCodes(codes, bounds, is_unspaced[firsts], where, where + 1)
    begins, ends = origins
    return WordCodes(codes, bounds, is_unspaced[firsts], begins[where], ends[where])


def _packed(character: str) -> int:
    plain = folded(character)
    is_special = _joins(character)
    if len(plain) > 1 and not is_special:
        is_special = WORD_CHARACTER.search(plain) is not None
    # In a rewritten text a special character stands for itself.
    shown = character if is_special or len(plain) > 1 else plain
    packed = ord(shown) | (_SPECIAL if is_special else 0)
    if WORD_CHARACTER.fullmatch(shown):
        packed |= _IN_WORD
        if UNSPACED_CHARACTER.fullmatch(shown):
            packed |= _UNSPACED
    return packed


def _joins(character: str) -> bool:
    """Tell whether normalising may merge a character with the one before it, or reorder it."""
    first = unicodedata.normalize("NFKD", character)[0]
    return unicodedata.category(first)[0] == "M" or _JOINING_JAMO.match(first) is not None


def _rewritten(text: str, special_C: NDArray[np.bool_]) -> tuple[str, tuple[Indices, Indices]]:
    """Fold the special characters, each with its neighbour before it.

    Returns:
        The text, and where in the old one each character of the new one begins and ends.
    """
    touched = special_C.copy()
    touched[:-1] |= special_C[1:]
    edges = np.flatnonzero(touched[1:] != touched[:-1]) + 1
    olds = np.concatenate(([0], edges, [len(text)]))
    is_touched = np.arange(len(olds) - 1) % 2 == (0 if touched[0] else 1)
    pieces = [
        folded(text[begin:end]) if fold else text[begin:end]
        for begin, end, fold in zip(
            olds[:-1].tolist(), olds[1:].tolist(), is_touched.tolist(), strict=True
        )
    ]
    lengths = np.array([len(piece) for piece in pieces])
    piece = np.repeat(np.arange(len(pieces)), lengths)
    offsets = np.arange(len(piece)) - (np.cumsum(lengths) - lengths)[piece]
    begins = olds[piece] + np.where(is_touched[piece], 0, offsets)
    ends = np.where(is_touched[piece], olds[piece + 1], begins + 1)
    return "".join(pieces), (begins, ends)


_PACKED = CodePointTable(_packed, np.uint32)
