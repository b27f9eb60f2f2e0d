"""The page of a layer's attention: which maps and which numbers it shows."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np

from llmctl.core.artifacts.attention_report import attention_page
from llmctl.core.artifacts.html_heat_maps import HeatMaps
from llmctl.core.artifacts.html_report import Table, render

PIECES = ["<s>", " a", "\n世"]
ONE = np.array([[1, 0, 0], [0.5, 0.5, 0], [0.25, 0, 0.75]], dtype=np.float32)
TWO = np.array([[1, 0, 0], [1, 0, 0], [0.25, 0.5, 0.25]], dtype=np.float32)


def blocks(page, kind):
    return [block for block in page.blocks if isinstance(block, kind)]


def test_a_layer_shows_the_mean_and_each_head():
    page = attention_page(" a\n世", PIECES, 3, {0: ONE, 1: TWO})

    mean, each = blocks(page, HeatMaps)
    assert mean.maps[0].weights[2] == [0.25, 0.25, 0.5]
    assert [map_.title for map_ in each.maps] == ["Head 0", "Head 1"]
    assert each.maps[1].weights == TWO.tolist()
    assert each.maps[0].labels == ["<s>", "␣a", "⏎世"]
    assert page.title == "Layer 3"


def test_one_head_shows_itself_and_where_its_tokens_look():
    page = attention_page(" a\n世", PIECES, 3, {5: TWO})

    ((only,), (table,)) = blocks(page, HeatMaps), blocks(page, Table)
    assert [map_.title for map_ in only.maps] == ["Head 5"]
    assert page.title == "Layer 3, head 5"
    assert table.rows[0] == ("<s>", "<s>\u00a0100%")
    assert table.rows[2] == ("⏎世", "␣a\u00a050%, <s>\u00a025%, ⏎世\u00a025%")
    assert table.caption == "By head 5."


def test_is_a_page():
    html = render(attention_page("长" * 400, PIECES, 0, {0: ONE, 1: TWO}))

    tree = ElementTree.fromstring(html.removeprefix("<!DOCTYPE html>\n"))
    assert len(list(tree.iter("svg"))) >= 3
    assert "长" * 300 + "…" in html
