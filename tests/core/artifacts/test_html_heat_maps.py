"""Heat maps: cells read back from the drawing, refusals."""

from __future__ import annotations

import math
from xml.etree import ElementTree

import pytest

from llmctl.core.artifacts.html_heat_maps import (
    CELL_PIXELS,
    HeatMap,
    HeatMaps,
    draw_heat_maps,
)


def drawn(labels, weights):
    figure = ElementTree.fromstring(draw_heat_maps(HeatMaps((HeatMap("题", labels, weights),))))
    return figure.find(".//div[@class='map']")


def test_a_cell_for_each_weight_that_can_be_seen():
    map_ = drawn(["a", "世界"], [[1.0, 0.0], [0.25, 0.75]])

    cells = [(int(rect.get("x")), int(rect.get("y"))) for rect in map_.iter("rect")]
    top = cells[0][1]
    assert cells == [(0, top), (0, top + CELL_PIXELS), (CELL_PIXELS, top + CELL_PIXELS)]
    shades = [float(rect.get("fill-opacity")) for rect in map_.iter("rect")]
    assert shades == pytest.approx([1.0, 0.5, math.sqrt(0.75)], abs=0.005)
    assert [title.text for title in map_.iter("title")] == [
        "a → a: 100.0%",
        "世界 → a: 25.0%",
        "世界 → 世界: 75.0%",
    ]


def test_rows_and_columns_are_named():
    map_ = drawn(["a", "世界"], [[1.0, 0.0], [0.0, 1.0]])

    assert [item.text for item in map_.iter("li")] == ["a", "世界"]
    assert [text.text for text in map_.iter("text")] == ["a", "世界"]


@pytest.mark.parametrize(
    ("label", "shown"),
    [
        pytest.param("abcdefghijkl", "abcdefghijkl", id="fits"),
        pytest.param("abcdefghijklm", "abcdefghijk…", id="Latin"),
        pytest.param("世界人们河山", "世界人们河山", id="Chinese fits"),
        pytest.param("世界人们河山日", "世界人们河…", id="Chinese is twice as wide"),
    ],
)
def test_long_labels_are_cut_by_their_width(label, shown):
    assert drawn([label], [[1.0]]).find(".//li").text == shown


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        pytest.param([[1.0]], "a map of 2 labels", id="a row too few"),
        pytest.param([[1.0], [0.5, 0.5]], "a map of 2 labels", id="a weight too few"),
        pytest.param([[1.0, 0.0], [-0.1, 1.1]], "a weight of -0.1", id="negative"),
        pytest.param([[math.nan, 0.0], [0.0, 1.0]], "a weight of nan", id="not a number"),
    ],
)
def test_refuses_weights(weights, message):
    with pytest.raises(ValueError, match=message):
        drawn(["a", "b"], weights)
