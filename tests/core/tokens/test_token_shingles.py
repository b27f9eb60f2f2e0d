"""Shingles of ids: by hand, then equal exactly where the ids are."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from llmctl.core.tokens.token_shingles import (
    SHINGLE_TOKENS,
    document_hashes,
    num_shingles,
    short_hashes,
    window_hashes,
)

BASE = 0x9E3779B97F4A7C15
IDS = st.lists(st.sampled_from([0, 1, 2, 2**32 - 1]), max_size=40)


def ids(values):
    return np.array(values, dtype=np.uint32)


def slow_hash(values):
    return sum((value + 1) * BASE ** (12 - place) for place, value in enumerate(values)) % 2**64


def test_a_window_by_hand():
    assert window_hashes(ids([0] * 12 + [6])).tolist() == [
        (sum(BASE**power for power in range(1, 13)) + 7) % 2**64
    ]


def test_a_short_document_by_hand():
    # Ids 0 and 4 make 1 * base^12 + 5 * base^11; the document of 13 is none of the short.
    found = short_hashes(ids([0, 4, *range(13), 9]), np.array([2, 0, 13, 1]))

    assert found.tolist() == [
        (BASE**12 + 5 * BASE**11) % 2**64,
        0,
        0,
        10 * BASE**12 % 2**64,
    ]


@given(values=IDS)
def test_every_window_equals_the_formula(values):
    windows = [values[start : start + SHINGLE_TOKENS] for start in range(len(values) - 12)]

    assert window_hashes(ids(values)).tolist() == [slow_hash(window) for window in windows]


@given(values=IDS)
def test_a_document_has_the_set_of_its_windows_or_is_one(values):
    windows = [values[start : start + SHINGLE_TOKENS] for start in range(len(values) - 12)]
    if 0 < len(values) < SHINGLE_TOKENS:
        windows = [values]

    assert document_hashes(ids(values)).tolist() == sorted({slow_hash(each) for each in windows})
    assert num_shingles(len(values)) == len(windows)


@given(first=IDS, second=IDS)
def test_documents_share_a_hash_only_if_they_share_a_shingle(first, second):
    def shingles(values):
        if len(values) < SHINGLE_TOKENS:
            return {tuple(values)} - {()}
        return {tuple(values[start : start + 13]) for start in range(len(values) - 12)}

    common = np.intersect1d(document_hashes(ids(first)), document_hashes(ids(second)))

    assert len(common) == len(shingles(first) & shingles(second))
