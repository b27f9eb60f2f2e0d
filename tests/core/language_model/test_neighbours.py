"""Neighbours in an embedding that was made by hand."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from llmctl.core.errors import UsageError
from llmctl.core.language_model import neighbours
from llmctl.core.language_model.neighbours import neighbourhoods

ENTRIES = ["n", "e", " n", "w", "s", "ne"]
ROWS = [(0.0, 2.0), (1.0, 0.0), (0.0, 9.0), (-1.0, 0.0), (0.0, -1.0), (3.0, 4.0)]
BEYOND = (0.0, 1.0)  # a row of the embedding for which the tokenizer has no entry


def made(encodings):
    """A model of which only the embedding counts, in bfloat16, which holds these numbers."""
    tokenizer = SimpleNamespace(
        encode=lambda text: encodings[text],
        piece=lambda token_id: ENTRIES[token_id],
        vocab_size=len(ENTRIES),
    )
    weight = torch.tensor([*ROWS, BEYOND], dtype=torch.bfloat16)
    model = SimpleNamespace(embedding=SimpleNamespace(weight=weight))
    return SimpleNamespace(model=model, tokenizer=tokenizer)


@pytest.mark.parametrize("chunk", [2, 100])
def test_neighbours_by_hand(chunk, monkeypatch):
    monkeypatch.setattr(neighbours, "CHUNK_ENTRIES", chunk)

    alone, spaced = neighbourhoods(made({"n": [0], " n": [2]}), "n", 3)

    assert (alone.word, alone.token_ids, alone.is_mean) == ("n", [0], False)
    assert [near.piece for near in alone.neighbours[:2]] == [" n", "ne"]
    cosines = [near.cosine for near in alone.neighbours]
    assert cosines == pytest.approx([1.0, 0.8, 0.0], abs=1e-6)
    assert (spaced.word, spaced.neighbours[0].piece) == (" n", "n")


def test_of_several_tokens_the_mean():
    (found,) = neighbourhoods(made({"xy": [0, 1], " xy": [0, 1, 3]}), "xy", 10)

    assert found.is_mean
    assert found.pieces == ["n", "e"]
    # The mean is (0.5, 1): its cosine with (3, 4) is 5.5 / (5 √1.25).
    assert found.neighbours[0].piece == "ne"
    assert found.neighbours[0].cosine == pytest.approx(5.5 / (5 * 1.25**0.5), abs=1e-6)
    assert len(found.neighbours) == len(ENTRIES) - 2  # all but its own tokens


def test_a_space_that_makes_no_difference_or_more_tokens_is_left_out():
    assert len(neighbourhoods(made({"n": [0], " n": [0]}), "n", 1)) == 1
    assert len(neighbourhoods(made({"n": [0], " n": [3, 0]}), "n", 1)) == 1


def test_refuses_an_empty_word():
    with pytest.raises(UsageError, match="the word is empty"):
        neighbourhoods(made({"": []}), "", 3)
