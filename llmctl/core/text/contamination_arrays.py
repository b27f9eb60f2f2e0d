"""Evaluation items as arrays: what `contamination` looks for, and by which hashes.

Shapes: W words of a text.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmctl.core.text.polynomial_hashes import Hashes
from llmctl.core.text.word_codes import CODE_POINT, Codes, Indices, WordCodes, word_codes

MIN_ITEM_SHARE = 7 / 12
"""8 of 13 words; 14 of 24 characters, which is a couplet of seven each."""
MAX_NGRAM_ITEMS = 10
_MIN_DIFFERENT = 1 / 3
_DIGITS = np.arange(ord("0"), ord("9") + 1)

_BITS_PER_ENTRY = 64
_MAX_FILTER_BITS = 30
_MIN_FILTER_BITS = 12


@dataclass(frozen=True, slots=True)
class EvaluationItem:
    """A text that is used to evaluate.

    Attributes:
        name: Where it comes from, such as "gsm8k/test.jsonl:12"; several may share one.
        text: The text.
    """

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class ItemCounts:
    """What became of the evaluation items.

    Attributes:
        items: All of them, but for those without words.
        repeated: The same words as an earlier item, which stands for them.
        too_short: Not looked for, being less than `MIN_ITEM_SHARE` of an n-gram.
        uninformative: Not looked for, as nothing in them tells them from others.
        ngrams: N-grams looked for.
        whole: Items looked for as a whole.
    """

    items: int
    repeated: int
    too_short: int
    uninformative: int
    ngrams: int
    whole: int


@dataclass(frozen=True, slots=True)
class Scale:
    """How much a word weighs: in whole numbers, an n-gram the product of both."""

    ngram_words: int
    ngram_characters: int

    def cumulative(self, words: WordCodes) -> Indices:
        """Return the weight of the words before each word, and of all; shape (W + 1,)."""
        weights = np.where(words.is_unspaced_W, self.ngram_words, self.ngram_characters)
        return np.concatenate(([0], np.cumsum(weights)))

    def ngram_ends(self, words: WordCodes, last: int) -> Indices:
        """Return where the n-gram from each word on ends, while that is no later than `last`."""
        return self._ends(words, self.ngram_words * self.ngram_characters, last)

    def head_ends(self, words: WordCodes) -> Indices:
        """Return the same of the shortest stretches that can be an item."""
        return self._ends(words, self.shortest, len(words))

    @property
    def shortest(self) -> int:
        """The least weight of an item."""
        return math.ceil(self.ngram_words * self.ngram_characters * MIN_ITEM_SHARE)

    def _ends(self, words: WordCodes, weight: int, last: int) -> Indices:
        cumulative = self.cumulative(words)
        ends = np.searchsorted(cumulative, cumulative[:-1] + weight)
        return ends[: np.searchsorted(ends, last, side="right")]


class Table:
    """Sorted hashes of stretches, and which of the items' words each stands for."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]], name: str) -> None:
        self.hashes: Hashes = arrays[f"{name}_hashes"]
        self.begins: Indices = arrays[f"{name}_begins"]
        self.ends: Indices = arrays[f"{name}_ends"]
        self.items: Indices = arrays[f"{name}_items"]
        self._filter: NDArray[np.uint8] = arrays[f"{name}_filter"]

    def length(self, entry: int) -> int:
        """Return how many characters a stretch has."""
        return int(self.ends[entry] - self.begins[entry])

    def candidates(self, hashes: Hashes) -> Iterator[tuple[int, int]]:
        """Yield the position of each hash that is in the table, with each entry it has there."""
        cells, bits = _cells(hashes, self._filter)
        likely = np.flatnonzero(self._filter[cells] & bits)
        if not len(likely):
            return
        lefts = np.searchsorted(self.hashes, hashes[likely])
        rights = np.searchsorted(self.hashes, hashes[likely], side="right")
        for number in np.flatnonzero(rights > lefts).tolist():
            for entry in range(int(lefts[number]), int(rights[number])):
                yield int(likely[number]), entry


def _cells(
    hashes: Hashes, table: NDArray[np.uint8]
) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
    """Return the byte and the bit of each hash in a filter of 2^k bytes."""
    shift = 64 - (len(table).bit_length() - 1)
    return hashes >> np.uint64(shift), np.uint8(1) << (hashes & np.uint64(7)).astype(np.uint8)


class Builder:
    """Items taken in one after the other, and the arrays of an index made of them."""

    def __init__(self, scale: Scale) -> None:
        self._scale = scale
        self._known: set[bytes] = set()
        self._names: list[bytes] = []
        self._codes: list[Codes] = []
        self._num_codes = 0
        self._counts = Counter[str]()
        self._ngrams: list[_Entries] = []
        self._whole: list[_Entries] = []

    def add(self, item: EvaluationItem) -> None:
        """Take in the next item; one without words is passed over."""
        words = word_codes(item.text)
        if not len(words):
            return
        self._counts["items"] += 1
        digest = hashlib.blake2b(words.codes_T.tobytes(), digest_size=16).digest()
        if digest in self._known:
            self._counts["repeated"] += 1
            return
        self._known.add(digest)
        ends = self._scale.ngram_ends(words, len(words))
        if len(ends):
            self._take_in(item, words, ends, self._ngrams, ends)
        elif self._scale.cumulative(words)[-1] >= self._scale.shortest:
            heads = self._scale.head_ends(words)[:1]
            self._take_in(item, words, np.array([len(words)]), self._whole, heads)
        else:
            self._counts["too_short"] += 1

    def _take_in(
        self,
        item: EvaluationItem,
        words: WordCodes,
        ends: Indices,
        entries: list[_Entries],
        hashed_ends: Indices,
    ) -> None:
        """Note the stretches from the first words to `ends`, under the hashes to `hashed_ends`."""
        firsts = np.flatnonzero(_informative(words, ends.tolist()))
        bounds = words.bounds + self._num_codes
        entries.append(
            _Entries(
                words.hashes(firsts, hashed_ends[firsts]),
                bounds[firsts],
                bounds[ends[firsts]],
                np.full(len(firsts), len(self._names)),
            )
        )
        self._names.append(item.name.encode("utf-8", "surrogatepass"))
        self._codes.append(words.codes_T)
        self._num_codes += len(words.codes_T)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what `EvaluationIndex` is made of."""
        ngrams = _Entries.joined(self._ngrams).without_templates()
        whole = _Entries.joined(self._whole)
        num_found = len(np.unique(np.concatenate((ngrams.items, whole.items))))
        counts = self._counts
        uninformative = len(self._names) - num_found
        return {
            "scale": np.array([self._scale.ngram_words, self._scale.ngram_characters]),
            "counts": np.array(
                [counts["items"], counts["repeated"], counts["too_short"], uninformative]
            ),
            "codes": np.concatenate([np.empty(0, np.uint32), *self._codes]),
            "names": np.frombuffer(b"".join(self._names), dtype=np.uint8),
            "name_bounds": np.cumsum([0, *map(len, self._names)]),
            **ngrams.arrays("ngram"),
            **whole.arrays("whole"),
        }


def _informative(words: WordCodes, ends: list[int]) -> list[bool]:
    """Tell of the stretch from each of the first words on whether it says enough."""
    numbers = np.arange(len(words))
    is_letter = ~np.isin(words.codes_T & CODE_POINT, _DIGITS)
    has_letter = np.logical_or.reduceat(is_letter, words.bounds[:-1])
    names = np.where(has_letter, words.hashes(numbers, numbers + 1), np.uint64(0)).tolist()
    return [
        len(set(names[first:end]) - {0}) >= _MIN_DIFFERENT * (end - first)
        for first, end in enumerate(ends)
    ]


@dataclass(frozen=True, slots=True)
class _Entries:
    """Stretches of the items' words: their hashes, where they begin and end, whose they are."""

    hashes: Hashes
    begins: Indices
    ends: Indices
    items: Indices

    @staticmethod
    def joined(parts: Sequence[_Entries]) -> _Entries:
        """Return all, sorted by hash, then item, then place."""
        empty = np.empty(0, np.int64)
        hashes = np.concatenate([np.empty(0, np.uint64), *(part.hashes for part in parts)])
        begins = np.concatenate([empty, *(part.begins for part in parts)])
        ends = np.concatenate([empty, *(part.ends for part in parts)])
        items = np.concatenate([empty, *(part.items for part in parts)])
        return _Entries(hashes, begins, ends, items)._chosen(np.lexsort((begins, items, hashes)))

    def without_templates(self) -> _Entries:
        """Return each n-gram of an item once, without those of many items."""
        is_new = np.ones(len(self.hashes), dtype=np.bool_)
        is_new[1:] = (self.hashes[1:] != self.hashes[:-1]) | (self.items[1:] != self.items[:-1])
        once = self._chosen(np.flatnonzero(is_new))
        _, number, num_items = np.unique(once.hashes, return_inverse=True, return_counts=True)
        return once._chosen(np.flatnonzero(num_items[number] <= MAX_NGRAM_ITEMS))

    def _chosen(self, numbers: Indices) -> _Entries:
        return _Entries(
            self.hashes[numbers], self.begins[numbers], self.ends[numbers], self.items[numbers]
        )

    def arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """Return the arrays of a `Table`."""
        num_bits = _BITS_PER_ENTRY * len(self.hashes)
        num_bits = 1 << min(max(num_bits.bit_length(), _MIN_FILTER_BITS), _MAX_FILTER_BITS)
        table = np.zeros(num_bits // 8, dtype=np.uint8)
        cells, bits = _cells(self.hashes, table)
        np.bitwise_or.at(table, cells, bits)
        return {
            f"{name}_hashes": self.hashes,
            f"{name}_begins": self.begins,
            f"{name}_ends": self.ends,
            f"{name}_items": self.items,
            f"{name}_filter": table,
        }
