"""What the scores of documents add up to."""

from __future__ import annotations

import math

import pytest

from llmctl.core.scores.documents import (
    Bootstrap,
    DocumentScore,
    figures_by_language,
    figures_of,
)

BIT = math.log(2)
NONE = Bootstrap(0, 1)


def score(bits, tokens, num_bytes, characters, language="en"):
    return DocumentScore(bits * BIT, tokens, num_bytes, characters, language)


def test_by_hand():
    figures = figures_of([score(6, 1, 3, 1, "zh"), score(2, 3, 5, 3)], NONE)

    assert figures["bits_per_byte"] == pytest.approx(1.0)
    assert figures["bits_per_character"] == pytest.approx(2.0)
    assert figures["token_perplexity"] == pytest.approx(4.0)
    assert figures["nats"] == pytest.approx(8 * BIT)
    counts = {name: figures[name] for name in ("documents", "tokens", "bytes", "characters")}
    assert counts == {"documents": 2, "tokens": 4, "bytes": 8, "characters": 4}
    assert figures["bits_per_byte_interval"] is None


def test_empty_documents_are_left_out():
    figures = figures_of([score(2, 1, 2, 2), score(0, 0, 0, 0)], NONE)

    assert (figures["documents"], figures["bits_per_byte"]) == (1, pytest.approx(1.0))


def test_intervals_hold_the_figure():
    scores = [score(2 + index % 7, 3, 4 + index % 3, 4) for index in range(40)]

    figures = figures_of(scores, Bootstrap(200, 1))

    for name in ("bits_per_byte", "bits_per_character", "token_perplexity"):
        low, high = figures[f"{name}_interval"]
        assert low < figures[name] < high


def test_one_document_has_no_interval():
    assert figures_of([score(2, 1, 2, 2)], Bootstrap(10, 1))["bits_per_byte_interval"] is None


def test_refuses_no_text():
    with pytest.raises(ValueError, match="stands for any text"):
        figures_of([score(0, 0, 0, 0)], NONE)


def test_by_language():
    scores = [score(6, 1, 3, 1, "zh"), score(1, 1, 2, 2), score(1, 1, 1, 1, "und")]

    found = figures_by_language(scores, NONE)

    assert list(found) == ["en", "und", "zh"]
    assert found["zh"]["bits_per_byte"] == pytest.approx(2.0)


def test_one_language_is_not_taken_apart():
    assert figures_by_language([score(1, 1, 1, 1), score(1, 1, 1, 1, "und")], NONE) == {}
