"""The bootstrap of documents: exact where it can be worked out, then its coverage."""

from __future__ import annotations

import numpy as np
import pytest

from llmctl.core.scores.intervals import ratio_interval


def test_equal_ratios_leave_no_doubt():
    low, high = ratio_interval(
        np.array([2.0, 4.0, 6.0]), np.array([1, 2, 3]), num_samples=50, seed=0
    )

    assert (low, high) == pytest.approx((2.0, 2.0))


def test_two_documents_by_hand():
    # Draws of two from {0/1, 1/1}: 0, 1/2 or 1 with 1/4, 1/2, 1/4, so the ends are 0 and 1.
    low, high = ratio_interval(np.array([0.0, 1.0]), np.array([1, 1]), num_samples=500, seed=0)

    assert (low, high) == (0.0, 1.0)


def test_a_ratio_of_sums():
    # One huge document and one tiny: every draw that holds the huge one is ruled by it.
    low, high = ratio_interval(
        np.array([1.0, 1e6]), np.array([1, 10**6 * 2]), num_samples=400, seed=0
    )

    assert low == pytest.approx(0.5, abs=1e-5)
    assert high == pytest.approx(1.0, abs=1e-5)


def test_covers_the_truth_as_often_as_it_says():
    draw = np.random.default_rng(7)
    num_trials = 300
    covered = 0
    for trial in range(num_trials):
        byte_counts = draw.integers(100, 2000, size=60)
        nats = byte_counts * draw.gamma(8.0, 2.0 / 8.0, size=60)  # 2 nats a byte
        low, high = ratio_interval(nats, byte_counts, num_samples=300, seed=trial)
        covered += low <= 2.0 <= high
    # 95 % of 300 is 285; three standard deviations of a binomial are 11, and the
    # percentile bootstrap of 60 documents is known to promise a little too much.
    assert 268 <= covered <= 297


def test_same_seed_same_interval_in_any_portion(monkeypatch):
    numerators = np.random.default_rng(1).random(40)
    denominators = np.arange(1, 41)
    whole = ratio_interval(numerators, denominators, num_samples=101, seed=5)
    monkeypatch.setattr("llmctl.core.scores.intervals._DRAWS_AT_ONCE", 123)

    assert ratio_interval(numerators, denominators, num_samples=101, seed=5) == whole
    assert ratio_interval(numerators, denominators, num_samples=101, seed=6) != whole


@pytest.mark.parametrize(
    ("numerators", "denominators", "num_samples", "message"),
    [
        pytest.param([1.0, 2.0], [1], 10, "one shape", id="shapes"),
        pytest.param([1.0], [1], 10, "needs 2 documents, got 1", id="one document"),
        pytest.param([1.0, 2.0], [1, 0], 10, "must be positive, got 0", id="no bytes"),
        pytest.param([1.0, 2.0], [1, 1], 0, "at least 1 sample, got 0", id="no samples"),
    ],
)
def test_refuses(numerators, denominators, num_samples, message):
    with pytest.raises(ValueError, match=message):
        ratio_interval(
            np.array(numerators), np.array(denominators), num_samples=num_samples, seed=0
        )
