"""Which documents say what another one says already.

Two documents are exact duplicates when they are equal but for case, width and white space,
and near duplicates when their sets of shingles (five words in a row, or five characters in
scripts without spaces) have a Jaccard similarity of at least the threshold. MinHash finds
the candidates (Broder 1997, "On the resemblance and containment of documents"; banding as
in Leskovec, Rajaraman, Ullman, "Mining of Massive Datasets", section 3.4), and each is then
verified on the sets themselves: a document is dropped only beside a longer or earlier one
that is kept and really is so alike. Chains (A like B, B like C) merge nothing.

Shapes: N documents, W words, S shingles, H hash functions.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from llmctl.core.text.words import folded, words

NUM_HASHES = 128
SHINGLE_WORDS = 5
MIN_RECALL = 0.99

Hashes = npt.NDArray[np.uint64]
Signatures = npt.NDArray[np.uint16]

_BATCH_WORDS = 1 << 14
_PIECE_CHARACTERS = 1 << 20
_MAX_KNOWN_WORDS = 1 << 20
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
# An estimate from a signature is too low by more once in a thousand.
_ESTIMATE_DEVIATIONS = 3.0
# Keeps a boilerplate that half of the documents share from making the search quadratic.
_MAX_SURVIVORS_IN_BUCKET = 256
_KEPT_SHINGLES = 1 << 23


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Why a document is dropped.

    Attributes:
        survivor: Number of the document that it repeats.
        similarity: Their Jaccard similarity; 1 for an exact duplicate.
        cluster: Number of the kept document that stands for it; differs from `survivor`
            where that one was itself dropped for a third.
        is_exact: Whether they are equal but for case, width and white space.
    """

    survivor: int
    similarity: float
    cluster: int
    is_exact: bool


def find_duplicates(texts: Sequence[str], threshold: float | None) -> dict[int, Duplicate]:
    """Return the documents to drop, by their number; see `DuplicateIndex`."""
    index = DuplicateIndex(threshold)
    for text in texts:
        index.add(text)
    return index.resolve(texts.__getitem__)


class DuplicateIndex:
    """Fingerprints of documents, and from them the duplicates.

    Holds about 300 bytes for a document, whatever its length.

    Args:
        threshold: Least Jaccard similarity of near duplicates; None finds exact ones only.
    """

    def __init__(self, threshold: float | None) -> None:
        self.threshold = threshold
        self._digests = bytearray()
        self._lengths: list[int] = []
        self._signatures: list[Signatures] = []
        self._waiting: list[Hashes] = []
        self._waiting_words = 0

    def __len__(self) -> int:
        return len(self._lengths)

    def add(self, text: str) -> None:
        """Take in the next document; the first has number 0."""
        plain = " ".join(folded(text).split())
        self._digests += hashlib.blake2b(plain.encode("utf-8", "replace"), digest_size=16).digest()
        self._lengths.append(len(text))
        if self.threshold is None:
            return
        self._waiting.append(word_hashes(text))
        self._waiting_words += len(self._waiting[-1])
        if self._waiting_words >= _BATCH_WORDS:
            self._sign()

    def _sign(self) -> None:
        if self._waiting:
            self._signatures.append(signatures_NH(self._waiting))
            self._waiting, self._waiting_words = [], 0

    def resolve(
        self, text_of: Callable[[int], str], between: Callable[[], object] = lambda: None
    ) -> dict[int, Duplicate]:
        """Decide which documents to drop.

        Of duplicates the longest stays, of equally long ones the first.

        Args:
            text_of: Gives a document's text again; asked for candidates only.
            between: Called between documents, and may raise to end early.
        """
        exact = self._exact_survivors()
        near: dict[int, tuple[int, float]] = {}
        if self.threshold is not None and len(self):
            self._sign()
            near = self._near_survivors(exact, self.threshold, text_of, between)
        found: dict[int, Duplicate] = {}
        for number, twin in enumerate(exact.tolist()):
            if twin != number:
                cluster = near[twin][0] if twin in near else twin
                found[number] = Duplicate(twin, 1.0, cluster, is_exact=True)
            elif number in near:
                survivor, similarity = near[number]
                found[number] = Duplicate(survivor, similarity, survivor, is_exact=False)
        return found

    def _ranked(self, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Order documents by who survives: the longest first, then the earliest."""
        lengths = np.array(self._lengths, dtype=np.int64)[numbers]
        return numbers[np.lexsort((numbers, -lengths))]

    def _exact_survivors(self) -> npt.NDArray[np.int64]:
        """Return for each document the number of the one that stands for its digest."""
        ranked = self._ranked(np.arange(len(self)))
        digests = np.frombuffer(bytes(self._digests), dtype="V16")
        _, first, group = np.unique(digests[ranked], return_index=True, return_inverse=True)
        survivors = np.empty(len(self), dtype=np.int64)
        survivors[ranked] = ranked[first[group]]
        return survivors

    def _near_survivors(
        self,
        exact: npt.NDArray[np.int64],
        threshold: float,
        text_of: Callable[[int], str],
        between: Callable[[], object],
    ) -> dict[int, tuple[int, float]]:
        signatures = np.concatenate(self._signatures)
        # A document without words has no shingles, so nothing to compare.
        candidates = np.flatnonzero(exact == np.arange(len(self)))
        candidates = candidates[signatures[candidates].any(axis=1)]
        buckets_of = _shared_buckets(signatures, candidates, threshold)
        sets = _ShingleSets(text_of)
        found: dict[int, tuple[int, float]] = {}
        survivors: defaultdict[int, list[int]] = defaultdict(list)
        ranked = self._ranked(np.array(sorted(buckets_of), dtype=np.int64)).tolist()
        for rank, number in enumerate(ranked):
            between()
            # Sorted by rank, so that the first that is alike is the one to keep.
            ranks = sorted({r for bucket in buckets_of[number] for r in survivors[bucket]})
            for other in _likely(signatures, number, [ranked[r] for r in ranks], threshold):
                similarity = jaccard(sets.of(number), sets.of(other))
                if similarity >= threshold:
                    found[number] = (other, similarity)
                    break
            else:
                for bucket in buckets_of[number]:
                    if len(survivors[bucket]) < _MAX_SURVIVORS_IN_BUCKET:
                        survivors[bucket].append(rank)
        return found


class _ShingleSets:
    """The shingles of documents lately compared, up to a number of shingles in all."""

    def __init__(self, text_of: Callable[[int], str]) -> None:
        self._text_of = text_of
        self._kept: dict[int, Hashes] = {}
        self._num_kept = 0

    def of(self, number: int) -> Hashes:
        if number not in self._kept:
            found = np.unique(shingles(word_hashes(self._text_of(number))))
            self._kept[number] = found
            self._num_kept += len(found)
            while self._num_kept > _KEPT_SHINGLES and len(self._kept) > 1:
                self._num_kept -= len(self._kept.pop(next(iter(self._kept))))
        return self._kept[number]


def _likely(signatures: Signatures, number: int, others: list[int], threshold: float) -> list[int]:
    """Return those of `others` whose signature does not rule out the threshold."""
    if not others:
        return []
    estimates = (signatures[others] == signatures[number]).mean(axis=1)
    deviation = math.sqrt(threshold * (1 - threshold) / NUM_HASHES)
    likely = np.flatnonzero(estimates >= threshold - _ESTIMATE_DEVIATIONS * deviation)
    return [others[position] for position in likely]


def _shared_buckets(
    signatures: Signatures, numbers: npt.NDArray[np.int64], threshold: float
) -> dict[int, list[int]]:
    """Return the buckets of each document that shares one with another document."""
    num_rows = band_rows(threshold)
    buckets_of: defaultdict[int, list[int]] = defaultdict(list)
    num_buckets = 0
    for start in range(0, NUM_HASHES - num_rows + 1, num_rows):
        keys = np.zeros(len(numbers), dtype=np.uint64)
        for column in range(start, start + num_rows):
            keys = _mixed(keys * _MULTIPLIER + signatures[numbers, column])
        _, bucket, size = np.unique(keys, return_inverse=True, return_counts=True)
        shared = np.flatnonzero(size[bucket] > 1)
        for number, key in zip(numbers[shared].tolist(), bucket[shared].tolist(), strict=True):
            buckets_of[number].append(num_buckets + key)
        num_buckets += len(size)
    return buckets_of


def band_rows(threshold: float) -> int:
    """Return the most hashes in a band that still find a pair at the threshold.

    With b = NUM_HASHES // r bands of r rows, a pair of similarity s shares a bucket with
    the probability 1 - (1 - s^r)^b; more rows mean fewer false candidates.
    """
    rows = 1
    while rows < NUM_HASHES:
        probability = 1 - (1 - threshold ** (rows + 1)) ** (NUM_HASHES // (rows + 1))
        if probability < MIN_RECALL:
            break
        rows += 1
    return rows


def jaccard(first: Hashes, second: Hashes) -> float:
    """Return |A ∩ B| / |A ∪ B| of two sorted arrays without repeats, 0 for two empty ones."""
    num_common = len(np.intersect1d(first, second, assume_unique=True))
    num_all = len(first) + len(second) - num_common
    return num_common / num_all if num_all else 0.0


class _WordTable(dict[str, int]):
    """Words and their hashes, each computed once."""

    def __missing__(self, word: str) -> int:
        digest = hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=8).digest()
        self[word] = value = int.from_bytes(digest, "little")
        return value


_word_table = _WordTable()


def word_hashes(text: str) -> Hashes:
    """Return a 64-bit hash of each word, shape (W,); the same in every process."""
    if len(_word_table) > _MAX_KNOWN_WORDS:
        _word_table.clear()
    # In pieces, as a list of all words of a book takes twenty times its text.
    pieces = [
        np.fromiter(map(_word_table.__getitem__, found), dtype=np.uint64, count=len(found))
        for start in range(0, len(text), _PIECE_CHARACTERS)
        for found in [words(text[start : start + _PIECE_CHARACTERS])]
    ]
    return np.concatenate(pieces) if pieces else np.empty(0, dtype=np.uint64)


def shingles(hashes: Hashes) -> Hashes:
    """Return a hash of each SHINGLE_WORDS words in a row, shape (S,); short texts give one.

    A text without words gives none.
    """
    if not len(hashes):
        return hashes
    if len(hashes) < SHINGLE_WORDS:
        hashes = np.pad(hashes, (0, SHINGLE_WORDS - len(hashes)))
    num_shingles = len(hashes) - SHINGLE_WORDS + 1
    total = np.zeros(num_shingles, dtype=np.uint64)
    for offset in range(SHINGLE_WORDS):
        total = total * _MULTIPLIER + hashes[offset : offset + num_shingles]
    return _mixed(total)


def signatures_NH(batch: Sequence[Hashes]) -> Signatures:  # noqa: N802
    """Return the MinHash signatures of documents given as word hashes, shape (N, H).

    The low 16 bits of each minimum; all zero for a document without words.
    """
    sets = [shingles(hashes) for hashes in batch]
    result = np.zeros((len(batch), NUM_HASHES), dtype=np.uint16)
    filled = [number for number, found in enumerate(sets) if len(found)]
    if not filled:
        return result
    starts = np.cumsum([0, *(len(sets[number]) for number in filled[:-1])])
    shingles_S = np.concatenate([sets[number] for number in filled])
    for function, (factor, shift) in enumerate(zip(_FACTORS, _SHIFTS, strict=True)):
        values_S = ((shingles_S * factor + shift) >> np.uint64(32)).astype(np.uint32)
        result[filled, function] = np.minimum.reduceat(values_S, starts).astype(np.uint16)
    # Keeps a document with words apart from one without.
    result[filled, 0] |= 1
    return result


def _mixed(values: Hashes) -> Hashes:
    """Spread the bits of 64-bit integers (the finalizer of SplitMix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


# Multiply-shift hashing wants odd factors; any fixed draw does.
_FACTORS = _mixed(np.arange(1, NUM_HASHES + 1, dtype=np.uint64)) | np.uint64(1)
_SHIFTS = _mixed(np.arange(NUM_HASHES + 1, 2 * NUM_HASHES + 1, dtype=np.uint64))
