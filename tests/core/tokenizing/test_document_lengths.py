"""DocumentLengths: exact sums, quantiles to two per cent, and the sum of parts is the whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmctl.core.tokenizing.document_lengths import QUANTILES, DocumentLengths

LENGTHS = st.lists(st.integers(0, 100) | st.integers(0, 1 << 40), min_size=1, max_size=30)


def lengths_of(values):
    lengths = DocumentLengths()
    lengths.add(values)
    return lengths


def test_matches_hand_worked_value():
    facts = lengths_of([3, 1, 9, 9, 70]).facts()

    assert (facts.documents, facts.tokens, facts.shortest, facts.longest) == (5, 92, 1, 70)
    assert facts.quantiles == {0.01: 1, 0.1: 1, 0.25: 3, 0.5: 9, 0.75: 9, 0.9: 70, 0.99: 70}
    assert list(facts.edges) == [
        *range(1, 8), 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80,
    ]  # fmt: skip
    assert list(facts.counts) == [1, 0, 1, 0, 0, 0, 0, 2, *[0] * 11, 1]


@pytest.mark.parametrize("length", [0, 1, 63, 64, 65, 1000, 123_456_789])
def test_one_document_is_its_own_quantiles(length):
    facts = lengths_of([length]).facts()

    assert set(facts.quantiles.values()) == {length}
    assert list(facts.counts) == [1]
    assert facts.edges[0] <= length < facts.edges[1]


def test_nothing_has_no_facts():
    assert lengths_of([]).facts() is None


@given(LENGTHS)
def test_quantiles_are_good_to_two_per_cent_and_bars_hold_all(values):
    facts = lengths_of(values).facts()

    exact = np.quantile(values, QUANTILES, method="inverted_cdf")
    for share, expected in zip(QUANTILES, exact.tolist(), strict=True):
        assert facts.quantiles[share] == pytest.approx(expected, rel=0.02)
    bars, _ = np.histogram(values, facts.edges)
    assert list(facts.counts) == bars.tolist()


@given(LENGTHS, st.integers(0, 30))
def test_sum_of_parts_is_the_whole(values, cut):
    whole, together = lengths_of(values), DocumentLengths()
    for part in (values[:cut], values[cut:]):
        together.add_json(lengths_of(part).as_json())

    assert together.as_json() == whole.as_json()
