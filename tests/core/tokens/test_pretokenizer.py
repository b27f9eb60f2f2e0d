"""Cutting into pieces: worked by hand for each alternative, then what holds for every text."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, pre_tokenizers

from llmctl.core.tokens.pretokenizer import MAX_BLANKS, PATTERN, pieces, segments

# Every kind of character that an alternative tells apart, so that short texts meet its edges.
KINDS = (
    "aZé'’_-!1٣½㋐，。我世カーｰ〆々\u0301\U000e0100\u200d❤👩( \n\r\t\u3000\xa0\x1c\x85\u2028\x00"
)
SMALL_TEXTS = st.text(st.sampled_from(KINDS), max_size=14)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("GPT-4o模型", ["GPT", "-", "4", "o", "模型"], id="Han alone"),
        pytest.param("，准确率：iPhone", ["，", "准确率", "：", "iPhone"], id="no ， before words"),
        pytest.param("日本語を カタカナー", ["日本語を", " ", "カタカナー"], id="Han and kana"),
        pytest.param("ｶﾞｰ〆切", ["ｶﾞｰ〆切"], id="marks that are common to scripts"),
        pytest.param("葛\U000e0100城", ["葛\U000e0100城"], id="Han with a variation selector"),
        pytest.param("𠮷野家", ["𠮷野家"], id="Han beyond the basic plane"),
        pytest.param("二〇二四 2〇", ["二〇二四", " ", "2", "〇"], id="〇 is Han, not a digit"),
        pytest.param("don't THEY'LL it’s", ["don", "'t", " THEY", "'LL", " it", "’s"], id="'t"),
        pytest.param("'some' 'def", ["'some", "'", " '", "def"], id="no 's in 'some"),
        pytest.param("(word) _x .y", ["(word", ")", " _", "x", " .", "y"], id="one ASCII before"),
        pytest.param("“word”", ["“", "word", "”"], id="nothing but ASCII before"),
        pytest.param("cafe\u0301 हिन्दी", ["cafe\u0301", " हिन्दी"], id="marks within words"),
        pytest.param("می\u200cخواهم", ["می\u200cخواهم"], id="joiners within words"),
        pytest.param("1234567", ["123", "456", "7"], id="digits by threes from the left"),
        pytest.param("a 12", ["a", " ", "12"], id="no blank before digits"),
        pytest.param("x == y", ["x", " ==", " y"], id="a blank before symbols"),
        pytest.param("。\n\n好", ["。\n\n", "好"], id="line ends after symbols"),
        pytest.param("👩\u200d❤️\u200d👩 a", ["👩\u200d❤️\u200d👩", " a"], id="emoji whole"),
        pytest.param("a\n\n    b", ["a", "\n\n", "   ", " b"], id="indentation"),
        pytest.param("a \n \n b", ["a", " \n \n", " b"], id="blank lines"),
        pytest.param("a\rb\r\nc", ["a", "\r", "b", "\r\n", "c"], id="every line end"),
        pytest.param("\u3000\u3000我", ["\u3000\u3000", "我"], id="ideographic indentation whole"),
        pytest.param("\t\tx", ["\t\t", "x"], id="no tab before words"),
        pytest.param("a\x00b", ["a", "\x00", "b"], id="NUL"),
        pytest.param("", [], id="nothing"),
    ],
)
def test_matches_hand_worked_pieces(text, expected):
    assert pieces(text) == expected


def test_some_alternative_takes_every_character():
    everything = "".join(map(chr, [*range(0xD800), *range(0xE000, sys.maxunicode + 1)]))
    rest = pre_tokenizers.Split(Regex(PATTERN), behavior="removed")

    assert rest.pre_tokenize_str(everything) == []


@settings(max_examples=200, deadline=None)
@given(SMALL_TEXTS)
def test_pieces_are_the_text(text):
    assert "".join(pieces(text)) == text


@settings(max_examples=300, deadline=None)
@given(SMALL_TEXTS, st.integers(1, 4))
def test_segments_have_the_pieces_of_the_text(text, min_characters):
    parts = list(segments(text, min_characters))

    assert "".join(parts) == text
    assert all(len(part) >= min_characters for part in parts[:-1])
    assert [piece for part in parts for piece in pieces(part)] == pieces(text)


def test_segments_end_where_a_piece_surely_does():
    assert list(segments("one\ntwo\nthree，四。五", 5)) == ["one\ntwo\n", "three，", "四。五"]


def test_blanks_are_gone_back_over_no_further_than_bounded():
    assert [len(piece) for piece in pieces(" " * 1200 + "1")] == [MAX_BLANKS, MAX_BLANKS, 176, 1]


@pytest.mark.parametrize("unit", [" ", "\n ", "的", "a", "=", "'s", "1 ", "\u0301", "，\n"])
def test_long_runs_take_linear_time(unit):
    # 200,000 squared steps would meet the time limit of the test.
    assert "".join(pieces(unit * 200_000)) == unit * 200_000
