"""Strings as arrays: what goes in comes out, in any order."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from llmctl.core.tokenizing.string_columns import StringColumn

TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), max_size=6)


@given(TEXTS, TEXTS, st.data())
def test_strings_come_back_in_any_order(first, second, data):
    column = StringColumn.together([StringColumn.of(first), StringColumn.of(second)])
    texts = [*first, *second]
    numbers = data.draw(st.lists(st.sampled_from(range(len(texts))))) if texts else []

    assert list(column) == texts
    taken = column.take(np.array(numbers, dtype=np.int64))
    assert list(taken) == [texts[number] for number in numbers]
    assert taken.as_arrow().to_pylist() == list(taken)


def test_what_utf8_cannot_hold_is_marked():
    assert list(StringColumn.of(["a\ud800"])) == ["a?"]
