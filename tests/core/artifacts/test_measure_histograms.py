"""Histograms of measures: bins that hold their threshold on the side that passes."""

from __future__ import annotations

import pytest

from llmctl.core.artifacts.measure_histograms import MeasureHistograms
from llmctl.core.clean_plan import QualityRules


def histogram_of(rule, values, **rules):
    histograms = MeasureHistograms()
    for value in values:
        histograms.add("zh", {rule: value}, QualityRules(**rules))
    [found] = histograms.histograms()
    return found


def test_a_share_in_fiftieths_and_zeros_apart():
    found = histogram_of("max_repeated_line_share", [0, 0.0, 0.3, 0.301, 0.32])

    assert (found.measure, found.scale, found.zeros) == ("repeated_line_share", "share", 2)
    assert list(found.edges) == [0.28, 0.3, 0.32]
    assert list(found.counts) == [1, 2]
    assert found.total == 5


def test_a_minimum_holds_its_threshold_above():
    found = histogram_of("min_letter_share", [0.39, 0.4, 0.41], min_letter_share=0.4)

    assert list(found.edges) == [0.38, 0.4, 0.42]
    assert list(found.counts) == [1, 2]
    assert found.thresholds == {"min_letter_share": 0.4}


@pytest.mark.parametrize(
    ("rule", "value", "edges"),
    [
        pytest.param("min_words", 1, (1, 2), id="one"),
        pytest.param("min_words", 50, (50, 60), id="threshold of Gopher"),
        pytest.param("min_words", 49, (45, 50), id="below it"),
        pytest.param("max_words", 100_000, (90_000, 100_000), id="maximum"),
        pytest.param("max_words", 100_001, (100_000, 120_000), id="above it"),
        pytest.param("min_mean_word_characters", 3.1, (3, 3.25), id="mean in quarters"),
        pytest.param("max_mean_word_characters", 10.5, (10, 12), id="mean above ten"),
        pytest.param("min_words", 1e12, (9e7, 1e8), id="the last bin is open"),
        pytest.param("max_hashes_per_word", 7.5, (0.98, 1), id="a ratio above one"),
        pytest.param("max_hashes_per_word", 0.0001, (0, 0.02), id="nearly nothing"),
    ],
)
def test_bins(rule, value, edges):
    found = histogram_of(rule, [value])

    assert tuple(found.edges) == edges
    assert list(found.counts) == [1]


def test_a_minimum_and_a_maximum_of_one_measure_are_one():
    histograms = MeasureHistograms()
    rules = QualityRules(min_words=50, max_words=False)
    histograms.add("en", {"min_words": 50, "max_words": 50}, rules)
    histograms.add("ja", {"max_words": 0}, QualityRules(max_words=9))

    english, japanese = histograms.histograms()
    assert tuple(english.edges) == (50, 60)  # the minimum's bins: it is nearer to most texts
    assert (english.thresholds, english.total) == ({"min_words": 50.0}, 1)
    assert (japanese.language, japanese.thresholds) == ("ja", {"max_words": 9.0})
    assert (japanese.zeros, list(japanese.edges), list(japanese.counts)) == (1, [], [])
