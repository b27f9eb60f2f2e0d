"""Special tokens in plain text: counted, cut out, or kept from being taken for one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from functools import cache, cached_property
from itertools import groupby
from operator import itemgetter

from llmctl.core.tokens.tokenizer import Tokenizer

_MAX_BEGINNINGS = 16
_BEGINNING_CHARACTERS = 2


class SpecialLiterals:
    """The special tokens of a tokenizer as they are written in text.

    One of a single character is none here: no mark could break it.

    Args:
        tokenizer: Whose they are.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        tokens = tokenizer.special_tokens.items()
        self.ids = {entry.content: token for token, entry in tokens if len(entry.content) > 1}
        self._entries = {entry.content: entry for _, entry in tokens}
        beginnings = {literal[:_BEGINNING_CHARACTERS] for literal in self.ids}
        self._beginnings = beginnings if len(beginnings) <= _MAX_BEGINNINGS else None

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return _compiled(frozenset(self.ids))

    def _may_occur(self, text: str) -> bool:
        """Tell quickly of most texts that they hold none."""
        return self._beginnings is None or any(part in text for part in self._beginnings)

    def count(self, texts: Iterable[str]) -> Counter[str]:
        """Return how often each stands in the texts; of overlapping ones, the first and longest."""
        found = Counter[str]()
        for text in texts:
            if self._may_occur(text):
                found.update(self._pattern.findall(text))
        return found

    def broken(self, text: str, mark: str) -> str:
        """Return the text with a mark, one character, inside each, so that none is left."""
        if not self._may_occur(text):
            return text
        while True:  # again, as two may have overlapped
            done = self._pattern.sub(lambda found: found[0][0] + mark + found[0][1:], text)
            if done == text:
                return done
            text = done

    def at_beginning(self, text: str) -> str | None:
        """Return the one that a text begins with, if it begins with one."""
        found = self._pattern.match(text)
        return found[0] if found else None

    def occurrences(
        self, text: str, only: Collection[str] | None = None
    ) -> Iterator[tuple[int, int, int]]:
        """Yield where each begins and ends, and its id, as the library finds them.

        From the left, the longest first; some tokens take the space beside them along.

        Args:
            text: Where to look.
            only: Look for these alone; None: for all.
        """
        if not self._may_occur(text):
            return
        pattern = self._pattern if only is None else _compiled(frozenset(only))
        last = 0
        for found in pattern.finditer(text):
            entry, (start, stop) = self._entries[found[0]], found.span()
            if entry.lstrip:
                start = max(last, len(text[:start].rstrip()))
            if entry.rstrip:
                stop = len(text) - len(text[stop:].lstrip())
            yield start, stop, self.ids[found[0]]
            last = stop


@cache
def _compiled(literals: frozenset[str]) -> re.Pattern[str]:
    return re.compile(_alternation(sorted(literals)) if literals else "(?!)")


def _alternation(literals: list[str]) -> str:
    """Return a pattern of the longest of some sorted strings, without two of one beginning.

    Thousands of special tokens tried one by one wherever there is a "<" would take longer
    than the encoding of the text.
    """
    branches = [
        re.escape(first) + _alternation([literal[1:] for literal in group])
        for first, group in groupby(filter(None, literals), key=itemgetter(0))
    ]
    if not branches or (len(branches) == 1 and "" not in literals):
        return "".join(branches)
    return f"(?:{'|'.join(branches)}){'?' if '' in literals else ''}"
