"""The HTML page: well-formed, escaped, self-contained; then its refusals."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from llmctl.core.artifacts.html_charts import Bar, BarChart, LineChart, Part, PartsBar, Series
from llmctl.core.artifacts.html_heat_maps import HeatMap, HeatMaps
from llmctl.core.artifacts.html_histograms import Bound, HistogramPlot, Histograms
from llmctl.core.artifacts.html_report import (
    Change,
    Changes,
    Fold,
    Heading,
    KeyFigure,
    KeyFigures,
    Note,
    Page,
    Paragraph,
    Sample,
    Samples,
    Table,
    render,
)

ATTACK = "<script>alert('x')</script>\"' onload=\"evil() &amp; ]]> \x1b[31m\x00 人工智能"


def every_block(text):
    return (
        Heading(text),
        Paragraph(text, is_lead=True),
        Paragraph(text),
        KeyFigures((KeyFigure(text, text, text), KeyFigure(text, text))),
        Table((text, text), ((text, text),), caption=text),
        Table((), ((text, text),), num_text_columns=2),
        BarChart((Bar(text, 1.0, (0.5, 1.5), is_main=True), Bar(text, 2)), text, text),
        LineChart(
            (Series(text, ((1, 2), (2, 1)), has_markers=True), Series(text, ((1, 1), (2, 3)))),
            text,
            text,
            caption=text,
        ),
        HeatMaps((HeatMap(text, (text[:6],) * 2, ((1.0, 0.0), (0.5, 0.5))),), text),
        Samples((Sample(text, text, text, text, "zh"),), title=text, is_story=True),
        Samples((Sample(text, text),), is_monospace=True),
        Note(text),
        Note(text, "warning"),
        PartsBar((Part(text, 3, "main"), Part(text, 1)), caption=text),
        Histograms(
            (HistogramPlot(text, (0, 1), (2,), (Bound(text, 0.5, True),), False, text),), text
        ),
        Changes((Change(text, text, text, text, text, text, "zh"),), text),
        Fold(text, (Paragraph(text), Fold(text, (), text)), text, is_open=True),
    )


def page_of(*blocks, text="a title"):
    return render(Page(text, blocks, text, text, text))


def tree_of(html):
    return ElementTree.fromstring(html.removeprefix("<!DOCTYPE html>\n"))


def test_is_well_formed_and_shows_every_text():
    tree = tree_of(page_of(*every_block("人工智能 & <b>"), text="题目"))

    assert tree.find("head/title").text == "题目"
    body = tree.find("body")
    assert "".join(body.itertext()).count("人工智能 & <b>") >= 20
    assert not list(body.iter("b/b"))


def test_text_stays_text():
    html = page_of(*every_block(ATTACK), text=ATTACK)

    tree = tree_of(html)
    tags = {element.tag for element in tree.iter()}
    assert "script" not in tags
    names = {name for element in tree.iter() for name in element.attrib}
    assert not {name for name in names if name.startswith("on")}
    shown = ATTACK.replace("\x1b", "\\x1b").replace("\x00", "\\x00")
    texts = [text for text in tree.find("body").itertext() if "script" in text]
    assert len(texts) > 20
    assert all(shown in text for text in texts)


def test_needs_nothing_from_outside():
    html = page_of(*every_block("text"))

    assert not re.search(r"https?:|//[a-z]|url\(|@import|@font-face|\ssrc=|\shref=", html)
    assert "default-src &#x27;none&#x27;" in html
    assert {element.tag for element in tree_of(html).find("head")} == {"meta", "title", "style"}


def test_speaks_to_narrow_dark_and_printed_pages():
    html = page_of()

    assert 'name="viewport" content="width=device-width' in html
    for condition in ("prefers-color-scheme: dark", "max-width: 640px", "@media print"):
        assert condition in html


def test_text_keeps_its_lines_and_names_its_language():
    tree = tree_of(page_of(Samples((Sample("step 1", "\n天地\n  玄黄", "人之初", language="zh"),))))

    text = next(element for element in tree.iter("p") if element.get("class") == "text")
    assert text.get("lang") == "zh"
    assert "".join(text.itertext()) == "人之初\n天地\n  玄黄"


def test_a_change_shows_what_nobody_sees():
    change = Change("id", "a", "\u200b\x00\n", "\n ", "b", language="ja")

    [text] = [
        element
        for element in tree_of(page_of(Changes((change,)))).iter("p")
        if element.get("class") == "text"
    ]
    assert text.get("lang") == "ja"
    assert [(part.tag, part.text) for part in text] == [
        ("del", "\\u200b\\x00⏎\n"),
        ("ins", "⏎␣"),
    ]
    assert "".join(text.itertext()) == "a\\u200b\\x00⏎\n⏎␣b"


def test_a_fold_is_closed_unless_told():
    tree = tree_of(
        page_of(Fold("one", (Paragraph("x"),), "3"), Fold("two", (Note("y"),), is_open=True))
    )

    closed, opened = tree.iter("details")
    assert (closed.get("open"), opened.get("open")) == (None, "open")
    assert "".join(closed.find("summary").itertext()) == "one3"
    assert [part.tag for part in opened] == ["summary", "p"]


def test_same_blocks_same_page():
    assert page_of(*every_block("x")) == page_of(*every_block("x"))


def test_a_heading_begins_a_section():
    tree = tree_of(page_of(Paragraph("before"), Heading("one"), Note("1"), Heading("two")))

    assert [len(section) for section in tree.iter("section")] == [1, 2, 1]


def test_numbers_stand_at_the_right():
    tree = tree_of(page_of(Table(("file", "kind", "bytes"), (("a", "b", "1"),), 2)))

    assert [cell.get("class") for cell in tree.find("body").iter("td")] == [None, "number"]


def test_names_break_where_their_words_end():
    html = page_of(Table(("rule", "n"), (("max_words", "a_b"),)))

    assert "max_<wbr/>words" in html
    assert ">a_b</td>" in html


def test_refuses_a_row_that_does_not_fit():
    with pytest.raises(ValueError, match="a row of 1 cells in a table of 2 columns"):
        page_of(Table(("a", "b"), (("1",),)))
