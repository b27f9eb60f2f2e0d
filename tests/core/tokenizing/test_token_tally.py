"""TokenTally: three documents worked by hand, and the sum of any parts is the whole."""

from __future__ import annotations

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from made_vocabulary import MIXED, PART, SHI, WORLD, byte, encoded_by, made_facts, made_tokenizer

from llmctl.core.artifacts.shards_facts import SpecialToken, TextCounts
from llmctl.core.errors import DataError
from llmctl.core.tokenizing import token_tally
from llmctl.core.tokenizing.token_facts import TokenFacts
from llmctl.core.tokenizing.token_tally import EncodedTexts, TokenTally
from llmctl.core.tokens.tokenizer import Tokenizer
from llmctl.core.tokens.tokenizer_training import TrainingRequest, train

DOCUMENTS = [
    # 世界 世: 2 tokens on 3 Han characters
    ("世界世", "a", "zh"),
    # 不 in two parts, 世, a世 of which three bytes of four are Han: 3.75 tokens on 3
    ("不世a世", "b", "zh"),
    # é in two parts
    ("hé b", "b", "en"),
]
IDS = [WORLD, SHI, PART, byte(0x8D), SHI, MIXED, *map(byte, [0x68, 0xC3, 0xA9, 0x20, 0x62])]


def tally_of(documents):
    tally = TokenTally(made_facts())
    tally.add(encoded_by(made_tokenizer(), documents))
    return tally


def test_matches_hand_worked_value():
    assert encoded_by(made_tokenizer(), DOCUMENTS).ids_N.tolist() == IDS
    tally = tally_of(DOCUMENTS)

    assert tally.languages() == {
        "en": TextCounts(1, 5, 4, 5, 2, 0, 0.0),
        "zh": TextCounts(2, 19, 7, 6, 1, 6, 5.75),
    }
    assert tally.sources() == {
        "a": TextCounts(1, 9, 3, 2, 0, 3, 2.0),
        "b": TextCounts(2, 15, 8, 9, 3, 3, 3.75),
    }
    assert tally.total() == TextCounts(3, 24, 11, 11, 3, 6, 5.75)
    assert tally.occurrences_V.tolist() == np.bincount(IDS, minlength=269).tolist()
    assert tally.lengths()["zh"].quantiles[0.5] == 2
    assert tally.all_lengths().tokens == 11


def test_an_isolated_word_of_two_characters_costs_half_a_token_each():
    assert tally_of([("世界", "", "zh")]).total().tokens_per_han_character == 0.5


def test_counts_special_tokens_that_stand_in_the_text():
    texts = ["<|im_start|>世<|im_start|>", "a<|im_end|>", "<|endoftext|"]
    tally = tally_of([(text, "", "zh") for text in texts])

    assert tally.special_tokens(allowed=["<|im_start|>"]) == [
        SpecialToken(0, "<|endoftext|>", 0),
        SpecialToken(268, "<|im_start|>", 2, is_allowed=True),
    ]


def test_empty_texts_and_no_texts():
    assert tally_of([]).total() == TextCounts()
    assert tally_of([]).all_lengths() is None
    documents = [("", "a", "en"), ("世", "a", "en"), ("", "a", "en")]
    assert tally_of(documents).total() == TextCounts(3, 3, 1, 1, 0, 1, 1.0)


@pytest.mark.parametrize("at_once", [1, 3, 6])
def test_what_is_counted_at_once_does_not_show(monkeypatch, at_once):
    expected = tally_of(DOCUMENTS).as_json()
    monkeypatch.setattr(token_tally, "_AT_ONCE", at_once)

    assert tally_of(DOCUMENTS).as_json() == expected


TEXT = st.text(alphabet="世界不aé 𠮷か<", max_size=8)
ROWS = st.lists(st.tuples(TEXT, st.sampled_from("ab"), st.sampled_from(["zh", "en"])), max_size=8)


@settings(max_examples=40, deadline=None)
@given(parts=st.lists(ROWS, max_size=4))
def test_sum_of_parts_is_the_whole(tmp_path_factory, parts):
    directory = tmp_path_factory.mktemp("tallies")
    together = TokenTally(made_facts())
    for number, part in enumerate(parts):
        path = directory / f"{number}"
        tally_of(part).write(path)
        together.add_file(path)
    whole = tally_of([row for part in parts for row in part])

    assert together.as_json() == whole.as_json()
    together.write(directory / "together")
    whole.write(directory / "whole")
    assert (directory / "together").read_bytes() == (directory / "whole").read_bytes()


def encoded(**changes):
    given = {"texts": ["世"], "sources": ["a"], "languages": ["zh"], "lengths_D": np.array([1])}
    return EncodedTexts(**{**given, "ids_N": np.array([SHI], dtype=np.uint32), **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sources": []}, "1 texts, 0 sources"),
        ({"languages": ["zh", "en"]}, "2 languages"),
        ({"lengths_D": np.array([2])}, "1 lengths of 2 tokens, 1 ids"),
        ({"ids_N": np.array([269], dtype=np.uint32)}, "the id 269 in a vocabulary of 269"),
    ],
)
def test_refuses_what_does_not_belong_together(changes, message):
    with pytest.raises(ValueError, match=message):
        TokenTally(made_facts()).add(encoded(**changes))


@pytest.mark.parametrize("content", [b"", b"text", zstandard.compress(b"no JSON\n")])
def test_refuses_a_damaged_file(tmp_path, content):
    path = tmp_path / "tally"
    path.write_bytes(content)
    with pytest.raises(DataError, match="tally: damaged; remove it"):
        TokenTally(made_facts()).add_file(path)


def test_refuses_the_tally_of_another_tokenizer(tmp_path):
    path = tmp_path / "tally"
    tally_of(DOCUMENTS).write(path)
    other = TokenFacts(Tokenizer(train(["a"], TrainingRequest(257, 2))))
    with pytest.raises(DataError, match="of 269 entries, expected one of 257"):
        TokenTally(other).add_file(path)
