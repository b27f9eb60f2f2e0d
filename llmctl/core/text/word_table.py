"""Words as numbers: what the rules need to know of a word is found out once for each."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmctl.core.text.polynomial_hashes import POWERS, Hashes, Integers, mixed
from llmctl.core.text.punctuation import SENTENCE_ENDS, SYMBOLS
from llmctl.core.text.word_splitting import Splitter

ALPHABETIC = 1
"""The word has a letter."""
NOT_SYMBOLS = 2
"""The word is not only signs."""
PUNCTUATION = 4
"""The word is only punctuation, as Unicode classes it."""
SENTENCE_END = 8
"""The word is a sign that ends a sentence."""

# Some 100 MB of memory; past it all is forgotten, between two documents.
MOST_PIECES = 500_000

Ids = NDArray[np.int32]


class _Numbers(dict[str, int]):
    """Gives each new string the next number, and lists those that are new."""

    __slots__ = ("new",)

    def __init__(self) -> None:
        super().__init__()
        self.new: list[str] = []

    def __missing__(self, string: str) -> int:
        number = self[string] = len(self)
        self.new.append(string)
        return number


class _Columns:
    """Arrays of one length that grow at their ends."""

    def __init__(self, **kinds: type[np.generic]) -> None:
        self._arrays: dict[str, NDArray[Any]] = {
            name: np.zeros(1024, dtype=kind) for name, kind in kinds.items()
        }
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return an array, with room beyond the length."""
        return self._arrays[name]

    def extend(self, **columns: Sequence[int] | NDArray[Any]) -> None:
        """Add values to each of the arrays."""
        end = self._length + len(next(iter(columns.values())))
        for name, values in columns.items():
            array = self._arrays[name]
            if end > len(array):
                self._arrays[name] = np.zeros(max(end, 2 * len(array)), dtype=array.dtype)
                self._arrays[name][: self._length] = array[: self._length]
            self._arrays[name][self._length : end] = values
        self._length = end


@dataclass(frozen=True, slots=True)
class Words:
    """The words of one text.

    Attributes:
        pieces: What the splitter cut the text into, such as `word,`.
        piece_ids: Their numbers in the table.
        ids: The words' numbers in the table.
        are_joined: Whether neighbouring pieces were put together.
    """

    pieces: Sequence[str]
    piece_ids: Ids
    ids: Ids
    are_joined: bool


class WordTable:
    """Numbers for pieces and words, and what is known of each.

    Args:
        splitter: Makes words of a text.
        stop_words: Words to look out for.
    """

    def __init__(self, splitter: Splitter, stop_words: Iterable[str] = ()) -> None:
        self.splitter = splitter
        self._joints = splitter.joints()
        self._befores = {before for before, _ in self._joints}
        self._afters = {after for _, after in self._joints}
        self._stop_words = {word: number for number, word in enumerate(sorted(set(stop_words)))}
        self._forget()

    def _forget(self) -> None:
        self._piece_numbers = _Numbers()
        self._word_numbers = _Numbers()
        self._strings: list[str] = []
        self._pieces = _Columns(
            start=np.int64, count=np.int64, may_follow=np.bool_, may_precede=np.bool_
        )
        self._sentences = _Columns(
            is_known=np.bool_, starts_0=np.uint8, end_0=np.uint8, starts_1=np.uint8, end_1=np.uint8
        )
        self._flat_words = _Columns(word=np.int32)
        self._words = _Columns(
            length=np.int64, flags=np.uint8, polynomial=np.uint64, stop_word=np.uint64
        )

    def forget_if_full(self) -> None:
        """Keep memory bounded; to be called between documents, whose numbers end with it."""
        if len(self._piece_numbers) > MOST_PIECES:
            self._forget()

    def words(self, text: str) -> Words:
        """Return the words of a text."""
        pieces = self.splitter.pieces(text)
        piece_ids = self._numbered(pieces)
        joined = self._joined(text, pieces, piece_ids)
        if joined is not None:
            pieces, piece_ids = joined, self._numbered(joined)
        return Words(pieces, piece_ids, self._word_ids(piece_ids), joined is not None)

    def _numbered(self, pieces: Sequence[str]) -> Ids:
        numbers = self._piece_numbers
        ids = np.fromiter(map(numbers.__getitem__, pieces), dtype=np.int32, count=len(pieces))
        if numbers.new:
            self._take_in(numbers.new)
            numbers.new = []
        return ids

    def _take_in(self, pieces: Sequence[str]) -> None:
        """Find the words of new pieces."""
        numbers = self._word_numbers
        words_of_each = self.splitter.split(pieces)
        words = list(chain.from_iterable(words_of_each))
        ids = np.fromiter(map(numbers.__getitem__, words), dtype=np.int32, count=len(words))
        if numbers.new:
            self._take_in_words(numbers.new)
            numbers.new = []
        counts = np.fromiter(map(len, words_of_each), dtype=np.int64, count=len(pieces))
        starts = np.cumsum(counts) - counts + len(self._flat_words)
        if self._joints:
            may_follow = [words[0] in self._afters for words in words_of_each]
            may_precede = [words[-1] in self._befores for words in words_of_each]
        else:
            may_follow = may_precede = np.zeros(len(pieces), dtype=np.bool_)
        self._pieces.extend(
            start=starts, count=counts, may_follow=may_follow, may_precede=may_precede
        )
        self._flat_words.extend(word=ids)

    def _take_in_words(self, words: Sequence[str]) -> None:
        self._strings.extend(words)
        lengths = np.fromiter(map(len, words), dtype=np.int64, count=len(words))
        characters = np.frombuffer(
            "".join(words).encode("utf-32-le", "surrogatepass"), dtype=np.uint32
        )
        starts = np.cumsum(lengths) - lengths
        places = np.arange(len(characters)) - np.repeat(starts, lengths)
        terms = mixed(characters.astype(np.uint64) + np.uint64(1)) * POWERS.of(places)
        self._words.extend(
            length=lengths,
            flags=[_flags(word) for word in words],
            polynomial=np.add.reduceat(terms, starts),
            stop_word=[
                1 << self._stop_words[word] if word in self._stop_words else 0 for word in words
            ],
        )

    def _joined(self, text: str, pieces: Sequence[str], piece_ids: Ids) -> Sequence[str] | None:
        """Return the pieces with those put together that change each other; None: no such."""
        if not self._joints:
            return None
        columns = self._pieces
        meets = columns["may_precede"][piece_ids[:-1]] & columns["may_follow"][piece_ids[1:]]
        if not meets.any():
            return None
        places = np.flatnonzero(meets)
        starts, counts = columns["start"][piece_ids], columns["count"][piece_ids]
        words = self._flat_words["word"]
        lasts = self.strings(words[starts[places] + counts[places] - 1])
        firsts = self.strings(words[starts[places + 1]])
        are_joints = [pair in self._joints for pair in zip(lasts, firsts, strict=True)]
        changing = [
            (start, end)
            for start, end in _runs(places[are_joints])
            if counts[start:end].max() > 1
            and self.splitter.changes(
                pieces[start:end], self.strings(self._word_ids(piece_ids[start:end]))
            )
        ]
        if not changing:
            return None
        spaces = _SPACE.findall(text.strip())
        result: list[str] = []
        place = 0
        for start, end in changing:
            result.extend(pieces[place:start])
            result.append(pieces[start])
            for number in range(start + 1, end):
                if spaces[number - 1] == " ":
                    result[-1] += f" {pieces[number]}"
                else:
                    result.append(pieces[number])
            place = end
        return [*result, *pieces[place:]]

    def _word_ids(self, piece_ids: Ids) -> Ids:
        counts = self._pieces["count"][piece_ids]
        starts = self._pieces["start"][piece_ids]
        ends = np.cumsum(counts)
        total = int(ends[-1]) if len(ends) else 0
        places = np.repeat(starts - (ends - counts), counts) + np.arange(total)
        return self._flat_words["word"][places]

    def strings(self, ids: Ids) -> list[str]:
        """Return the words that the numbers stand for."""
        strings = self._strings
        return [strings[number] for number in ids.tolist()]

    def lengths(self, ids: Ids) -> Integers:
        """Return the characters of each word."""
        return self._words["length"][ids]

    def polynomials(self, ids: Ids) -> Hashes:
        """Return Σ code(c_i) · base^i modulo 2^64 over the characters of each word."""
        return self._words["polynomial"][ids]

    def flags(self, ids: Ids) -> NDArray[np.uint8]:
        """Return `ALPHABETIC` and the others of each word, added up."""
        return self._words["flags"][ids]

    def num_stop_words(self, ids: Ids) -> int:
        """Count the different stop words that occur."""
        return int(np.bitwise_or.reduce(self._words["stop_word"][ids], initial=0)).bit_count()

    def num_sentences(self, piece_ids: Ids, line_starts: Integers) -> Integers:
        """Count the sentences of each line as spaCy's sentencizer does.

        A sentence ends after signs of `SENTENCE_ENDS` and the punctuation that follows them.

        Args:
            piece_ids: All lines' pieces; only single spaces between them.
            line_starts: Where each line begins among them; no line is empty.
        """
        self._find_sentences(piece_ids)
        columns = self._sentences
        end_0, end_1 = columns["end_0"][piece_ids], columns["end_1"][piece_ids]
        places = np.arange(len(piece_ids))
        # A piece that leaves the state as it was takes it from the last one that does not.
        decided = np.maximum.accumulate(np.where(end_0 == end_1, places, -1))
        line_of = np.zeros(len(piece_ids), dtype=np.int64)
        line_of[line_starts] = line_starts
        before = np.concatenate(([-1], decided[:-1]))
        is_after_end = (before >= np.maximum.accumulate(line_of)) & (end_0[before] == 1)
        starts = np.where(
            is_after_end, columns["starts_1"][piece_ids], columns["starts_0"][piece_ids]
        )
        return np.add.reduceat(starts.astype(np.int64), line_starts) + 1

    def _find_sentences(self, piece_ids: Ids) -> None:
        """Fill in where sentences begin and end in these pieces, after either state."""
        columns = self._sentences
        num_new = len(self._pieces) - len(columns)
        if num_new:
            zeros, ones = np.zeros(num_new, dtype=np.uint8), np.ones(num_new, dtype=np.uint8)
            columns.extend(is_known=zeros, starts_0=zeros, end_0=zeros, starts_1=ones, end_1=zeros)
        unknown = np.unique(piece_ids[~columns["is_known"][piece_ids]])
        columns["is_known"][unknown] = True
        counts = self._pieces["count"][unknown]
        flags = self.flags(self._word_ids(unknown))
        starts = np.cumsum(counts) - counts
        # Of most pieces no word is a sign, and what is filled in beforehand is right.
        may_end = np.bitwise_or.reduceat(flags, starts) & (PUNCTUATION | SENTENCE_END)
        for number in np.flatnonzero(may_end).tolist():
            piece = unknown[number]
            words = flags[starts[number] : starts[number] + counts[number]].tolist()
            columns["starts_0"][piece], columns["end_0"][piece] = _sentence_starts(words, 0)
            columns["starts_1"][piece], columns["end_1"][piece] = _sentence_starts(words, 1)


_SPACE = re.compile(r"\s+")


def _flags(word: str) -> int:
    if word.isalpha():
        return ALPHABETIC | NOT_SYMBOLS
    flags = 0
    if any(map(str.isalpha, word)):
        flags |= ALPHABETIC
    if not SYMBOLS.issuperset(word):
        flags |= NOT_SYMBOLS
    if all(unicodedata.category(character).startswith("P") for character in word):
        flags |= PUNCTUATION
    if word in SENTENCE_ENDS:
        flags |= SENTENCE_END
    return flags


def _sentence_starts(words: Sequence[int], state: int) -> tuple[int, int]:
    """Return how many sentences begin in a row of words, and whether one has ended at its end.

    Args:
        words: Their flags.
        state: Whether a sentence has ended before.
    """
    num_starts = 0
    for flags in words:
        if flags & SENTENCE_END:
            state = 1
        elif state and not flags & PUNCTUATION:
            num_starts += 1
            state = 0
    return num_starts, state


def sentences_in(words: Iterable[int]) -> int:
    """Count the sentences in words of one line, given by their flags; 0 is white space."""
    return 1 + _sentence_starts(list(words), 0)[0]


def _runs(places: Integers) -> list[tuple[int, int]]:
    """Return (start, end) of the pieces around each stretch of neighbouring joints."""
    runs: list[tuple[int, int]] = []
    for place in places.tolist():
        if runs and runs[-1][1] == place + 1:
            runs[-1] = (runs[-1][0], place + 2)
        else:
            runs.append((place, place + 2))
    return runs
