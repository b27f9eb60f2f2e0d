"""inspect_tokens: the figures of a text, counted by hand."""

from __future__ import annotations

import pytest
import tokenizers

from llmctl.core.stages.inspect_tokens import inspect_tokens
from llmctl.core.tokens.tokenizer import Tokenizer
from llmctl.core.tokens.tokenizer_training import TrainingRequest, train


@pytest.fixture(scope="module")
def single_bytes():
    return Tokenizer(train([], TrainingRequest(257, 2)))


def test_figures_by_hand(single_bytes):
    found = inspect_tokens(single_bytes, "a 世𠀀，の")

    # 1 + 1 + 3 + 4 + 3 + 3 bytes, each a token; 世 and 𠀀 are Han.
    assert (len(found.tokens), found.num_bytes) == (15, 15)
    assert found.summary() == (
        "15 tokens, 6 characters, 15 bytes, 1.00 bytes/token, 3.50 tokens per Han character"
    )
    record = found.record()
    assert record["tokens"][2] == {
        "token_id": found.tokens[2].token_id,
        "piece": "<0xE4>",
        "bytes": "e4",
        "start": 2,
        "end": 3,
    }
    assert record["bytes_per_token"] == 1
    assert record["tokens_per_han_character"] == 3.5
    assert (record["num_tokens"], record["num_characters"], record["num_bytes"]) == (15, 6, 15)


def test_no_han_no_figure(single_bytes):
    assert inspect_tokens(single_bytes, "a").summary() == (
        "1 token, 1 character, 1 byte, 1.00 bytes/token"
    )
    nothing = inspect_tokens(single_bytes, "")
    assert nothing.summary() == "0 tokens, 0 characters, 0 bytes"
    assert nothing.record()["tokens_per_han_character"] is None


def test_a_token_counts_by_its_share():
    tokenizer = Tokenizer(train([" 世界"] * 9, TrainingRequest(300, 2)))
    mixed = Tokenizer(joined(tokenizer, "a", "世"))

    # " 世界" is a blank and one token of two characters.
    assert inspect_tokens(tokenizer, " 世界").tokens_per_han_character == 0.5
    assert [token.piece for token in inspect_tokens(mixed, "a世b").tokens] == ["a世", "b"]
    assert inspect_tokens(mixed, "a世b").tokens_per_han_character == 0.75


def joined(tokenizer, first, second):
    """The same with an entry that holds both, whatever cuts text elsewhere."""
    backend = tokenizers.Tokenizer.from_str(tokenizer.as_json())
    backend.add_tokens([first + second])
    return backend
