"""How much of a text repeats itself: lines, paragraphs and words in a row.

Source: Rae et al. 2021, Gopher, section A.1.1, arXiv:2112.11446, in the reading of
datatrove 0.10: an n-gram that repeats counts from its second time on and is then stepped
over; its words are compared run together, so that "a bc" repeats "ab c".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from llmctl.core.text.polynomial_hashes import (
    INVERSE_POWERS,
    POWERS,
    Hashes,
    Integers,
    mixed,
)
from llmctl.core.text.word_table import Ids, WordTable

# Below, arrays cost more to set up than they save.
_FEW_WORDS = 80
_STEP = np.uint64(0xD1342543DE82EF95)
_FILTER_BITS = 18


def repeats(elements: Iterable[str]) -> tuple[int, int]:
    """Return how many elements repeat an earlier one, and how many characters are in them."""
    seen: set[str] = set()
    num_elements = num_characters = 0
    for element in elements:
        if element in seen:
            num_elements += 1
            num_characters += len(element)
        else:
            seen.add(element)
    return num_elements, num_characters


class WordRepetition:
    """The n-grams of one text's words.

    Args:
        table: Knows the words.
        ids: The words.
    """

    def __init__(self, table: WordTable, ids: Ids) -> None:
        self._num_words = len(ids)
        self._strings = table.strings(ids) if len(ids) <= _FEW_WORDS else None
        if self._strings is None:
            self._arrays = _Arrays(table, ids)

    def top_ngram_characters(self, n: int) -> int | None:
        """Return the characters in all occurrences of the commonest n words in a row.

        Spaces between the words count. Of equally common ones the first counts.

        Returns:
            None with fewer than n words.
        """
        if self._num_words < n:
            return None
        if self._strings is not None:
            return top_ngram_characters(self._strings, n)
        return self._arrays.top_ngram_characters(n)

    def duplicate_ngram_characters(self, n: int) -> int:
        """Return the characters, without spaces, in n-grams that repeat an earlier one."""
        if self._num_words < n:
            return 0
        if self._strings is not None:
            return duplicate_ngram_characters(self._strings, n)
        return self._arrays.duplicate_ngram_characters(n)


def top_ngram_characters(words: Sequence[str], n: int) -> int:
    """As `WordRepetition.top_ngram_characters`, word by word: for few words."""
    counts = Counter(zip(*(words[start:] for start in range(n)), strict=False))
    ngram, count = max(counts.items(), key=lambda item: item[1])
    return (sum(map(len, ngram)) + n - 1) * count


def duplicate_ngram_characters(words: Sequence[str], n: int) -> int:
    """As `WordRepetition.duplicate_ngram_characters`, word by word: for few words."""
    seen: set[str] = set()
    num_characters = place = 0
    while place <= len(words) - n:
        ngram = "".join(words[place : place + n])
        if ngram in seen:
            num_characters += len(ngram)
            place += n
        else:
            seen.add(ngram)
            place += 1
    return num_characters


class _Arrays:
    """The same by hashes of 64 bits, for all places of the text at once.

    Two n-grams that differ are taken for equal with a chance of 2^-64, unless somebody has
    built them to be.
    """

    def __init__(self, table: WordTable, ids: Ids) -> None:
        lengths = table.lengths(ids)
        polynomials = table.polynomials(ids)
        # Where each word begins when all are run together, and where the last one ends.
        self._starts: Integers = np.zeros(len(ids) + 1, dtype=np.int64)
        np.cumsum(lengths, out=self._starts[1:])
        # Σ code(c_i) · base^i over all characters before each word.
        self._before: Hashes = np.zeros(len(ids) + 1, dtype=np.uint64)
        np.cumsum(polynomials * POWERS.of(self._starts[:-1]), out=self._before[1:])
        self._inverse_powers = INVERSE_POWERS.of(self._starts)
        self._word_hashes = mixed(polynomials)
        self._row_hashes: Hashes = self._word_hashes
        self._row_length = 1

    def _rows(self, n: int) -> Hashes:
        """Return a hash of each n words in a row, which tells where one word ends."""
        if n < self._row_length:
            self._row_hashes, self._row_length = self._word_hashes, 1
        while self._row_length < n:
            next_words = self._word_hashes[self._row_length :]
            self._row_hashes = self._row_hashes[:-1] * _STEP + next_words
            self._row_length += 1
        return self._row_hashes

    def top_ngram_characters(self, n: int) -> int:
        rows = self._rows(n)
        ordered = np.sort(rows)
        run_starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
        counts = np.diff(run_starts, append=len(ordered))
        count = int(counts.max())
        if count == 1:
            first = 0
        else:
            commonest = ordered[run_starts[counts == count]]
            is_commonest = rows == commonest[0] if len(commonest) == 1 else np.isin(rows, commonest)
            first = int(is_commonest.argmax())
        return (int(self._starts[first + n] - self._starts[first]) + n - 1) * count

    def duplicate_ngram_characters(self, n: int) -> int:
        run_together = (self._before[n:] - self._before[:-n]) * self._inverse_powers[:-n]
        places = _repeating(run_together)
        if not len(places):
            return 0
        lengths = (self._starts[places + n] - self._starts[places]).tolist()
        seen: set[int] = set()
        num_characters = next_place = 0
        for place, ngram, length in zip(
            places.tolist(), run_together[places].tolist(), lengths, strict=True
        ):
            if place < next_place:
                continue
            if ngram in seen:
                num_characters += length
                next_place = place + n
            else:
                seen.add(ngram)
        return num_characters


def _repeating(hashes: Hashes) -> Integers:
    """Return the places of the values that occur more than once."""
    ordered = np.sort(hashes)
    repeated = ordered[1:][ordered[1:] == ordered[:-1]]
    if not len(repeated):
        return np.zeros(0, dtype=np.int64)
    # Most places are sorted out by a table of the first bits: cheaper than a search for each.
    shift = np.uint64(64 - _FILTER_BITS)
    may_repeat = np.zeros(1 << _FILTER_BITS, dtype=np.bool_)
    may_repeat[repeated >> shift] = True
    places = np.flatnonzero(may_repeat[hashes >> shift])
    found = np.searchsorted(repeated, hashes[places])
    found[found == len(repeated)] = 0
    return places[repeated[found] == hashes[places]]
