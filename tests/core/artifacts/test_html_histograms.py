"""Histograms: areas for counts, bounds at their place, what is out in another colour."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from llmctl.core.artifacts.html_histograms import (
    Bound,
    HistogramPlot,
    Histograms,
    draw_histograms,
)


def drawn(*arguments, **options):
    return ElementTree.fromstring(
        draw_histograms(Histograms((HistogramPlot("words", *arguments, **options),)))
    )


def figures(tree, *names):
    return [tuple(float(bar.get(name)) for name in names) for bar in tree.iter("rect")]


def test_areas_stand_for_counts():
    tree = drawn((0, 1, 3), (10, 10))

    assert figures(tree, "x", "width", "height") == [(0, 333.3, 1000), (333.3, 666.7, 500)]
    assert tree.find(".//rect/title").text == "0 – 1: 10"


def test_one_is_seen_beside_a_million():
    tree = drawn((0, 1, 2, 3), (1_000_000, 1, 0))

    assert figures(tree, "height") == [(1000,), (12,)]


def test_what_is_beyond_a_bound_is_out():
    bounds = (Bound("min 1", 1, is_least=True), Bound("max 3", 3, is_least=False))

    tree = drawn((0, 1, 2, 3, 4), (1, 1, 1, 1), bounds)

    assert [bar.get("class") for bar in tree.iter("rect")] == ["out", None, None, "out"]
    assert [float(line.get("x1")) for line in tree.iter("line")] == [250, 750]
    labels = next(part for part in tree.iter("div") if part.get("class") == "bounds")
    assert [label.text for label in labels] == ["min 1", "max 3"]


def test_a_bound_beyond_all_bars_is_still_in_the_plot():
    tree = drawn((0, 0.02), (5,), (Bound("max 0.3", 0.3, is_least=False),))

    [line] = tree.iter("line")
    assert 900 < float(line.get("x1")) < 1000


def test_a_logarithmic_axis():
    bounds = (Bound("min 10", 10, is_least=True), Bound("max 1e9", 1e9, is_least=False))

    tree = drawn((0, 1, 10, 100), (0, 7, 7), bounds, log_x=True)

    widths = figures(tree, "width")
    assert widths[0] == pytest.approx(widths[1], abs=0.2)
    assert figures(tree, "height") == [(1000,), (1000,)]
    # A bound that is ten million times farther than all bars is told, not drawn.
    assert len(list(tree.iter("line"))) == 1


def test_a_bound_below_all_bars_of_a_logarithmic_axis():
    tree = drawn((20, 25), (7,), (Bound("min 10", 10, is_least=True),), log_x=True)

    [line] = tree.iter("line")
    assert 0 < float(line.get("x1")) < 100


@pytest.mark.parametrize(
    ("edges", "counts"),
    [
        pytest.param((0, 1), (1, 2), id="too few edges"),
        pytest.param((0, 2, 1), (1, 2), id="not ascending"),
        pytest.param((-1, 1), (1,), id="negative"),
        pytest.param((0, 1), (0,), id="nothing counted"),
        pytest.param((), (), id="nothing at all"),
    ],
)
def test_refuses_what_is_no_histogram(edges, counts):
    with pytest.raises(ValueError, match="a histogram needs counts"):
        drawn(edges, counts)
