"""Thirteen ids in a row, as numbers: what encoded documents are compared by.

A shingle's hash is sum((id_k + 1) * base^(12 - k)) modulo 2^64 over its ids k = 0..12 (Karp
and Rabin 1987, "Efficient randomized pattern-matching algorithms"). A document of fewer ids
has one shingle, as if zeros followed: it equals no shingle but that of the same short
document. Thirteen is what GPT-3's check for contamination counts in, of words (Brown et al.
2020, appendix C, arXiv:2005.14165).

Shapes: T ids of all documents, D documents.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SHINGLE_TOKENS = 13

Hashes = NDArray[np.uint64]

_BASE = 0x9E3779B97F4A7C15


def _power(exponent: int) -> np.uint64:
    return np.uint64(pow(_BASE, exponent, 1 << 64))


_POWER_1, _POWER_2, _POWER_4 = _power(1), _power(2), _power(4)
_POWERS = np.array([_power(12 - place) for place in range(SHINGLE_TOKENS)])


def window_hashes(ids_T: NDArray[np.uint32]) -> Hashes:
    """Return the hash of each stretch of SHINGLE_TOKENS ids, by where it begins, shape (T - 12,).

    The lower bits of a hash come from the last ids alone.
    """
    if len(ids_T) < SHINGLE_TOKENS:
        return np.empty(0, dtype=np.uint64)
    # 1, 2, 4, 8, 8 + 4, 12 + 1: five multiplications and not twelve.
    ones = np.add(ids_T, np.uint64(1), dtype=np.uint64)
    twos = ones[:-1] * _POWER_1
    twos += ones[1:]
    fours = twos[:-2] * _POWER_2
    fours += twos[2:]
    eights = fours[:-4] * _POWER_4
    eights += fours[4:]
    twelves = eights[:-4] * _POWER_4
    twelves += fours[8:]
    windows = twelves[:-1] * _POWER_1
    windows += ones[12:]
    return windows


def short_hashes(ids_T: NDArray[np.uint32], lengths_D: NDArray[np.integer]) -> Hashes:
    """Return the hash of each document of 1 to 12 ids, which is its only shingle.

    Args:
        ids_T: A document after the other.
        lengths_D: Ids of each; the hash of one that is not so short means nothing.

    Returns:
        Shape (D,).
    """
    starts_D = np.cumsum(lengths_D) - lengths_D
    hashes_D = np.zeros(len(lengths_D), dtype=np.uint64)
    for place in range(SHINGLE_TOKENS - 1):
        holds = np.flatnonzero((lengths_D > place) & (lengths_D < SHINGLE_TOKENS))
        ids = ids_T[starts_D[holds] + place]
        hashes_D[holds] += np.add(ids, np.uint64(1), dtype=np.uint64) * _POWERS[place]
    return hashes_D


def document_hashes(ids_T: NDArray[np.uint32]) -> Hashes:
    """Return the set of a document's shingles, sorted; empty for one without ids."""
    if len(ids_T) < SHINGLE_TOKENS:
        lengths = np.array([len(ids_T)])
        return short_hashes(ids_T, lengths)[: len(ids_T)]
    return np.unique(window_hashes(ids_T))


def num_shingles(num_ids: int) -> int:
    """Return how many shingles a document has, counting equal ones."""
    return max(num_ids - SHINGLE_TOKENS + 1, min(num_ids, 1))
