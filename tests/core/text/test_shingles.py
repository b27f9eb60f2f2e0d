"""shingles: the words of `words.words`, five in a row, however documents are put together."""

import re
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmctl.core.text import shingles
from llmctl.core.text.polynomial_hashes import mixed
from llmctl.core.text.shingles import shingle_sets, word_hashes
from llmctl.core.text.words import MARKS, UNSPACED, folded, words


def hashes(text):
    return word_hashes([text])[0].tolist()


def sets(*texts):
    found, ends = shingle_sets([folded(text) for text in texts])
    return [set(part.tolist()) for part in np.split(found, ends[:-1])]


def plain_set(text):
    """The same by the plain way: five hashes in a row, shorter texts filled up with zeros."""
    found = [hashes(word)[0] for word in words(text)]
    if 0 < len(found) < 5:
        found += [0] * (5 - len(found))
    result = set()
    for start in range(len(found) - 4):
        value = 0
        for number in found[start : start + 5]:
            value = (value * 0xD1342543DE82EF95 + number) % (1 << 64)
        result.add(int(mixed(np.array([value], np.uint64))[0]) >> 32)
    return result


def test_every_character_is_classed_as_the_words_have_it():
    letter = re.compile(f"(?![{UNSPACED}])[^\\W_]|[{MARKS}]")
    unspaced = re.compile(f"[{UNSPACED}]")

    def expected(code):
        return 2 if unspaced.match(chr(code)) else 1 if letter.match(chr(code)) else 0

    codes = [*range(0x3400), *range(0xF900, 0x11000), *range(0x3400, sys.maxunicode, 97)]
    assert shingles._CLASSES.of(np.array(codes, np.uint32)).tolist() == list(map(expected, codes))


@given(st.lists(st.text(alphabet="ab é的了\n ,٣हि½ไ\ud800😀", max_size=30), max_size=5))
@settings(deadline=None)
def test_words_are_those_of_the_slow_way(texts):
    plain = [folded(text) for text in texts]
    expected = [[hashes(word)[0] for word in words(text)] for text in texts]

    found, ends = word_hashes(plain)

    assert [part.tolist() for part in np.split(found, ends)[: len(ends)]] == expected


@given(st.lists(st.text(alphabet="abc 的了，", max_size=40), min_size=1, max_size=5))
@settings(deadline=None)
def test_sets_are_those_of_the_slow_way(texts):
    assert sets(*texts) == [plain_set(text) for text in texts]


def test_sets_are_sorted_and_without_repeats():
    found, ends = shingle_sets(["a b c d e f " * 20, "", "a b c d e f " * 20])

    assert ends.tolist() == [6, 6, 12]
    assert found.dtype == np.uint32
    assert np.all(np.diff(found[:6].astype(np.int64)) > 0)
    assert found[:6].tolist() == found[6:].tolist()


@pytest.mark.parametrize(
    ("text", "num_shingles"),
    [
        ("a", 1),
        ("一二三四", 1),
        ("a b c d e", 1),
        ("a b c d e f", 2),
        ("一二三四五六", 2),
        ("，。", 0),
        ("", 0),
    ],
)
def test_short_texts_have_one_shingle(text, num_shingles):
    assert len(sets(text)[0]) == num_shingles


def test_other_words_and_other_orders_have_other_shingles():
    texts = ("a b c d e", "a b c d f", "b a c d e", "ab c d e", "a b c d", "a a b c d", "e d c b a")

    assert len(set.union(*sets(*texts))) == len(texts)


def test_many_words_have_different_hashes():
    names = [f"{number:x}" for number in range(200_000)]

    assert len(set(hashes(" ".join(names)))) == len(names)


@pytest.mark.parametrize("unit", ["word ", "字", "a,b的 "])
def test_long_texts_are_cut_between_words(unit, monkeypatch):
    text = unit * 40
    whole = hashes(text)

    monkeypatch.setattr(shingles, "PIECE_CHARACTERS", 16)

    assert hashes(text) == whole
    assert len(whole) == len(words(text))


def test_a_word_longer_than_a_piece_is_several():
    size = shingles.PIECE_CHARACTERS

    assert len(hashes("a" * size)) == 1
    assert len(hashes("a" * (2 * size + 1))) == 3
    assert len(hashes(" " + "a" * (size + 1))) == 2


def test_many_documents_together_are_longer_than_a_piece():
    text = "word " * 2000

    found, ends = word_hashes([text] * 10)

    assert ends.tolist() == [2000 * number for number in range(1, 11)]
    assert len(set(found.tolist())) == 1


def test_no_texts():
    found, ends = shingle_sets([])

    assert found.tolist() == ends.tolist() == []
