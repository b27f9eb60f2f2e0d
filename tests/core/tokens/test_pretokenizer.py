"""Cutting into pieces: worked by hand for each alternative, then what holds for every text."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, pre_tokenizers

from llmctl.core.tokens import pretokenizer
from llmctl.core.tokens.pretokenizer import pieces, pre_tokenizer, segments
from llmctl.core.tokens.pretokenizer_patterns import MAX_BLANKS, PATTERNS

# Every kind of character that an alternative tells apart, so that short texts meet its edges.
KINDS = (
    "asZé'’_-/!1٣½㋐，。我世カーｰ〆々\u0301\U000e0100\u200d❤👩( \n\r\t\u3000\xa0\x1c\x85\u2028\x00"
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


# What each takes differently from the others.
@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        pytest.param("gpt2", "a 2024'S，中文ab\n", ["a", " 2024", "'", "S", "，", "中文ab", "\n"]),
        pytest.param("gpt2", "x \n\ny", ["x", " \n", "\n", "y"]),
        pytest.param("cl100k", "2024 IT'S，中文ab", ["202", "4", " IT", "'S", "，中文ab"]),
        pytest.param("cl100k", "x \n\ny!\n/", ["x", " \n\n", "y", "!\n", "/"]),
        pytest.param("llama3", "2024 IT'S，中文ab", ["202", "4", " IT", "'S", "，中文ab"]),
        pytest.param("qwen2", "2024 IT'S", ["2", "0", "2", "4", " IT", "'S"]),
        pytest.param("o200k", "2024 IT'S，iPhone", ["202", "4", " IT'S", "，i", "Phone"]),
        pytest.param("o200k", "y!\n/\nz", ["y", "!\n/\n", "z"]),
    ],
)
def test_presets_match_hand_worked_pieces(name, text, expected):
    assert pieces(text, name) == expected


@pytest.mark.parametrize("name", PATTERNS)
def test_some_alternative_takes_every_character(name):
    # Of ours all, of the others, which are known, some of each kind.
    step = 1 if name == "llmctl" else 53
    everything = "".join(map(chr, [*range(0xD800), *range(0xE000, sys.maxunicode + 1)][::step]))
    rest = pre_tokenizers.Split(Regex(PATTERNS[name]), behavior="removed")

    assert rest.pre_tokenize_str(everything) == []


@pytest.mark.parametrize("name", PATTERNS)
@settings(max_examples=60, deadline=None)
@given(text=SMALL_TEXTS)
def test_pieces_are_the_text(name, text):
    assert "".join(pieces(text, name)) == text


@settings(max_examples=150, deadline=None)
@given(SMALL_TEXTS)
def test_gpt2_is_what_the_library_calls_byte_level(text):
    library = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)

    assert pre_tokenizer("gpt2").pre_tokenize_str(text) == library.pre_tokenize_str(text)


@pytest.mark.parametrize("name", PATTERNS)
@settings(max_examples=150, deadline=None)
@given(text=SMALL_TEXTS, min_characters=st.integers(1, 4))
def test_segments_have_the_pieces_of_the_text(name, text, min_characters):
    parts = list(segments(text, min_characters, name))

    assert "".join(parts) == text
    assert all(len(part) >= min_characters for part in parts[:-1])
    assert [piece for part in parts for piece in pieces(part, name)] == pieces(text, name)


def test_segments_end_where_a_piece_surely_does():
    assert list(segments("one two\n三\n四，五。六don't 1a", 4)) == [
        "one two",
        "\n三\n四",
        "，五。六don't",
        " 1a",
    ]


def test_nothing_is_certain_of_an_unknown_pre_tokenizer():
    assert list(segments("one two three", 2, None)) == ["one two three"]


def test_what_python_holds_for_a_letter_or_number_the_library_does_too():
    everything = map(chr, [*range(0xD800), *range(0xE000, sys.maxunicode + 1)])
    alphanumeric = "".join(filter(str.isalnum, everything))
    others = pre_tokenizers.Split(Regex(r"[\p{L}\p{N}]"), behavior="removed")

    assert others.pre_tokenize_str(alphanumeric) == []


def test_what_never_ends_is_cut_all_the_same(monkeypatch):
    monkeypatch.setattr(pretokenizer, "MAX_PIECE_CHARACTERS", 5)

    assert list(segments("的" * 17, 3)) == ["的" * 8, "的" * 8, "的"]
    assert list(segments("的" * 7 + "，" + "的" * 7, 3)) == ["的" * 7, "，" + "的" * 7]
    assert list(segments("的" * 9 + "，", 3)) == ["的" * 8, "的，"]


def test_blanks_are_gone_back_over_no_further_than_bounded():
    assert [len(piece) for piece in pieces(" " * 1200 + "1")] == [MAX_BLANKS, MAX_BLANKS, 176, 1]


@pytest.mark.parametrize("unit", [" ", "\n ", "的", "a", "=", "'s", "1 ", "\u0301", "，\n"])
def test_long_runs_take_linear_time(unit):
    # 200,000 squared steps would meet the time limit of the test.
    assert "".join(pieces(unit * 200_000)) == unit * 200_000
