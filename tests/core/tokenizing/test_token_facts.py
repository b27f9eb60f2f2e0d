"""TokenFacts: what each id stands for, and the Han of a token cut inside a character."""

from __future__ import annotations

import re
import sys
import unicodedata

import numpy as np
import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st
from made_vocabulary import MIXED, PART, SHI, WORLD, byte, made_facts

from llmctl.core.tokenizing.token_facts import HAN, WHOLE_TOKEN, TokenFacts
from llmctl.core.tokens.tokenizer import Tokenizer
from llmctl.core.tokens.tokenizer_training import TrainingRequest, train

TEXTS = ["世界很大，词语很多。𠮷野家 " * 4, "the world and the words " * 4, "カタカナ й é "]


def test_tells_whole_characters_from_parts_of_them():
    facts = made_facts()
    tokens = [0, byte(0x41), byte(0xE4), PART, SHI, WORLD, MIXED]

    assert facts.byte_lengths_V[tokens].tolist() == [0, 1, 1, 2, 3, 6, 4]
    assert facts.is_whole_V[tokens].tolist() == [True, True, False, False, True, True, True]
    assert np.flatnonzero(facts.is_single_byte_V).tolist() == [*range(129, 257)]
    assert np.flatnonzero(facts.is_special_V).tolist() == [0, 268]


@pytest.mark.parametrize(
    ("ids", "parts", "characters"),
    [
        pytest.param([WORLD], [1], [2], id="two characters in one token"),
        pytest.param([MIXED, byte(0x61)], [3 / 4, 0], [1, 0], id="a share of the bytes"),
        pytest.param([PART, byte(0x8D)], [1, 1], [1, 0], id="不 in two parts, begun once"),
        pytest.param([byte(0xC3), byte(0xA9)], [0, 0], [0, 0], id="é in two parts"),
        pytest.param(
            [SHI, byte(0xE3), byte(0x81), byte(0x8B), SHI],
            [1, 0, 0, 0, 1],
            [1, 0, 0, 0, 1],
            id="か in three, between Han",
        ),
        pytest.param(
            [byte(value) for value in "𠮷".encode()], [1] * 4, [1, 0, 0, 0], id="beyond the BMP"
        ),
        pytest.param([0, 268], [0, 0], [0, 0], id="special tokens"),
        pytest.param([PART, byte(0x61)], [0, 0], [0, 0], id="a part that nothing ends"),
        pytest.param([], [], [], id="nothing"),
    ],
)
def test_han_matches_hand_worked_value(ids, parts, characters):
    found = made_facts().han(np.array(ids, dtype=np.int64))

    assert found.parts_N.tolist() == [part * WHOLE_TOKEN for part in parts]
    assert found.characters_N.tolist() == characters


def test_shares_of_long_tokens_are_rounded_to_the_nearest_part(small_facts):
    token = small_facts.contents.index("世界很大".encode())
    assert small_facts.han(np.array([token])).parts_N.tolist() == [WHOLE_TOKEN]


@pytest.fixture(scope="module")
def small_facts():
    return TokenFacts(Tokenizer(train(TEXTS, TrainingRequest(330, 2))))


COMMON = st.sampled_from("世界𠮷々〇か é!aй\u0301😀")
ASSIGNED = st.characters(exclude_categories=["Cn", "Cs"])


@settings(max_examples=60, deadline=None)
@given(text=st.text(alphabet=COMMON | ASSIGNED, max_size=20))
def test_equals_a_plain_count_over_characters(small_facts, text):
    ids = small_facts.tokenizer.encode(text)
    found = small_facts.han(np.array(ids, dtype=np.int64))

    is_han = [bool(regex.match(r"\p{Han}", character)) for character in text]
    of_bytes = [
        flag for flag, character in zip(is_han, text, strict=True) for _ in character.encode()
    ]
    expected = []
    start = 0
    for token in ids:
        stop = start + len(small_facts.contents[token])
        expected.append(round(sum(of_bytes[start:stop]) * WHOLE_TOKEN / (stop - start)))
        start = stop
    assert found.parts_N.tolist() == expected
    assert found.characters_N.sum() == sum(is_han)


def test_han_is_the_script_of_unicode():
    """By the regex package; what neither it nor Python knows yet lies in planes 2 and 3."""
    everything = "".join(
        chr(point) for point in range(sys.maxunicode + 1) if not 0xD800 <= point < 0xE000
    )
    ours, theirs = (
        set(pattern.findall(everything))
        for pattern in (re.compile(f"[{HAN}]"), regex.compile(r"\p{Han}"))
    )
    assert theirs <= ours
    assert {unicodedata.category(character) for character in ours - theirs} == {"Cn"}
    assert min(ours - theirs) >= "\U00020000"
