"""Vectors: pooled states by a direct loop, alone as in a batch, refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from llmctl.core.errors import DataError, NumericsError, UsageError
from llmctl.core.language_model import embedding
from llmctl.core.language_model.embedding import Embedder, VectorPlan
from llmctl.core.progress import Progress

TEXTS = ["The world is all that is the case.", "世界", "a", "Naïve café — 你好, world!", "b"]
RAW = VectorPlan(normalize=False)


def states(language_model, text, layer):
    """The states of a text's own tokens, without what begins it."""
    ids = [language_model.generation.begin_id, *language_model.tokenizer.encode(text)]
    return language_model.model.trace(torch.tensor([ids])).states[layer][0, 1:]


@pytest.mark.parametrize(
    ("pooling", "direct"),
    [
        pytest.param("mean", lambda states_TD: states_TD.mean(dim=0), id="mean"),
        pytest.param("last", lambda states_TD: states_TD[-1], id="last"),
        pytest.param("first", lambda states_TD: states_TD[0], id="first"),
    ],
)
@pytest.mark.parametrize("layer", [None, 0, 1, 2])
def test_pools_the_states_of_the_texts_tokens(language_model, pooling, direct, layer):
    plan = VectorPlan(pooling, layer, normalize=False)

    found = language_model.embedder(plan).embed(TEXTS)

    assert (found.shape, found.dtype) == ((len(TEXTS), 32), np.float32)
    for text, vector_D in zip(TEXTS, found, strict=True):
        expected_D = direct(states(language_model, text, 2 if layer is None else layer))
        assert vector_D == pytest.approx(expected_D.numpy(), abs=1e-5)


@pytest.mark.parametrize("batch_tokens", [1, 40, 4096])
def test_a_vector_does_not_depend_on_its_batch(language_model, batch_tokens, monkeypatch):
    monkeypatch.setattr(embedding, "BATCH_TOKENS", batch_tokens)
    embedder = language_model.embedder(RAW)

    together = embedder.embed(TEXTS)

    for text, vector_D in zip(TEXTS, together, strict=True):
        assert vector_D == pytest.approx(embedder.embed([text])[0], abs=2e-6)


def test_normalized_vectors_have_length_1_and_the_same_direction(language_model):
    raw = language_model.embedder(RAW).embed(TEXTS)

    unit = language_model.embedder(VectorPlan()).embed(TEXTS)

    assert np.linalg.norm(unit, axis=1) == pytest.approx(1.0, abs=1e-6)
    assert unit * np.linalg.norm(raw, axis=1, keepdims=True) == pytest.approx(raw, abs=1e-5)


def test_without_a_token_that_begins_a_text_the_text_is_all_that_is_read(language_model):
    model, tokenizer = language_model.model, language_model.tokenizer

    found = Embedder(model, tokenizer, None, RAW).embed(["The world"])[0]

    ids = torch.tensor([tokenizer.encode("The world")])
    assert found == pytest.approx(model.trace(ids).states[-1][0].mean(dim=0).numpy(), abs=1e-5)


def test_truncates_when_asked(language_model):
    long = "a" * 100  # more tokens than the context's 48
    ids = language_model.tokenizer.encode(long)
    embedder = language_model.embedder(VectorPlan(normalize=False, truncate=True))
    kept = language_model.tokenizer.decode(ids[:47])  # and the one that begins the text

    expected_D = states(language_model, kept, 2).mean(dim=0)
    assert embedder.embed([long])[0] == pytest.approx(expected_D.numpy(), abs=1e-5)


def test_counts_the_texts_of_each_batch(language_model, monkeypatch):
    monkeypatch.setattr(embedding, "BATCH_TOKENS", 1)
    counted = []
    progress = Progress()
    progress.advance = lambda amount=1, **_: counted.append(amount)

    language_model.embedder(RAW).embed(TEXTS, progress=progress)

    assert counted == [1] * len(TEXTS)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        pytest.param(["a", ""], "text 2: empty", id="empty"),
        pytest.param(["a" * 100], "text 1: .* the model's context holds 47", id="too long"),
    ],
)
def test_refuses_texts(language_model, texts, message):
    with pytest.raises(DataError, match=message):
        language_model.embedder(RAW).embed(texts)


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        pytest.param(VectorPlan("max"), "--pooling max: expected mean, last or first", id="word"),
        pytest.param(VectorPlan(layer=3), "--layer 3: expected 0, .* to 2, the last", id="layer"),
        pytest.param(VectorPlan(layer=-1), "--layer -1", id="negative layer"),
    ],
)
def test_refuses_plans(language_model, plan, message):
    with pytest.raises(UsageError, match=message):
        language_model.embedder(plan)


def test_refuses_states_that_are_no_numbers(make_model, language_model):
    model = make_model(seed=5)
    with torch.no_grad():
        model.embedding.weight.fill_(float("nan"))

    with pytest.raises(NumericsError, match="states are not finite"):
        Embedder(model, language_model.tokenizer, 0, RAW).embed(["a"])
