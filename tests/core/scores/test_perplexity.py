"""Bits per byte, per character and token perplexity: worked by hand, then their promises."""

from __future__ import annotations

import math

import numpy as np
import pytest

from llmctl.core.scores.perplexity import bits_per_byte, bits_per_character, token_perplexity

BIT = math.log(2)  # one bit, in nats


def arrays(nats, counts):
    return np.array(nats, np.float64), np.array(counts, np.int64)


@pytest.mark.parametrize(
    ("nats", "byte_counts", "expected"),
    [
        pytest.param([BIT, BIT], [1, 1], 1.0, id="one bit for each one-byte token"),
        pytest.param([BIT, BIT], [1, 3], 0.5, id="ratio of sums, not mean of 1 and 1/3"),
        pytest.param([BIT, 99.0], [1, 0], 1.0, id="a special token enters neither sum"),
        pytest.param([0.0, 0.0], [1, 1], 0.0, id="a certain model needs nothing"),
        pytest.param([6 * BIT], [3], 2.0, id="a Chinese character of six bits"),
    ],
)
def test_bits_per_byte_by_hand(nats, byte_counts, expected):
    assert bits_per_byte(*arrays(nats, byte_counts)) == pytest.approx(expected, abs=1e-15)


def test_bits_per_character_by_hand():
    # 中 costs six bits and ab two: eight bits for three characters.
    assert bits_per_character(*arrays([6 * BIT, 2 * BIT], [1, 2])) == pytest.approx(8 / 3)


@pytest.mark.parametrize(
    ("nats", "token_counts", "expected"),
    [
        pytest.param([math.log(8)], [1], 8.0, id="one in eight"),
        pytest.param([math.log(2), math.log(8)], [1, 1], 4.0, id="geometric mean"),
        pytest.param([math.log(4), 9 * math.log(2)], [1, 10], 2.0, id="weighted by tokens"),
    ],
)
def test_token_perplexity_by_hand(nats, token_counts, expected):
    assert token_perplexity(*arrays(nats, token_counts)) == pytest.approx(expected)


def test_bits_per_byte_does_not_depend_on_the_cut():
    nats, counts = arrays([1.5, 0.25, 3.0, 2.0], [1, 2, 3, 4])

    joined = bits_per_byte(*arrays([1.75, 5.0], [3, 7]))

    assert bits_per_byte(nats, counts) == pytest.approx(joined, rel=1e-15)


def test_sums_in_float64():
    # In float32 a million thousandths come to 991.
    nats = np.full(1_000_000, 0.001, np.float32)

    total_bits = bits_per_byte(nats, np.full(1_000_000, 1)) * 1_000_000

    assert total_bits * BIT == pytest.approx(1000, rel=1e-6)


@pytest.mark.parametrize("score", [bits_per_byte, bits_per_character, token_perplexity])
def test_refuses_items_without_text(score):
    with pytest.raises(ValueError, match="none of 2 items stands for any text"):
        score(*arrays([1.0, 1.0], [0, 0]))


@pytest.mark.parametrize("score", [bits_per_byte, bits_per_character, token_perplexity])
def test_refuses_unequal_shapes(score):
    with pytest.raises(ValueError, match=r"one shape, got \(2,\) and \(3,\)"):
        score(*arrays([1.0, 1.0], [1, 1, 1]))
