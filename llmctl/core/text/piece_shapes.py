"""Pieces of one shape are split at the same places: what spaCy says of one, it says of all.

Its English expressions look at kinds of letters, at digits and at single signs, never at
which letter it is. So `foo.bar(x)` is split as `get.all(y)` is. Left out are the pieces in
which letters do matter: those with one of its special cases, with an apostrophe ('s, n't),
a unit after a digit, a number in what may be an address, or anything beyond ASCII.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise

# Longer runs than these count as these: expressions ask for at most two of a kind.
_RUN = 3
# The parts of an address are at most 63 characters long.
_LETTERS_MATTER = re.compile(
    r"[^\x21-\x7e]|'|[0-9][A-Za-z]|[A-Za-z0-9]{60}|[0-9](?=.*\..)|\.(?=.*[0-9])"
)
_SEGMENT = re.compile(r"[A-Za-z0-9]+|.", re.DOTALL)
_KINDS = str.maketrans(
    string.ascii_lowercase + string.ascii_uppercase + string.digits, "a" * 26 + "A" * 26 + "0" * 10
)
_LONG_RUN = re.compile(rf"(([aA0])\2{{{_RUN - 1}}})\2+")
_MOST_SHAPES = 200_000


class PieceShapes:
    """Remembers at which places pieces of a shape are split.

    Args:
        special_cases: Strings that are split in ways of their own.
    """

    def __init__(self, special_cases: Iterable[str]) -> None:
        self._special_segments: set[str] = set()
        self._special_pairs: set[tuple[str, str]] = set()
        for case in special_cases:
            segments = _SEGMENT.findall(case)
            if len(segments) == 1:
                self._special_segments.add(case)
            else:
                self._special_pairs.add((segments[0], segments[1]))
        self._ends: dict[str, tuple[int, ...] | None] = {}

    def words(self, piece: str) -> Sequence[str] | None:
        """Return the words of a piece of a known shape, or None."""
        if _LETTERS_MATTER.search(piece):
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
        if _LETTERS_MATTER.search(piece) or not self._is_plain(_SEGMENT.findall(piece)):
            return
        if len(self._ends) > _MOST_SHAPES:
            self._ends.clear()
        numbers = {
            end: number
            for number, end in enumerate(accumulate(map(len, _SEGMENT.findall(piece))), 1)
        }
        ends = [numbers.get(end) for end in accumulate(map(len, words))]
        # A piece that is split within a run of letters would be one whose letters matter.
        known = tuple(end for end in ends if end is not None)
        self._ends[_shape(piece)] = known if len(known) == len(ends) else None

    def _is_plain(self, segments: Sequence[str]) -> bool:
        return self._special_segments.isdisjoint(segments) and self._special_pairs.isdisjoint(
            pairwise(segments)
        )


def _shape(piece: str) -> str:
    return _LONG_RUN.sub(r"\1", piece.translate(_KINDS))
