"""A corpus's report: three files that say the same, escaped, and never without a warning."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from llmctl.core.artifacts import corpus_report
from llmctl.core.artifacts.corpus_page import corpus_page
from llmctl.core.artifacts.corpus_report import (
    CorpusOrigin,
    corpus_figures,
    corpus_markdown,
    write_corpus_report,
)
from llmctl.core.artifacts.corpus_sentences import shown_value
from llmctl.core.artifacts.corpus_tally import CorpusTally
from llmctl.core.artifacts.documents import Document, Unreadable
from llmctl.core.artifacts.html_report import render
from llmctl.core.clean_plan import CleanPlan, QualityRules

ATTACK = "<script>alert(1)</script> \x1b[31m | 春眠不觉晓"


def document(number, language="zh", source="源.txt", text="文 text"):
    return Document(f"id{number}", source, language, f"{text} {number}")


def small_tally():
    tally = CorpusTally()
    tally.keep(document(1))
    for number in range(5):
        tally.drop(document(number, "en", text="short"), "min_characters", 5, 20)
    tally.fail("源.txt", Unreadable("源.txt:9", "not JSON"))
    tally.fail("b|c.txt", Unreadable("b|c.txt", "cut off"))
    return tally


def full_tally(text="text"):
    tally = CorpusTally()
    rules = QualityRules(min_words=50, max_repeated_line_share=0.3)
    for number in range(30):
        tally.measured(
            "zh", {"min_words": number * 5, "max_repeated_line_share": number % 2 / 9}, rules
        )
        tally.drop(document(number, source=text, text=text), "min_words", number, 50, more=text)
    for rule in range(20):
        tally.drop(document(rule, "ja", text=text), f"rule_{rule}", 0.25, True)
    tally.drop(document(1, "und", text=text), "near_duplicate", 0.9, 0.8, duplicate_of=text)
    tally.keep(document(1, text=text), times=2)
    tally.changed("repair", text, f"{text} abcd", f"{text} b", language="zh")
    tally.cluster(text, 2)
    tally.cluster(text, 2000)
    tally.hits(text, text, text)
    tally.private("email", "zh", text, 3)
    tally.fail(text, Unreadable(text, text))
    return tally


def figures_of(tally, **plan):
    return corpus_figures(tally, CorpusOrigin(CleanPlan(**plan)))


def tree_of(figures):
    page = render(corpus_page(figures))
    return ElementTree.fromstring(page.removeprefix("<!DOCTYPE html>\n"))


def text_of(figures):
    return " ".join(tree_of(figures).find("body").itertext())


def test_three_files(tmp_path):
    write_corpus_report(tmp_path, small_tally(), CorpusOrigin(CleanPlan()))

    found = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert found["documents"] == 8
    assert (found["kept"], found["dropped"], found["unreadable"]) == (1, {"min_characters": 5}, 2)
    assert found["languages"]["zh"]["kept_characters"] == len("文 text 1")
    assert found["languages"]["en"]["dropped"] == {"min_characters": 5}
    assert found["sources"]["源.txt"]["documents"] == 7
    assert found["sources"]["源.txt"]["languages"]["zh"]["kept"] == 1
    assert list(found["sources"]["b|c.txt"]["languages"]) == []
    assert found["unreadable_places"][1] == {"place": "源.txt:9", "reason": "not JSON"}
    assert len(found["samples_of_dropped"]["min_characters"]) == 5
    assert found["samples_of_dropped"]["min_characters"][0]["language"] == "en"
    page = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "8 documents in = 1 kept + 5 dropped + 2 unreadable." in page
    assert "| b\\|c.txt | 1 | 0 | 0 | 1 | 0 |" in page
    assert "| min_characters | 5 | 62.5\u00a0% | 35 |" in page
    assert "- 源.txt:9: not JSON" in page
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "8 documents in = 1 kept + 5 dropped + 2 unreadable." in html


def test_same_tally_same_bytes(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        write_corpus_report(tmp_path / name, full_tally(), CorpusOrigin(CleanPlan()))

    for name in ("report.json", "report.md", "report.html"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_every_section_stands_in_the_page():
    figures = figures_of(full_tally())

    tree = tree_of(figures)
    assert [heading.text for heading in tree.iter("h2")] == [
        "What dropped documents",
        "Languages",
        "Sources",
        "Samples of what was dropped",
        "What was measured",
        "Before and after",
        "Duplicates",
        "Personal data and secrets",
        "Evaluation data found",
        "Unreadable",
        "How this was made",
    ]
    text = text_of(figures)
    assert "characters cut out" in text
    assert "10 more rules" in text  # of 22
    assert "min_words" in text


def test_text_stays_text():
    figures = figures_of(full_tally(ATTACK))

    tree = tree_of(figures)
    assert "script" not in {element.tag for element in tree.iter()}
    texts = [text for text in tree.find("body").itertext() if "alert" in text]
    assert len(texts) > 10
    assert all("<script>" in text and "\\x1b" in text for text in texts)
    markdown = corpus_markdown(figures)
    assert "<script>" not in markdown.replace("\\<script\\>", "")


def test_a_warning_stands_at_the_top():
    tally = full_tally()
    for number in range(40):
        tally.drop(document(number, "en", f"s{number % 2}"), "min_words", 1, 50)

    figures = figures_of(tally)
    notes = [part for part in tree_of(figures).iter("p") if part.get("class") == "warning"]

    assert len(notes) == 1
    assert notes[0].text.startswith("min_words dropped 70 of 93 documents in all (75.3\u00a0%), ")
    assert "40 of 40 documents in English (100\u00a0%)" in notes[0].text
    assert ", and more than half of 3 more. " in notes[0].text
    assert "> **Warning:** min_words dropped 70 of 93 documents" in corpus_markdown(figures)
    allowed = CorpusOrigin(CleanPlan(), meant=frozenset({"min_words"}))
    assert corpus_figures(tally, allowed)["warnings"] == []


def test_a_sample_says_so():
    origin = CorpusOrigin(CleanPlan(sample=100), sampled_from=2500)

    figures = corpus_figures(small_tally(), origin)

    assert figures["sample"] == {"documents": 100, "drawn_from": 2500}
    for page in (text_of(figures), corpus_markdown(figures)):
        assert "This corpus is a sample: 100 documents of 2,500." in page
    unknown = figures_of(small_tally(), sample=100)
    assert "100 documents, drawn from all." in text_of(unknown)
    assert "a sample" not in text_of(figures_of(small_tally()))


def test_the_largest_sources_are_listed_and_the_rest_summed(monkeypatch):
    monkeypatch.setattr(corpus_report, "MAX_SOURCES_LISTED", 25)
    tally = CorpusTally()
    for number in range(40):
        for again in range(1 + number % 8):
            tally.keep(document(again, source=f"s{number:02}"))

    figures = figures_of(tally)

    assert len(figures["sources"]) == 25
    assert figures["num_sources"] == 40
    assert figures["other_sources"]["sources"] == 15
    listed = sum(counts["documents"] for counts in figures["sources"].values())
    assert listed + figures["other_sources"]["documents"] == figures["documents"] == tally.all.total
    assert "… and 20 more in report.json" in corpus_markdown(figures)
    assert "The largest of 40; more in report.json." in text_of(figures)


def test_samples_of_every_language_come_first():
    tally = CorpusTally()
    for number in range(30):
        tally.drop(document(number, "en"), "x", 1, 2)
    tally.drop(document(1, "zh"), "x", 1, 2)

    samples = [part for part in tree_of(figures_of(tally)).iter("p") if part.get("lang")]

    assert [part.get("lang") for part in samples][:2] == ["en", "zh"]
    assert len(samples) == 6


def test_an_empty_corpus_has_a_page():
    figures = figures_of(CorpusTally())

    assert "0 documents in = 0 kept" in text_of(figures)
    assert corpus_markdown(figures).startswith("# Corpus\n")


@pytest.mark.parametrize(
    ("value", "text"),
    [(12, "12"), (12.0, "12"), (0.2574, "0.2574"), (True, "true"), (1e5, "100,000"), ("x", '"x"')],
)
def test_values_as_they_are_read(value, text):
    assert shown_value(value) == text
