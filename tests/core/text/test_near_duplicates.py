"""Similarities by hand, MinHash without bias, and what banding and anchors promise."""

import numpy as np
import pytest

from llmctl.core.text.near_duplicates import (
    MAX_ANCHORS,
    MIN_RECALL,
    NUM_HASHES,
    band_keys,
    band_rows,
    likely,
    may_reach,
    num_anchors,
    signatures,
    similarity,
)


def made(*values):
    return np.array(values, np.uint32)


def pair(num_common, num_alone, generator):
    """Two sets of 32-bit hashes with so many in common and so many of their own."""
    drawn = np.unique(generator.integers(0, 2**32, num_common + 2 * num_alone + 50, np.uint32))
    drawn = generator.permutation(drawn)[: num_common + 2 * num_alone]
    common, first, second = np.split(drawn, [num_common, num_common + num_alone])
    return np.sort(np.append(common, first)), np.sort(np.append(common, second))


def signed(*sets):
    return signatures(np.concatenate(sets), np.cumsum([len(each) for each in sets]))


@pytest.mark.parametrize(
    ("first", "second", "jaccard", "containment"),
    [
        (made(1, 2, 3), made(2, 3, 4), 2 / 4, 2 / 3),
        (made(1, 2), made(1, 2, 3, 4), 2 / 4, 1.0),
        (made(1, 2, 3, 4), made(1, 2), 2 / 4, 2 / 4),
        (made(5), made(1, 2), 0.0, 0.0),
        (made(), made(1), 0.0, 0.0),
        (made(1), made(), 0.0, 0.0),
        (made(), made(), 0.0, 0.0),
        (made(7, 2**32 - 1), made(7, 2**32 - 1), 1.0, 1.0),
    ],
)
def test_similarity_by_hand(first, second, jaccard, containment):
    assert similarity(first, second, "jaccard") == jaccard
    assert similarity(first, second, "containment") == containment


@pytest.mark.parametrize(("num_common", "num_alone"), [(2, 1), (8, 2), (80, 10), (600, 300)])
def test_estimates_have_no_bias(num_common, num_alone):
    generator = np.random.default_rng(num_common)
    truth = num_common / (num_common + 2 * num_alone)
    sets = [each for _ in range(200) for each in pair(num_common, num_alone, generator)]

    found = signed(*sets)

    shares = (found[::2] == found[1::2]).mean(axis=1)
    deviation = np.sqrt(truth * (1 - truth) / NUM_HASHES)
    assert abs(shares.mean() - truth) < 4 * deviation / np.sqrt(len(shares))
    assert 0.85 < shares.std() / deviation < 1.15


def test_signatures_are_those_of_the_slow_way():
    generator = np.random.default_rng(1)
    sets = [
        generator.integers(0, 2**32, size, np.uint32)
        for size in (3, 0, 1, 40_000, 0, 20_000, 5, 5527, 9, 0)
    ]

    found = signed(*sets)

    # A document ends where a block does.
    assert sum(map(len, sets[:8])) == 4 << 14
    assert found.shape == (10, NUM_HASHES)
    for number, each in enumerate(sets):
        alone = signatures(each, np.array([len(each)]))
        assert found[number].tolist() == alone[0].tolist()
        if len(each) > 1:
            halves = signed(each[: len(each) // 2], each[len(each) // 2 :])
            assert all(
                value in column for value, column in zip(found[number], halves.T, strict=True)
            )
    assert set(found[1].tolist()) == {0xFFFF}


def test_no_documents_have_no_signatures():
    assert signatures(made(), np.empty(0, np.int64)).shape == (0, NUM_HASHES)


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.8, 0.95, 1.0])
def test_bands_find_a_pair_at_the_threshold(threshold):
    rows = band_rows(threshold)

    assert 1 - (1 - threshold**rows) ** (NUM_HASHES // rows) >= MIN_RECALL
    if rows < NUM_HASHES:
        more = rows + 1
        assert 1 - (1 - threshold**more) ** (NUM_HASHES // more) < MIN_RECALL


def test_bands_find_pairs_at_the_threshold_in_fact():
    generator = np.random.default_rng(2)
    sets = [each for _ in range(1500) for each in pair(80, 10, generator)]

    keys = band_keys(signed(*sets), 0.8)

    found = (keys[::2] == keys[1::2]).any(axis=1)
    assert found.mean() >= MIN_RECALL - 0.002
    others = (keys[:-2:2] == keys[3::2]).any(axis=1)
    assert not others.any()


def test_no_two_bands_share_a_key():
    keys = band_keys(np.full((1, NUM_HASHES), 7, np.uint16), 0.8)

    assert len(np.unique(keys)) == keys.size == NUM_HASHES // band_rows(0.8)


def test_every_row_of_a_band_counts():
    one = np.zeros((1, NUM_HASHES), np.uint16)
    for column in range(band_rows(0.8)):
        other = one.copy()
        other[0, column] = 1
        same = band_keys(one, 0.8) == band_keys(other, 0.8)
        assert same[0].tolist() == [False, *[True] * (same.size - 1)]


@pytest.mark.parametrize(
    ("threshold", "number"), [(1.0, 1), (0.9, 2), (0.8, 3), (0.5, 7), (0.01, 64), (0.0, 64)]
)
def test_anchors_by_hand(threshold, number):
    assert num_anchors(threshold) == number
    assert number == MAX_ANCHORS or (1 - threshold) ** number <= 1 - MIN_RECALL + 1e-12


def test_likely_are_those_whose_estimate_is_near_or_above():
    mine = np.arange(NUM_HASHES, dtype=np.uint16)
    others = np.stack([mine, mine + 1, np.where(mine < 90, mine, 0), np.where(mine < 70, mine, 0)])

    assert likely(mine, others, 0.8).tolist() == [True, False, True, False]


@pytest.mark.parametrize("measure", ["jaccard", "containment"])
def test_a_pair_at_the_threshold_is_seldom_ruled_out(measure):
    generator = np.random.default_rng(3)
    threshold = 0.8 if measure == "jaccard" else 8 / 9
    pairs = [pair(800, 100, generator) for _ in range(400)]

    possible = [may_reach(*each, measure, threshold) for each in pairs]

    assert similarity(*pairs[0], measure) == threshold
    assert sum(possible) >= 397


def test_a_sample_rules_out_what_is_far_below():
    first, second = pair(500, 500, np.random.default_rng(4))

    assert not may_reach(first, second, "jaccard", 0.8)
    assert not may_reach(first, second, "containment", 0.8)


def test_sizes_rule_out_a_jaccard_similarity_only():
    small, large = np.arange(79, dtype=np.uint32), np.arange(100, dtype=np.uint32)

    assert not may_reach(small, large, "jaccard", 0.8)
    assert not may_reach(large, small, "jaccard", 0.8)
    assert may_reach(np.arange(80, dtype=np.uint32), large, "jaccard", 0.8)
    assert may_reach(small, large, "containment", 0.8)
