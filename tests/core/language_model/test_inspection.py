"""Inspection: figures by hand from a table of probabilities, then against a real model."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch

from llmctl.core.errors import DataError, NumericsError, UsageError
from llmctl.core.language_model import inspection
from llmctl.core.language_model.generation_config import GenerationConfig
from llmctl.core.language_model.inspection import (
    attention_map,
    inspect_text,
    layer_and_head,
)
from llmctl.core.recipe import GeneratePlan

BIT = math.log(2)
LETTERS = "^abc"  # ^ begins a text
AFTER = {  # the probabilities of ^, a, b and c after each
    "^": (1 / 8, 1 / 2, 1 / 4, 1 / 8),
    "a": (1 / 4, 1 / 4, 1 / 4, 1 / 4),
    "b": (1 / 2, 1 / 4, 1 / 8, 1 / 8),
    "c": (1 / 2, 1 / 4, 1 / 8, 1 / 8),
}
CONTEXT = 6


def table_model(begin_id=0):
    """A language model that looks at one letter and knows what comes next from the table."""
    table_VV = torch.tensor([AFTER[letter] for letter in LETTERS]).log()
    model = SimpleNamespace(
        context_tokens=CONTEXT,
        hidden=lambda tokens_BT: torch.nn.functional.one_hot(tokens_BT, len(LETTERS)).float(),
        # A one-hot state times minus infinity would not be a number; the table has none.
        logits=lambda states: states @ table_VV + 3.0,
    )
    tokenizer = SimpleNamespace(
        encode=lambda text: [LETTERS.index(letter) for letter in text],
        piece=lambda token_id: LETTERS[token_id],
        token_bytes=lambda token_id: LETTERS[token_id].encode(),
    )
    return SimpleNamespace(
        model=model, tokenizer=tokenizer, generation=GenerationConfig(begin_id), device="cpu"
    )


def test_figures_by_hand():
    found = inspect_text(table_model(), "abc")

    assert found.begin == "^"
    assert [token.token_id for token in found.tokens] == [1, 2, 3]
    bits = [token.log_probability / -BIT for token in found.tokens]
    assert bits == pytest.approx([1, 2, 3])
    assert [token.rank for token in found.tokens] == [1, 1, 3]  # equals share the better rank
    entropies = [token.entropy / BIT for token in found.tokens]
    assert entropies == pytest.approx([1.75, 2.0, 1.75])
    assert [token.running_sum / -BIT for token in found.tokens] == pytest.approx([1, 3, 6])
    assert found.log_probability / -BIT == pytest.approx(6)
    assert found.perplexity == pytest.approx(4)  # 2 bits a token
    assert found.bits_per_byte == pytest.approx(2)
    assert [token.probability for token in found.tokens] == pytest.approx([1 / 2, 1 / 4, 1 / 8])


def test_a_first_token_that_nothing_predicts_has_no_probability():
    found = inspect_text(table_model(begin_id=None), "bab")

    first, *rest = found.tokens
    assert found.begin is None
    assert (first.log_probability, first.rank, first.entropy, first.probability) == (None,) * 4
    assert [token.log_probability / -BIT for token in rest] == pytest.approx([2, 2])
    assert (found.num_predicted, found.num_bytes) == (2, 2)
    assert found.perplexity == pytest.approx(4)
    assert found.bits_per_byte == pytest.approx(2)


def test_a_lone_token_that_nothing_predicts_has_no_perplexity():
    found = inspect_text(table_model(begin_id=None), "a")

    assert (found.log_probability, found.perplexity, found.bits_per_byte) == (0.0, None, None)


def test_candidates_by_hand():
    plan = GeneratePlan(temperature=1.0, top_k=2, top_p=None)

    found = inspect_text(table_model(), "a", plan=plan, num_candidates=3)

    after_begin, after_a = found.candidates
    assert [(token.piece, token.before, token.cut_by) for token in after_begin] == [
        ("a", pytest.approx(1 / 2), None),
        ("b", pytest.approx(1 / 4), None),
        (after_begin[2].piece, pytest.approx(1 / 8), "top_k"),
    ]
    assert [token.after for token in after_begin] == pytest.approx([2 / 3, 1 / 3, 0])
    assert [token.cut_by for token in after_a] == [None] * 3  # all equal: none can be cut
    assert "candidates" not in inspect_text(table_model(), "a").record()
    assert len(found.record()["candidates"]) == 2


def test_candidates_know_all_that_was_read(monkeypatch):
    monkeypatch.setattr(inspection, "CHUNK_TARGETS", 2)
    plan = GeneratePlan(temperature=1.0, top_p=None, no_repeat_ngram=2)

    found = inspect_text(table_model(), "abab", plan=plan, num_candidates=4)

    cuts = [{token.piece: token.cut_by for token in step} for step in found.candidates]
    assert set(cuts[2].values()) == {None}
    assert cuts[3]["b"] == cuts[4]["a"] == "no_repeat_ngram"
    assert cuts[4]["b"] is None


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        pytest.param("", UsageError, "the text is empty", id="empty"),
        pytest.param(
            "abcabc",
            DataError,
            "the text has 6 tokens, and the model's context holds 5 after the one that begins",
            id="too long",
        ),
    ],
)
def test_refuses_texts(text, error, message):
    with pytest.raises(error, match=message):
        inspect_text(table_model(), text)


def test_a_text_may_fill_the_context():
    assert len(inspect_text(table_model(), "abcab").tokens) == CONTEXT - 1
    assert len(inspect_text(table_model(begin_id=None), "abcabc").tokens) == CONTEXT


def test_refuses_logits_that_are_no_numbers():
    broken = table_model()
    broken.model.logits = lambda states: states @ torch.full((4, 4), math.nan)

    with pytest.raises(NumericsError, match="logits are not finite"):
        inspect_text(broken, "a")


# ------------------------------------------------------------------ a real model

TEXT = "The world 世界 is."


@pytest.fixture
def ids(language_model):
    return [language_model.generation.begin_id, *language_model.tokenizer.encode(TEXT)]


@pytest.mark.parametrize("chunk", [3, 128])
def test_agrees_with_a_direct_log_softmax(language_model, ids, chunk, monkeypatch):
    monkeypatch.setattr(inspection, "CHUNK_TARGETS", chunk)

    found = inspect_text(language_model, TEXT, num_candidates=2)

    with torch.no_grad():
        direct_TV = language_model.model(torch.tensor([ids]))[0].double().log_softmax(-1)
    assert len(found.candidates) == len(ids)
    for place, token in enumerate(found.tokens):
        row_V = direct_TV[place]
        assert token.token_id == ids[place + 1]
        assert token.log_probability == pytest.approx(float(row_V[token.token_id]), abs=1e-5)
        order = row_V.argsort(descending=True).tolist()
        assert order[token.rank - 1] == token.token_id
        assert token.entropy == pytest.approx(-float((row_V.exp() * row_V).sum()), abs=1e-5)
    for place, step in enumerate(found.candidates):
        assert step[0].token_id == int(direct_TV[place].argmax())


def test_agrees_with_the_score_of_the_text(language_model):
    found = inspect_text(language_model, TEXT)

    (score,) = language_model.score([TEXT])
    assert found.log_probability == pytest.approx(-score.total_nats, abs=1e-4)
    assert found.bits_per_byte == pytest.approx(score.bits_per_byte, abs=1e-5)


def test_a_longer_text_begins_with_the_figures_of_its_beginning(language_model):
    whole = inspect_text(language_model, TEXT).tokens
    part = inspect_text(language_model, "The world").tokens

    for ours, theirs in zip(part, whole, strict=False):
        assert ours.running_sum == pytest.approx(theirs.running_sum, abs=1e-4)


def test_attention_is_that_of_the_trace(language_model, ids):
    found = attention_map(language_model, TEXT, 1)
    one = attention_map(language_model, TEXT, 1, 2)

    trace = language_model.model.trace(torch.tensor([ids]))
    torch.testing.assert_close(torch.from_numpy(found.weights_HTT), trace.attentions[1][0])
    assert found.heads == [0, 1, 2, 3]
    assert found.pieces[:3] == ["<|endoftext|>", "The", " world"]
    assert found.weights_HTT.sum(axis=-1) == pytest.approx(1.0, abs=1e-5)
    assert (one.heads, one.weights_HTT.tolist()) == ([2], found.weights_HTT[2:3].tolist())
    assert one.record()["heads"][0]["weights"][0][0] == 1.0


@pytest.mark.parametrize(
    ("layer", "head", "message"),
    [
        pytest.param(2, None, "no layer 2; the model has the layers 0 to 1", id="layer"),
        pytest.param(0, 4, "no head 4; the model has the heads 0 to 3", id="head"),
    ],
)
def test_refuses_what_the_model_has_not(language_model, layer, head, message):
    with pytest.raises(UsageError, match=message):
        attention_map(language_model, TEXT, layer, head)


def test_refuses_a_map_that_nobody_can_read(language_model, monkeypatch):
    monkeypatch.setattr(inspection, "MAX_ATTENTION_TOKENS", 5)

    with pytest.raises(DataError, match="a map of attention holds 5"):
        attention_map(language_model, TEXT, 0)


@pytest.mark.parametrize(("choice", "expected"), [("3", (3, None)), ("0.11", (0, 11))])
def test_layer_and_head_by_hand(choice, expected):
    assert layer_and_head(choice) == expected


@pytest.mark.parametrize("choice", ["", "3.", "-1", "1.2.3", "last", "1,2"])
def test_refuses_other_choices(choice):
    with pytest.raises(UsageError, match="expected LAYER or LAYER"):
        layer_and_head(choice)
