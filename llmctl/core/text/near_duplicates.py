"""How alike two documents are, and which pairs are worth comparing.

Documents are compared by their sets of shingles (`shingles.shingle_sets`), by Jaccard
similarity or by containment. For Jaccard, MinHash finds the candidates (Broder 1997, "On
the resemblance and containment of documents"; banding as in Leskovec, Rajaraman, Ullman,
"Mining of Massive Datasets", section 3.4). A short document inside a long one is not very
similar to it, so MinHash would miss it: for containment the candidates are all documents
that hold one of a few shingles drawn from the other, its anchors.

Shapes: N documents, S shingles of all, H hash functions, B bands.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from llmctl.core.text.polynomial_hashes import Hashes, mixed
from llmctl.core.text.shingles import Ends, ShingleHashes

NUM_HASHES = 112
MIN_RECALL = 0.99
MAX_ANCHORS = 64

Measure = Literal["jaccard", "containment"]
Signatures = NDArray[np.uint16]

_BLOCK_SHINGLES = 1 << 14
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
# An estimate is too low by more once in a thousand.
_ESTIMATE_DEVIATIONS = 3.0
_SAMPLED_SHINGLES = 128


def similarity(first: ShingleHashes, second: ShingleHashes, measure: Measure) -> float:
    """Return how alike two sets are, each sorted and without repeats; 0 with an empty one.

    Jaccard is |A ∩ B| / |A ∪ B|, containment |A ∩ B| / |A|: how much of the first is in the
    second, so that what is dropped for it would be lost by at most the rest.
    """
    if not len(first) or not len(second):
        return 0.0
    if measure == "containment":
        return _num_common(first, second) / len(first)
    if len(first) > len(second):
        first, second = second, first
    num_common = _num_common(first, second)
    return num_common / (len(first) + len(second) - num_common)


def may_reach(
    first: ShingleHashes, second: ShingleHashes, measure: Measure, threshold: float
) -> bool:
    """Return False where sizes or a sample rule out that two sets are so alike.

    The smallest hashes of a set are a sample of it without bias. A pair at the threshold
    is ruled out by the sample once in a thousand.
    """
    least = threshold
    if measure == "jaccard":
        if len(first) > len(second):
            first, second = second, first
        if len(first) < threshold * len(second):
            return False
        least = threshold / (1 + threshold) * (1 + len(second) / max(1, len(first)))
    if len(first) <= 2 * _SAMPLED_SHINGLES or least >= 1:
        return True
    share = _num_common(first[:_SAMPLED_SHINGLES], second) / _SAMPLED_SHINGLES
    deviation = math.sqrt(least * (1 - least) / _SAMPLED_SHINGLES)
    return share >= least - _ESTIMATE_DEVIATIONS * deviation


def _num_common(first: ShingleHashes, second: ShingleHashes) -> int:
    places = np.searchsorted(second, first)
    places[places == len(second)] = 0
    return int(np.count_nonzero(second[places] == first))


def likely(signature_H: Signatures, others_NH: Signatures, threshold: float) -> NDArray[np.bool_]:
    """Return which signatures do not rule out a Jaccard similarity, shape (N,)."""
    estimates = (others_NH == signature_H).mean(axis=1)
    deviation = math.sqrt(threshold * (1 - threshold) / NUM_HASHES)
    return estimates >= threshold - _ESTIMATE_DEVIATIONS * deviation


def signatures(sets_S: ShingleHashes, ends_N: Ends) -> Signatures:
    """Return the MinHash signatures of documents, shape (N, H).

    The low 16 bits of each minimum of `factor * shingle + shift` modulo 2^32; all ones for
    a document without shingles. Shingles are hashes already, so that linear functions,
    which permute the 32-bit numbers, are as good as random ones.

    Args:
        sets_S: Shingles, a document after the other.
        ends_N: Where each document ends.
    """
    starts_N = np.concatenate([[0], ends_N[:-1]]) if len(ends_N) else ends_N
    minima_HN = np.full((NUM_HASHES, len(ends_N)), 0xFFFFFFFF, dtype=np.uint32)
    filled = np.flatnonzero(ends_N > starts_N)
    starts, stops = starts_N[filled], ends_N[filled]
    for start in range(0, len(sets_S), _BLOCK_SHINGLES):
        block = sets_S[start : start + _BLOCK_SHINGLES]
        first = int(np.searchsorted(stops, start, side="right"))
        last = int(np.searchsorted(starts, start + len(block)))
        segments = np.maximum(starts[first:last] - start, 0)
        columns = filled[first:last]
        values = np.empty_like(block)
        for function, (factor, shift) in enumerate(zip(_FACTORS, _SHIFTS, strict=True)):
            np.multiply(block, factor, out=values)
            np.add(values, shift, out=values)
            row_N = minima_HN[function]
            row_N[columns] = np.minimum(row_N[columns], np.minimum.reduceat(values, segments))
    return np.ascontiguousarray(minima_HN.astype(np.uint16).T)


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


def band_keys(signatures_NH: Signatures, threshold: float) -> Hashes:
    """Return a key for each band of each document, shape (N, B).

    Two documents are candidates if they share a key; no two bands have one in common.
    """
    rows = band_rows(threshold)
    num_bands = NUM_HASHES // rows
    bands_NBR = signatures_NH[:, : num_bands * rows].reshape(-1, num_bands, rows)
    keys_NB = np.repeat(
        np.arange(1, num_bands + 1, dtype=np.uint64)[None], len(signatures_NH), axis=0
    )
    for row in range(rows):
        keys_NB = mixed(keys_NB * _MULTIPLIER + bands_NBR[:, :, row])
    return keys_NB


def num_anchors(threshold: float) -> int:
    """Return how many shingles of a document find those that contain it.

    Of a document whose share s is in another one, k shingles all miss it with the
    probability (1 - s)^k; never more than MAX_ANCHORS, which find s = 0.07.
    """
    if threshold >= 1:
        return 1
    if threshold <= 0:
        return MAX_ANCHORS
    needed = math.log(1 - MIN_RECALL) / math.log(1 - threshold)
    return min(MAX_ANCHORS, math.ceil(needed - 1e-9))


# Any fixed draw does; odd factors make permutations.
_FACTORS = (mixed(np.arange(1, NUM_HASHES + 1, dtype=np.uint64)) >> np.uint64(32)).astype(
    np.uint32
) | np.uint32(1)
_SHIFTS = (
    mixed(np.arange(NUM_HASHES + 1, 2 * NUM_HASHES + 1, dtype=np.uint64)) >> np.uint64(32)
).astype(np.uint32)
