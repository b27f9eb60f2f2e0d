"""Hashes of stretches: by hand, wherever they stand, and beyond the table of powers."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from llmctl.core.text import polynomial_hashes
from llmctl.core.text.polynomial_hashes import (
    INVERSE_POWERS,
    POWERS,
    TABLE_SIZE,
    mixed,
    stretch_hashes,
)

BASE = polynomial_hashes._BASE
MODULUS = 1 << 64


def by_hand(numbers):
    value = sum(number * BASE**place for place, number in enumerate(numbers)) % MODULUS
    return int(mixed(np.array([value], np.uint64))[0])


def hashes(numbers, *stretches):
    starts, stops = np.array(stretches, np.int64).T
    return stretch_hashes(np.array(numbers, np.uint32), starts, stops).tolist()


@given(st.lists(st.integers(0, 0x10FFFF), min_size=1, max_size=20), st.data())
def test_a_stretch_hashes_as_it_does_alone(numbers, data):
    start = data.draw(st.integers(0, len(numbers) - 1))
    stop = data.draw(st.integers(start, len(numbers)))

    assert hashes(numbers, (start, stop)) == [by_hand(numbers[start:stop])]


def test_stretches_beyond_the_table_in_any_order():
    numbers = [7, 9, *[1] * TABLE_SIZE, 7, 9]
    far = len(numbers) - 2

    assert hashes(numbers, (far, far + 2), (0, 2)) == [by_hand([7, 9])] * 2


def test_powers_undo_each_other():
    exponents = np.array([0, 1, TABLE_SIZE - 1, TABLE_SIZE, 5 * TABLE_SIZE + 3])

    assert (POWERS.of(exponents) * INVERSE_POWERS.of(exponents) == 1).all()
    assert POWERS.of(exponents).tolist() == [pow(BASE, int(e), MODULUS) for e in exponents]
    assert POWERS.first(TABLE_SIZE + 2)[-1] == pow(BASE, TABLE_SIZE + 1, MODULUS)
