"""Special tokens in plain text: found as the library finds them, and broken for good."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken

from llmctl.core.tokens.special_literals import SpecialLiterals
from llmctl.core.tokens.tokenizer import Tokenizer
from llmctl.core.tokens.tokenizer_training import TrainingRequest, train

NAMES = ("<a>", "<a>>", "<ab>", "a><a", "[甲]")
SPACED = (
    AddedToken("<left>", lstrip=True, normalized=False),
    AddedToken("<right>", rstrip=True, normalized=False),
)


def literals_of(*names):
    backend = train([], TrainingRequest(257, 2))
    backend.add_special_tokens(list(names))
    tokenizer = Tokenizer(backend)
    return SpecialLiterals(tokenizer), tokenizer


LITERALS, TOKENIZER = literals_of(*NAMES)
FRAGMENTS = [*NAMES, "<", ">", "a", "<a", " ", "世", "<|endoftext|>"]
TEXTS = st.lists(st.sampled_from(FRAGMENTS), max_size=9).map("".join)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("<a>b<a>", {"<a>": 2}, id="two"),
        pytest.param("<a>>", {"<a>>": 1}, id="the longest"),
        pytest.param("<a><a>", {"<a>": 2}, id="the first of two that overlap"),
        pytest.param("世[甲]<|endoftext|>", {"[甲]": 1, "<|endoftext|>": 1}, id="other scripts"),
        pytest.param("<b> a>", {}, id="none"),
        pytest.param("", {}, id="nothing"),
    ],
)
def test_counts_by_hand(text, expected):
    assert LITERALS.count([text, "", text]) == {name: 2 * n for name, n in expected.items()}


def test_what_a_text_begins_with():
    assert LITERALS.at_beginning("<a>>b") == "<a>>"
    assert LITERALS.at_beginning(" <a>") is None


def test_only_some_are_looked_for():
    assert list(LITERALS.occurrences("[甲]<a>>", ["<a>"])) == [(3, 6, LITERALS.ids["<a>"])]
    assert list(LITERALS.occurrences("[甲]<a>>", [])) == []


@settings(max_examples=100, deadline=None)
@given(TEXTS)
def test_found_where_the_library_finds_them(text):
    special = TOKENIZER.special_ids

    found = [token for _, _, token in LITERALS.occurrences(text)]

    assert found == [token for token in TOKENIZER.encode_rendered(text) if token in special]


@settings(max_examples=100, deadline=None)
@given(TEXTS)
def test_none_is_left_of_what_is_broken(text):
    broken = LITERALS.broken(text, "\ufdd0")

    assert broken.replace("\ufdd0", "") == text
    assert not LITERALS.count([broken])
    assert (broken == text) == (not LITERALS.count([text]))


@pytest.mark.parametrize("text", ["b \n<left> \n b", "b <right> \n b", "<right>  <left>", "<left>"])
def test_space_beside_some_belongs_to_them(text):
    literals, tokenizer = literals_of(*SPACED)

    ids, last = [], 0
    for start, stop, token in literals.occurrences(text):
        ids += [*tokenizer.encode(text[last:start]), token]
        last = stop

    assert [*ids, *tokenizer.encode(text[last:])] == tokenizer.encode_rendered(text)


def test_thousands_of_them():
    names = [f"<unused{number}>" for number in range(5000)]
    literals, _ = literals_of(*names, *(f"{chr(0x4E00 + n)}>" for n in range(20)))

    assert literals.count(["<unused12><unused499>，<unused5000>丂>"]) == {
        "<unused12>": 1,
        "<unused499>": 1,
        "丂>": 1,
    }


def test_one_character_alone_is_none():
    literals, _ = literals_of("§")

    assert literals.broken("a§", "\ufdd0") == "a§"
    assert list(literals.occurrences("a§")) == []
