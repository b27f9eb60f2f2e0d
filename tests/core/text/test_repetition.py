"""Repetition: the arrays answer as the plain counting does, whose values are worked by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmctl.core.text.repetition import (
    WordRepetition,
    _Arrays,
    duplicate_ngram_characters,
    repeats,
    top_ngram_characters,
)
from llmctl.core.text.word_splitting import NativeSplitter
from llmctl.core.text.word_table import WordTable


def test_repeats_count_from_the_second_time():
    assert repeats(["ab", "c", "ab", "ab", ""]) == (2, 4)


@pytest.mark.parametrize(
    ("words", "n", "characters"),
    [
        pytest.param("a b a b a b", 2, 4, id="each repeat is stepped over"),
        pytest.param("a a a a", 2, 2, id="an overlapping one counts once"),
        pytest.param("aa b aa b", 2, 3, id="spaces do not count"),
        pytest.param("ab c x a bc", 2, 3, id="run together"),
        pytest.param("a b c", 2, 0, id="none"),
        pytest.param("a", 2, 0, id="too few"),
    ],
)
def test_duplicate_characters_by_hand(words, n, characters):
    assert duplicate_ngram_characters(words.split(), n) == characters


@pytest.mark.parametrize(
    ("words", "n", "characters"),
    [
        pytest.param("a b a b", 2, 6, id="a space within each"),
        pytest.param("a b cc dd cc dd a b", 2, 6, id="of equals the first"),
        pytest.param("a bc ab c", 2, 4, id="not run together"),
    ],
)
def test_top_characters_by_hand(words, n, characters):
    assert top_ngram_characters(words.split(), n) == characters


WORDS = st.lists(st.sampled_from(["a", "b", "ab", "ba", "aa", "c", "中", "中a"]), min_size=1)


@given(WORDS, st.integers(1, 6), st.integers(1, 40))
def test_arrays_count_as_plain_counting_does(words, n, copies):
    words = words * copies
    table = WordTable(_Given())
    ids = table.words(" ".join(words)).ids
    if len(words) < n:
        assert WordRepetition(table, ids).top_ngram_characters(n) is None
        return

    arrays = _Arrays(table, ids)

    assert arrays.top_ngram_characters(n) == top_ngram_characters(words, n)
    assert arrays.duplicate_ngram_characters(n) == duplicate_ngram_characters(words, n)
    repetition = WordRepetition(table, ids)
    assert repetition.top_ngram_characters(n) == top_ngram_characters(words, n)
    assert repetition.duplicate_ngram_characters(n) == duplicate_ngram_characters(words, n)


def test_arrays_reach_beyond_one_table_of_powers():
    repeated = ["ten_letter" + "s" * n for n in range(5)]
    filler = [f"{number:08d}" for number in range(8189)]
    # The second time lies across place 65,536, the first one before it.
    words = [*repeated, *filler[:-8], *repeated, "end"]
    table = WordTable(_Given())

    arrays = _Arrays(table, table.words(" ".join(words)).ids)

    assert arrays.duplicate_ngram_characters(5) == duplicate_ngram_characters(words, 5) > 0


class _Given(NativeSplitter):
    """Words as they are given."""

    def split(self, pieces):
        return [[piece] for piece in pieces]
