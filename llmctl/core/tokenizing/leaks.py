"""Held-out documents that training sees again: near-duplicates across the split.

What of a held-out document is in training is the share of its shingles of SHINGLE_TOKENS ids
(its containment, Broder 1997, "On the resemblance and containment of documents"). Held-out
documents are indexed, those of training are read past the index unit by unit, in any order
and by any process, and what was found is put together. Training is read in full, so that
only the held-out side is sampled: a document of more than MAX_DOCUMENT_SHINGLES shingles is
judged by those of the lowest hashes, which are a sample without bias (a bottom sketch, same
source); a share of a half is then off by 0.03 (one standard deviation).

Found is a copied passage wherever it stands, but for the ids at its edges, which may be cut
otherwise than in its copy. A document of fewer than SHINGLE_TOKENS ids is only found where a
training document is the same ids and no more. Not found is what was rewritten word by word:
an edit takes up to SHINGLE_TOKENS shingles with it.

The same is asked about the items of evaluation files, in an index of their own.

Shapes: N held-out documents, S shingles of all, U different ones, D documents of a unit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llmctl.core.text.polynomial_hashes import mixed
from llmctl.core.tokens.token_shingles import (
    SHINGLE_TOKENS,
    Hashes,
    document_hashes,
    num_shingles,
    short_hashes,
    window_hashes,
)

LEAK_SHARE = 0.5
"""A held-out document leaks if so much of it is in training."""
MAX_DOCUMENT_SHINGLES = 256
MAX_SHINGLES = 1 << 23
"""Of all held-out documents: 0.13 GB, 0.5 GB while it is built; beyond, each is judged by fewer."""
MAX_POSTINGS = 8
"""So many training documents are remembered for a shingle, those of the lowest numbers."""

Ids = NDArray[np.uint32]

# An array of so many hashes stays in the processor's cache.
_BLOCK_TOKENS = 1 << 16
_FILTER_BITS = 32
_MIN_FILTER_BITS = 16
_COMPACT_MATCHES = 1 << 20
_DOCUMENT_BITS = np.uint64(32)
_BIT_MASKS = (1 << np.arange(8)).astype(np.uint8)

Matches = NDArray[np.uint64]
"""Shingle number * 2^32 + training document, sorted, at most MAX_POSTINGS of a shingle."""


@dataclass(frozen=True, slots=True)
class HeldOutIndex:
    """The shingles of held-out documents, ready to be looked for.

    Attributes:
        hashes_U: Each once, sorted.
        shingles_S: Numbers of shingles, of a document after the other.
        ends_N: Where each document ends in them.
        lengths_N: Ids of each document.
        filter: 2^n bits, one set for each shingle.
    """

    hashes_U: Hashes
    shingles_S: NDArray[np.uint32]
    ends_N: NDArray[np.int64]
    lengths_N: NDArray[np.int64]
    filter: NDArray[np.uint8]

    @classmethod
    def build(
        cls, documents: Iterable[Ids], num_documents: int, max_shingles: int = MAX_SHINGLES
    ) -> HeldOutIndex:
        """Index the documents.

        Args:
            documents: The ids of each.
            num_documents: How many there are.
            max_shingles: To be kept in all, unless there are more documents.

        Raises:
            ValueError: There are more or fewer documents.
        """
        kept = max(1, min(MAX_DOCUMENT_SHINGLES, max_shingles // max(1, num_documents)))
        found: list[Hashes] = [np.empty(0, np.uint64)]
        lengths: list[int] = []
        for ids in documents:
            hashes = document_hashes(ids)
            if len(hashes) > kept:
                hashes = hashes[np.argpartition(mixed(hashes), kept - 1)[:kept]]
            found.append(hashes)
            lengths.append(len(ids))
        if len(lengths) != num_documents:
            raise ValueError(f"expected {num_documents} documents, got {len(lengths)}")
        hashes_U, shingles_S = np.unique(np.concatenate(found), return_inverse=True)
        return cls(
            hashes_U,
            shingles_S.astype(np.uint32),
            np.cumsum([len(hashes) for hashes in found[1:]], dtype=np.int64),
            np.array(lengths, dtype=np.int64),
            _made_filter(hashes_U),
        )

    def find(
        self,
        ids: Ids,
        lengths_D: NDArray[np.integer],
        is_training_D: NDArray[np.bool_],
        first_document: int,
    ) -> Matches:
        """Find the shingles that a unit's training documents have in common with held-out ones.

        Args:
            ids: A document after the other.
            lengths_D: Ids of each.
            is_training_D: The documents to look in.
            first_document: The number of the first of them; each is below 2^32.

        Raises:
            ValueError: The lengths are not those of the ids, or a number is too large.
        """
        if int(lengths_D.sum()) != len(ids) or len(lengths_D) != len(is_training_D):
            raise ValueError(
                f"{len(ids)} ids of documents of {int(lengths_D.sum())}, "
                f"{len(is_training_D)} of {len(lengths_D)} documents said to be in training or not"
            )
        if first_document + len(lengths_D) > 1 << 32:
            raise ValueError(f"documents are numbered below 2^32, got {first_document}")
        if not len(self.hashes_U):
            return np.empty(0, np.uint64)
        lengths_D = lengths_D.astype(np.int64)
        stops_D = np.cumsum(lengths_D)
        keys: list[Matches] = []
        for start in range(0, len(ids), _BLOCK_TOKENS - SHINGLE_TOKENS + 1):
            hashes = window_hashes(ids[start : start + _BLOCK_TOKENS])
            places = self._may_hold(hashes)
            starts = places + start
            documents = np.searchsorted(stops_D, starts, side="right")
            is_inside = (starts + SHINGLE_TOKENS <= stops_D[documents]) & is_training_D[documents]
            keys.append(self._keys(hashes[places[is_inside]], documents[is_inside]))
        short = np.flatnonzero((lengths_D < SHINGLE_TOKENS) & is_training_D)
        keys.append(self._keys(short_hashes(ids, lengths_D)[short], short))
        return _lowest(np.concatenate(keys) + np.uint64(first_document))

    def _may_hold(self, hashes: Hashes) -> NDArray[np.intp]:
        """Return which of the hashes pass the filter, twice."""
        shift = _filter_shift(self.filter)
        places = np.flatnonzero(_bits_at(self.filter, hashes >> shift))
        return places[_bits_at(self.filter, mixed(hashes[places]) >> shift)]

    def _keys(self, hashes: Hashes, documents: NDArray[np.integer]) -> Matches:
        """Return the number of each hash with its document, without those not in the index."""
        numbers = np.searchsorted(self.hashes_U, hashes)
        numbers[numbers == len(self.hashes_U)] = 0
        is_held = self.hashes_U[numbers] == hashes
        return (numbers[is_held].astype(np.uint64) << _DOCUMENT_BITS) | documents[is_held].astype(
            np.uint64
        )

    def shingles_of(self, document: int) -> NDArray[np.uint32]:
        """Return the numbers of a held-out document's shingles."""
        start = int(self.ends_N[document - 1]) if document else 0
        return self.shingles_S[start : self.ends_N[document]]


@dataclass(frozen=True, slots=True)
class Leak:
    """A held-out document of which LEAK_SHARE or more is in training.

    Attributes:
        document: Its number in the index.
        share: Of its shingles, those in any training document.
        training_document: The one with the most of them.
        common_share: Those in that one.
    """

    document: int
    share: float
    training_document: int
    common_share: float


@dataclass(frozen=True, slots=True)
class LeakCheck:
    """What training sees again of the held-out documents.

    Attributes:
        num_documents: Documents held out.
        num_short: Those of fewer than SHINGLE_TOKENS ids, looked for only as wholes.
        share: Of all shingles of all held-out documents, those in training (estimated where
            documents were sampled).
        leaks: The largest share first, of equal ones the lowest number.
    """

    num_documents: int
    num_short: int
    share: float
    leaks: list[Leak]


def find_leaks(
    index: HeldOutIndex, matches: Iterable[Matches], training_ids: Callable[[int], Ids]
) -> LeakCheck:
    """Put together what was found in all units, whatever their order and size.

    The training document named with a leak is the best of a few: of those that hold most of
    the leak's shingles, and of those that hold most of the ones in fewer than MAX_POSTINGS
    training documents; of equally good ones the lowest number. Where a passage stands in
    very many documents, a still better one may be among those that were not remembered.

    Args:
        index: The held-out documents.
        matches: What `HeldOutIndex.find` returned for each unit.
        training_ids: Returns the ids of a training document by its number.
    """
    keys = _merged(matches)
    numbers = (keys >> _DOCUMENT_BITS).astype(np.int64)
    starts_U = np.searchsorted(numbers, np.arange(len(index.hashes_U) + 1))
    is_found_S = (np.diff(starts_U) > 0)[index.shingles_S]
    num_found_N = np.diff(np.append(0, np.cumsum(is_found_S))[np.append(0, index.ends_N)])
    num_kept_N = np.diff(index.ends_N, prepend=0)
    shares_N = num_found_N / np.maximum(num_kept_N, 1)
    leaking = np.flatnonzero(shares_N >= LEAK_SHARE).tolist()
    documents = (keys & np.uint64((1 << 32) - 1)).astype(np.int64)
    best = _best(index, _candidates(index, starts_U, documents, leaking), training_ids)
    leaks = [
        Leak(document, float(shares_N[document]), training, common / int(num_kept_N[document]))
        for document, (training, common) in best.items()
    ]
    weights_N = np.array([num_shingles(length) for length in index.lengths_N.tolist()], np.int64)
    return LeakCheck(
        num_documents=len(index.lengths_N),
        num_short=int((index.lengths_N < SHINGLE_TOKENS).sum()),
        share=float(shares_N @ weights_N) / max(1, int(weights_N.sum())),
        leaks=sorted(leaks, key=lambda leak: (-leak.share, leak.document)),
    )


def _candidates(
    index: HeldOutIndex,
    starts_U: NDArray[np.integer],
    documents: NDArray[np.int64],
    leaking: list[int],
) -> dict[int, list[int]]:
    """Return for some training documents which held-out ones they are compared with."""
    candidates: dict[int, list[int]] = {}
    for held_out in leaking:
        shingles = index.shingles_of(held_out)
        starts, counts = starts_U[shingles], starts_U[shingles + 1] - starts_U[shingles]
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        found = documents[np.repeat(starts, counts) + within]
        is_rare = np.repeat(counts < MAX_POSTINGS, counts)
        trainings, places, sums = np.unique(found, return_inverse=True, return_counts=True)
        rare_sums = np.bincount(places, weights=is_rare)
        for training in {int(np.argmax(sums)), int(np.argmax(rare_sums))}:
            candidates.setdefault(int(trainings[training]), []).append(held_out)
    return candidates


def _best(
    index: HeldOutIndex, candidates: dict[int, list[int]], training_ids: Callable[[int], Ids]
) -> dict[int, tuple[int, int]]:
    """Return for each held-out document its best training document and their common shingles."""
    best: dict[int, tuple[int, int]] = {}
    for training in sorted(candidates):  # each is read once, be it a whole book
        hashes = document_hashes(training_ids(training))
        for held_out in candidates[training]:
            sought = index.hashes_U[index.shingles_of(held_out)]
            places = np.minimum(np.searchsorted(hashes, sought), len(hashes) - 1)
            num_common = int((hashes[places] == sought).sum())
            if held_out not in best or num_common > best[held_out][1]:
                best[held_out] = training, num_common
    return best


def _merged(matches: Iterable[Matches]) -> Matches:
    """Return the lowest of all, holding not many more than that at a time."""
    merged: Matches = np.empty(0, np.uint64)
    pending: list[Matches] = []
    num_pending = 0
    for found in matches:
        pending.append(found)
        num_pending += len(found)
        if num_pending > max(_COMPACT_MATCHES, len(merged)):
            merged = _lowest(np.concatenate([merged, *pending]))
            pending, num_pending = [], 0
    return _lowest(np.concatenate([merged, *pending]))


def _lowest(keys: Matches) -> Matches:
    """Return the keys sorted, each once, and of a shingle only the first MAX_POSTINGS."""
    keys = np.unique(keys)
    numbers = keys >> _DOCUMENT_BITS
    is_kept = np.ones(len(keys), dtype=bool)
    is_kept[MAX_POSTINGS:] = numbers[MAX_POSTINGS:] != numbers[:-MAX_POSTINGS]
    return keys[is_kept]


def _made_filter(hashes: Hashes) -> NDArray[np.uint8]:
    """Return a Bloom filter of two hash functions, with _FILTER_BITS bits for each hash."""
    num_bits = max(_MIN_FILTER_BITS, (len(hashes) * _FILTER_BITS - 1).bit_length())
    bits = np.zeros(1 << num_bits >> 3, dtype=np.uint8)
    shift = _filter_shift(bits)
    for slots in (hashes >> shift, mixed(hashes) >> shift):
        np.bitwise_or.at(bits, slots >> np.uint64(3), _BIT_MASKS[slots & np.uint64(7)])
    return bits


def _filter_shift(bits: NDArray[np.uint8]) -> np.uint64:
    return np.uint64(64 - (len(bits) * 8 - 1).bit_length())


def _bits_at(bits: NDArray[np.uint8], slots: Hashes) -> NDArray[np.bool_]:
    # Indices without a sign are converted before they are used.
    found = bits[(slots >> np.uint64(3)).view(np.int64)]
    found &= _BIT_MASKS[(slots & np.uint64(7)).view(np.int64)]
    return found != 0
