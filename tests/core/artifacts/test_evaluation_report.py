"""An evaluation's pages: what they say of which figures, and what is left out where it is not."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from llmctl.core.artifacts.evaluation_report import (
    Training,
    evaluation_markdown,
    evaluation_page,
    verdict,
)
from llmctl.core.artifacts.html_charts import BarChart, LineChart
from llmctl.core.artifacts.html_report import Heading, Note, Samples, Table, render

SCORED = {
    "bits_per_byte": 2.0,
    "bits_per_byte_interval": (1.9, 2.1),
    "bits_per_character": 4.0,
    "bits_per_character_interval": (3.8, 4.2),
    "token_perplexity": 25.0,
    "token_perplexity_interval": (24.0, 26.0),
    "documents": 120,
    "tokens": 3000,
    "bytes": 12_000,
}
XZ = {"xz_bits_per_byte": 3.0, "xz_primed_bits_per_byte": 2.5}
MADE = {
    name: f"{name} text"
    for name in (
        *("unit", "scored", "window", "prefix", "interval", "compression"),
        *("dtype", "device", "model", "llmctl"),
    )
}
METRICS = [
    *(
        {"step": step, "tokens": step * 100, "seconds": step * 0.5, "loss": 9.0 - step}
        | {"learning_rate": 0.01}
        for step in range(1, 5)
    ),
    {"step": 4, "validation_loss": 5.5, "validation_bits_per_byte": 2.2},
]
WRITTEN = [
    {"step": step, "prompt": prompt, "text": f"{prompt} {step}", "language": "zh"}
    for step in (2, 4)
    for prompt in ("春风", "The world")
]
SAMPLES = [
    {"kind": kind, "document": 7, "bits_per_byte": 3.5, "bytes": 900, "language": "zh"}
    | {"text": f"{kind} 天地玄黄", "is_cut": kind == "hardest"}
    for kind in ("hardest", "easiest")
]


def report(**changes):
    return {
        "name": "双语",
        "model": {"parameters": 1_234_567, "vocab_size": 4096, "context_tokens": 256},
        "validation": {**SCORED, **XZ},
        "languages": {},
        "data": [],
        "made": MADE,
        **changes,
    }


def blocks(kind, page):
    return [block for block in page.blocks if isinstance(block, kind)]


@pytest.mark.parametrize(
    ("rival", "words"),
    [
        pytest.param(2.5, "20\u00a0% less than the 2.500", id="better"),
        pytest.param(1.6, "25\u00a0% more than the 1.600", id="worse"),
        pytest.param(2.001, "as much as the 2.001", id="alike"),
        pytest.param(0.8, "2.5 times the 0.800", id="far worse"),
    ],
)
def test_verdict_compares_with_the_primed_compressor(rival, words):
    text = verdict({"bits_per_byte": 2.0, "xz_primed_bits_per_byte": rival})

    assert f"{words} that xz -9 needs" in text


def test_verdict_without_a_compressor():
    assert "2.000 bits for a byte" in verdict(SCORED)
    assert "25\u00a0% of the text's plain size" in verdict(SCORED)


def test_page_tells_the_whole_story():
    page = evaluation_page(report(), SAMPLES, Training(METRICS, WRITTEN))

    headings = [block.text for block in blocks(Heading, page)]
    assert headings == [
        "Against a compressor",
        "How it learned",
        "What it wrote on the way",
        "Hardest to predict",
        "Easiest to predict",
        "How this was made",
    ]
    (bars,) = blocks(BarChart, page)
    assert [bar.value for bar in bars.bars] == [2.0, 2.5, 3.0]
    losses, rates = blocks(LineChart, page)
    assert losses.series[0].points == ((1, 8), (2, 7), (3, 6), (4, 5))
    assert losses.series[1].points == ((4, 5.5),)
    assert [y for _, y in rates.series[0].points] == [0.01] * 4
    stories = [block for block in blocks(Samples, page) if block.is_story]
    assert [[sample.label for sample in story.samples] for story in stories] == [
        ["step 2", "step 4"],
        ["step 2", "step 4"],
    ]
    assert [story.samples[0].prompt for story in stories] == ["春风", "The world"]


def test_page_can_be_drawn_and_keeps_its_chinese():
    html = render(evaluation_page(report(), SAMPLES, Training(METRICS, WRITTEN)))

    tree = ElementTree.fromstring(html.removeprefix("<!DOCTYPE html>\n"))
    text = "".join(tree.find("body").itertext())
    for words in ("双语", "hardest 天地玄黄…", "easiest 天地玄黄", "春风 4", "1,234,567", "2.000"):
        assert words in text
    assert "easiest 天地玄黄…" not in text
    for name in MADE:
        assert f"{name} text" in text


def test_page_of_a_bare_model():
    page = evaluation_page(report(validation=SCORED), [], Training())

    assert [block.text for block in blocks(Heading, page)] == ["How this was made"]
    assert not blocks(Note, page)
    render(page)


def test_few_documents_are_said_to_be_few():
    scored = {**SCORED, "documents": 3, "bits_per_byte_interval": None}

    (note,) = blocks(Note, evaluation_page(report(validation=scored), [], Training()))

    assert note.text.startswith("Only 3 documents")


def test_files_and_languages_stand_in_one_table():
    page = evaluation_page(
        report(languages={"en": SCORED, "zh": SCORED}, data=[{"path": "书.txt", **SCORED}]),
        [],
        Training(),
    )

    table = blocks(Table, page)[0]
    assert [row[0] for row in table.rows] == [
        "validation split",
        "of it English",
        "of it Chinese",
        "书.txt",
    ]
    assert table.rows[3][1:] == ("2.000", "1.900 – 2.100", "25.00", "120", "12,000")


def test_markdown_states_every_figure():
    text = evaluation_markdown(report(data=[{"path": "a_b.txt", **SCORED}]))

    assert text.startswith("# 双语\n")
    assert "| bits per byte | 2.000 | 95 %: 1.900 – 2.100 |" in text
    assert "| xz -9 alone | 3.000 | bits per byte |" in text
    assert "| a\\_b.txt | 2.000 | 1.900 – 2.100 | 25.00 | 120 | 12,000 |" in text
    assert "| unit | unit text |" in text


def test_markdown_leaves_out_what_was_not_measured():
    text = evaluation_markdown(report(validation=SCORED, made={**MADE, "compression": ""}))

    assert "xz" not in text
    assert "## Texts" not in text
