"""Byte pair encoding: two merges worked by hand, then what its docstring promises."""

from __future__ import annotations

import json

import pytest

from llmctl.core.tokens.bpe import END_OF_TEXT, train_bpe


def learnt(texts, vocab_size=300, min_frequency=2):
    """The merges in order, and the whole as JSON."""
    state = json.loads(train_bpe(texts, vocab_size, min_frequency).to_str())
    return [tuple(merge) for merge in state["model"]["merges"]], state


# The pieces are "abab" and " abab". The pair a b stands there four times, b a twice; merged,
# ab ab twice; merged again, nothing is left twice. "Ġ" stands for the blank.
@pytest.mark.parametrize(
    ("min_frequency", "merges"),
    [
        pytest.param(2, [("a", "b"), ("ab", "ab")], id="pairs seen twice"),
        pytest.param(1, [("a", "b"), ("ab", "ab"), ("Ġ", "abab")], id="pairs seen once"),
        pytest.param(3, [("a", "b")], id="pairs seen three times"),
    ],
)
def test_matches_hand_worked_merges(min_frequency, merges):
    assert learnt(["abab abab"], min_frequency=min_frequency)[0] == merges


def test_of_equally_frequent_pairs_the_lower_ids_come_first():
    assert learnt(["zyab", "zyab"])[0][0] == ("a", "b")


def test_vocabulary_is_special_token_then_bytes_then_merges():
    _, state = learnt(["abab abab"])
    vocab = state["model"]["vocab"]

    assert vocab[END_OF_TEXT] == 0
    assert sorted(vocab.values()) == list(range(1 + 256 + 2))
    assert (vocab["ab"], vocab["abab"]) == (257, 258)
    assert state["normalizer"] is None


def test_vocabulary_ends_at_the_wanted_size():
    assert len(learnt(["abab abab"], vocab_size=258)[0]) == 1


def test_no_token_reaches_over_a_piece():
    merges, _ = learnt(["x，我，我" * 50], vocab_size=400)

    # In bytes: three for ，, three for 我, and no merge of both.
    assert len(merges) == 4


def test_literal_special_token_is_learnt_from_as_text():
    merges, _ = learnt([END_OF_TEXT * 9], vocab_size=400)

    assert ("<", "|") in merges


def test_order_of_texts_does_not_matter():
    texts = [f"世界 word {number % 7} 词语 {number % 5}" for number in range(60)]

    assert learnt(texts)[1] == learnt(texts[::-1])[1]


def test_refuses_a_vocabulary_too_small_for_the_bytes():
    with pytest.raises(ValueError, match="expected at least 257 entries, got 256"):
        train_bpe([], vocab_size=256, min_frequency=2)
