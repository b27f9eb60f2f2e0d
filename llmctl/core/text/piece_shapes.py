"""Pieces of one shape are split at the same places: what spaCy says of one, it says of all.

Its English expressions look at kinds of letters, at digits and at single signs, never at
which letter it is. So `foo.bar(x)` is split as `get.all(y)` is. Left out are the pieces in
which letters or figures do matter: those with one of its special cases, with 's, with a unit
after a digit, with what may be an address of figures, or with anything beyond ASCII.

Source: spaCy 3.8, lang/punctuation.py, lang/en/punctuation.py, lang/tokenizer_exceptions.py.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise

_ALNUM = re.compile("[^\\W_]")
_SEGMENT = re.compile(r"[A-Za-z0-9]+|.", re.DOTALL)
_KINDS = str.maketrans(
    string.ascii_lowercase + string.ascii_uppercase + string.digits, "a" * 26 + "A" * 26 + "0" * 10
)
# Where there is a point, at most two letters before it are looked at, and an address may be
# sought, in which two of a kind are asked for.
_RUN = 3
# One expression for each kind: a replacement that refers to a group takes three times as long.
_LONG_RUNS = [(re.compile(f"{kind}{{{_RUN + 1},}}"), kind * _RUN) for kind in "aA0"]
# Elsewhere the letter or digit beside a sign is.
_LETTERS, _DIGITS = re.compile("[aA]+"), re.compile("0+")
_MIXED = re.compile("([a0])[a0]+([a0])")
_MOST_SHAPES = 200_000


class PieceShapes:
    """Remembers at which places pieces of a shape are split.

    Args:
        special_cases: Strings that are split in ways of their own.
        units: What is split off after a digit, in letters.
    """

    def __init__(self, special_cases: Iterable[str], units: Iterable[str]) -> None:
        self._matters = re.compile(
            # The parts of an address are at most 63 characters long, its port five.
            r"[^\x21-\x7e]|'[sS]|[A-Za-z0-9]{60}|:[0-9]{6}|[0-9]\.[0-9]+\.[0-9]+\.[0-9]"
            rf"|[0-9](?:{'|'.join(map(re.escape, units))})(?![A-Za-z0-9])"
        )
        # Those of signs alone are the same in every piece of a shape.
        cases = [tuple(_SEGMENT.findall(case)) for case in special_cases if _ALNUM.search(case)]
        self._special_segments = {case[0] for case in cases if len(case) == 1}
        self._special_cases: dict[tuple[str, str], list[tuple[str, ...]]] = {}
        for case in cases:
            if len(case) > 1:
                self._special_cases.setdefault((case[0], case[1]), []).append(case)
        self._ends: dict[str, tuple[int, ...] | None] = {}

    def words(self, piece: str) -> Sequence[str] | None:
        """Return the words of a piece of a known shape, or None."""
        if self._matters.search(piece):
            return None
        segments = _SEGMENT.findall(piece)
        if not self._is_plain(segments):
            return None
        ends = self._ends.get(_shape(piece))
        if ends is None:
            return None
        words: list[str] = []
        start = 0
        for end in ends:
            words.append("".join(segments[start:end]) if end - start > 1 else segments[start])
            start = end
        return words

    def learn(self, piece: str, words: Sequence[str]) -> None:
        """Remember how a piece was split, if others of its shape are split so too."""
        segments = _SEGMENT.findall(piece)
        if self._matters.search(piece) or not self._is_plain(segments):
            return
        if len(self._ends) > _MOST_SHAPES:
            self._ends.clear()
        numbers = {end: number for number, end in enumerate(accumulate(map(len, segments)), 1)}
        ends = [numbers.get(end) for end in accumulate(map(len, words))]
        # A piece that is split within a run of letters would be one whose letters matter.
        known = tuple(end for end in ends if end is not None)
        self._ends[_shape(piece)] = known if len(known) == len(ends) else None

    def _is_plain(self, segments: Sequence[str]) -> bool:
        if not self._special_segments.isdisjoint(segments):
            return False
        pairs = list(pairwise(segments))
        if self._special_cases.keys().isdisjoint(pairs):
            return True
        return not any(
            tuple(segments[start : start + len(case)]) == case
            for start, pair in enumerate(pairs)
            for case in self._special_cases.get(pair, ())
        )


def _shape(piece: str) -> str:
    shape = piece.translate(_KINDS)
    if "." in piece:
        for run, short in _LONG_RUNS:
            shape = run.sub(short, shape)
        return shape
    return _MIXED.sub(r"\1\2", _DIGITS.sub("0", _LETTERS.sub("a", shape)))
