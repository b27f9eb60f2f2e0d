"""Hashes of stretches of numbers, equal for equal ones wherever they stand.

A stretch's hash is sum(number_k * base^k) modulo 2^64, k counted from its first number: a
difference of two prefix sums, multiplied by an inverse power (Karp and Rabin 1987,
"Efficient randomized pattern-matching algorithms"), its bits then spread.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Integers = NDArray[np.int64]

# Any odd number has its inverse modulo 2^64; this one is the golden ratio's.
_BASE = 0x9E3779B97F4A7C15
_TABLE_BITS = 16
TABLE_SIZE = 1 << _TABLE_BITS
"""Up to so many numbers, no power has to be multiplied out."""


class Powers:
    """Powers of one number modulo 2^64, by two tables."""

    def __init__(self, base: int) -> None:
        self._low = _powers(base)
        self._high = _powers(pow(base, TABLE_SIZE, 1 << 64))

    def first(self, count: int) -> Hashes:
        """Return the powers from the zeroth on."""
        if count <= TABLE_SIZE:
            return self._low[:count]
        return self.of(np.arange(count))

    def of(self, exponents: Integers) -> Hashes:
        """Return the power for each exponent below 2^32."""
        low = self._low[exponents & (TABLE_SIZE - 1)]
        if not len(exponents) or exponents.max() < TABLE_SIZE:
            return low
        return low * self._high[exponents >> _TABLE_BITS]


def stretch_hashes(numbers: NDArray[np.integer], starts: Integers, stops: Integers) -> Hashes:
    """Return the hash of each stretch of numbers, from `starts` up to but without `stops`."""
    sums = np.zeros(len(numbers) + 1, dtype=np.uint64)
    np.cumsum(numbers * POWERS.first(len(numbers)), out=sums[1:])
    return mixed((sums[stops] - sums[starts]) * INVERSE_POWERS.of(starts))


def mixed(values: Hashes) -> Hashes:
    """Return each value with its bits spread (the end of SplitMix64, Steele et al. 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _powers(base: int) -> Hashes:
    powers = np.full(TABLE_SIZE, base, dtype=np.uint64)
    powers[0] = 1
    return np.multiply.accumulate(powers)


POWERS = Powers(_BASE)
INVERSE_POWERS = Powers(pow(_BASE, -1, 1 << 64))
