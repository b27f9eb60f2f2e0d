"""The report of shards: every figure in JSON, the same in Markdown and on the page."""

import json

import pytest

from llmctl.core.artifacts.shards_facts import (
    ComparedTokenizer,
    CurvePoint,
    Leaks,
    LeakSample,
    LengthFacts,
    MixRow,
    ShardsFacts,
    SpecialToken,
    SplitFacts,
    TextCounts,
    TokenEntry,
    TokenizerTraining,
    TokenKind,
    TrainingText,
    VocabularyFacts,
)
from llmctl.core.artifacts.shards_report import MAX_SOURCES, write_shards_report

ENGLISH = TextCounts(2, 40, 40, 10)
CHINESE = TextCounts(1, 30, 10, 5, 1, 8, 4.0)
LENGTHS = LengthFacts(3, 15, 2, 8, {0.1: 2, 0.5: 5, 0.9: 8, 0.99: 8}, [1, 4, 16], [1, 2])
WORLD = TokenEntry(300, "世界", 6, 3)
VOCABULARY = VocabularyFacts(
    301, 301, 20, [TokenEntry(7, "<0xE4>", 1, 0)], [TokenKind("Han", 1, 0, 3)], [WORLD], [WORLD],
    [WORLD],
)  # fmt: skip
LEAST = ShardsFacts("bpe, llmctl", TextCounts(3, 70, 50, 15, 1, 8, 4.0), {}, {}, VOCABULARY)
WHOLE = ShardsFacts(
    "bpe, llmctl",
    TextCounts(3, 70, 50, 15, 1, 8, 4.0),
    {"en": ENGLISH, "zh": CHINESE},
    {"诗.txt": CHINESE, "a|b.txt": ENGLISH},
    VOCABULARY,
    lengths={"en": LENGTHS, "zh": LENGTHS},
    all_lengths=LENGTHS,
    splits={"train": SplitFacts(2, 13), "validation": SplitFacts(1, 5)},
    curve=[CurvePoint(257, {"en": 1.0, "zh": 1.0}), CurvePoint(301, {"en": 4.0, "zh": 6.0})],
    comparison=[
        ComparedTokenizer("this one", 301, {"en": ENGLISH, "zh": CHINESE}),
        ComparedTokenizer("gpt2", 50257, {"en": ENGLISH}),
    ],
    mix=[MixRow("散文", "诗.txt", 1, 6, 2.5, 15, 0.3)],
    leaks=[
        Leaks("validation", 1, 0),
        Leaks("test.jsonl", 9, 2, [LeakSample("d1", "诗.txt", "test.jsonl:3", 0.75)]),
    ],
    training=TokenizerTraining("bpe", "llmctl", 2, {"zh": TrainingText(1, 30)}),
    special_tokens=[SpecialToken(0, "<|endoftext|>", 3), SpecialToken(1, "<|x|>")],
    warnings=["<b>看</b> | here"],
)


@pytest.fixture(params=[LEAST, WHOLE], ids=["least", "whole"])
def written(request, tmp_path):
    write_shards_report(tmp_path, request.param)
    return request.param, tmp_path


def test_nothing_is_in_it_that_there_is_nothing_of(tmp_path):
    write_shards_report(tmp_path, LEAST)

    figures = json.loads((tmp_path / "report.json").read_bytes())
    optional = {"warnings", "splits", "document_tokens", "vocabulary_curve", "comparison", "mix"}
    optional |= {"leaks", "training", "special_tokens"}
    assert not optional & figures.keys()


def test_figures_are_worked_by_hand(tmp_path):
    write_shards_report(tmp_path, WHOLE)

    figures = json.loads((tmp_path / "report.json").read_bytes())
    assert figures["languages"]["en"]["bytes_per_token"] == 4.0
    assert "tokens_per_han_character" not in figures["languages"]["en"]
    chinese = figures["languages"]["zh"]
    assert chinese["tokens_per_han_character"] == 0.5
    assert chinese["characters_per_token"] == 2.0
    assert chinese["single_byte_share"] == 0.2
    assert figures["sources"]["诗.txt"] == chinese
    assert figures["vocabulary"]["longest"][0]["text"] == "世界"
    assert figures["splits"]["validation"] == {"documents": 1, "tokens": 5}
    assert figures["document_tokens"]["all"]["quantiles"]["0.5"] == 5
    assert figures["leaks"][1]["samples"][0]["share"] == 0.75


def test_both_pages_say_what_was_found(tmp_path):
    write_shards_report(tmp_path, WHOLE)

    markdown = (tmp_path / "report.md").read_text(encoding="utf-8")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    for text in (markdown, page):
        assert "3 documents became 15 tokens of a vocabulary of 301 entries" in text
        assert "世界" in text
        assert "诗.txt" in text
        assert "2 of 9 items of test.jsonl" in text
        assert "Size of the vocabulary" in text
        assert "Beside other tokenizers" in text
        assert "散文" in text
    assert "<b>看</b>" not in page
    assert "&lt;b&gt;看" in page
    assert r"a\|b.txt" in markdown


def test_the_bytes_are_the_same_each_time(written, tmp_path):
    facts, folder = written
    before = [(folder / f"report.{kind}").read_bytes() for kind in ("json", "md", "html")]

    write_shards_report(folder, facts)

    assert [(folder / f"report.{kind}").read_bytes() for kind in ("json", "md", "html")] == before


def test_many_sources_are_summed_up(tmp_path):
    sources = {f"s{number:03d}": TextCounts(1, 2, 2, number + 1) for number in range(80)}
    facts = ShardsFacts("x", TextCounts(80, 160, 160, 3240), {}, sources, VOCABULARY)

    write_shards_report(tmp_path, facts)

    figures = json.loads((tmp_path / "report.json").read_bytes())
    assert figures["num_sources"] == 80
    rest = sum(number + 1 for number in range(80 - MAX_SOURCES))
    assert len(figures["sources"]) == MAX_SOURCES
    assert figures["other_sources"]["tokens"] == rest
