"""Words as code points: the same words as the plain splitter's, their places, their hashes."""

import itertools
import unicodedata

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llmctl.core.text.word_codes import FIRST, word_codes
from llmctl.core.text.words import words

CODE_POINT = (1 << 21) - 1
TRICKY = "aZß é\u0301\u0327가ᄀ\u1161\u11a8ﾞｶか\u3099ﬁ™½…İΐ中，。１2_'"
TRICKY += "\u0bbe\u0bc6ัไ☃\ufe0f\u00ad\ud800Ａ\n"


def strings(found):
    points = "".join(map(chr, (found.codes_T & CODE_POINT).tolist()))
    bounds = found.bounds.tolist()
    return [points[begin:end] for begin, end in itertools.pairwise(bounds)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("Don't panic, x_1!", ["don", "t", "panic", "x", "1"], id="English"),
        pytest.param("用Python写3行。", ["用", "python", "写", "3", "行"], id="mixed Chinese"),
        pytest.param("ｶﾞABC１２", ["ガ", "abc12"], id="half and full width"),
        pytest.param("cafe\u0301 Straße", ["café", "strasse"], id="composed and unfolded"),
        pytest.param("Disney™…½", ["disneytm", "1", "2"], id="signs of several characters"),
        pytest.param("한국어 문장", ["한국어", "문장"], id="Korean"),
        pytest.param(unicodedata.normalize("NFD", "한국어"), ["한국어"], id="Korean in jamo"),
        pytest.param("", [], id="nothing"),
        pytest.param("，。 --", [], id="signs only"),
    ],
)
def test_words_by_hand(text, expected):
    assert strings(word_codes(text)) == expected == words(text)


@given(st.text() | st.text(st.sampled_from(TRICKY), max_size=30))
@example(TRICKY)
@settings(max_examples=400)
def test_gives_the_words_of_the_plain_splitter(text):
    found = word_codes(text)

    assert strings(found) == words(text)
    assert len(found) == len(words(text))
    assert ((found.codes_T & FIRST) != 0).sum() == len(found)
    assert ((found.begins_T >= 0) & (found.begins_T < found.ends_T)).all()
    assert (found.ends_T <= len(text)).all()
    assert (np.diff(found.begins_T) >= 0).all()


def test_every_character_is_split_as_the_plain_splitter_does():
    characters = [
        chr(point) for start in (0, 0x1D400, 0x20000) for point in range(start, start + 0x3200)
    ]
    text = " x".join(characters)

    assert strings(word_codes(text)) == words(text)


def test_places_by_hand():
    text = "，Ｈi 你 cafe\u0301s ½."
    found = word_codes(text)
    spans = [
        (int(found.begins_T[begin]), int(found.ends_T[end - 1]))
        for begin, end in zip(found.bounds[:-1], found.bounds[1:], strict=True)
    ]

    assert [text[begin:end] for begin, end in spans] == ["Ｈi", "你", "cafe\u0301s", " ½", " ½"]


def test_equal_stretches_have_equal_hashes_wherever_they_stand():
    first, second = word_codes("one two three. 你好"), word_codes("zero? ONE, two; three 你 好 end")
    hashes = [
        found.hashes(np.array([begin]), np.array([begin + 5]))[0]
        for found, begin in ((first, 0), (second, 1))
    ]

    assert hashes[0] == hashes[1]


def test_word_ends_count():
    found = word_codes("ab c a bc abc bca")
    hashes = found.hashes(np.array([0, 2, 4, 5]), np.array([2, 4, 5, 6]))

    assert len(set(hashes.tolist())) == 4
