"""A table of code points: any character, worked out once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmctl.core.text.code_points import CodePointTable, code_points

ANY = st.text(st.characters(exclude_categories=()))


@given(ANY)
def test_every_character_has_its_number(text):
    table = CodePointTable(lambda character: ord(character) % 251, np.uint8)

    assert table.of(code_points(text)).tolist() == [ord(character) % 251 for character in text]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint32])
def test_a_character_is_asked_for_once_with_its_page(dtype):
    asked = []
    table = CodePointTable(lambda character: asked.append(character) or 1, dtype)

    for text in ("ab", "", "a中b", "中文"):
        assert table.of(code_points(text)).tolist() == [1] * len(text)

    assert asked == [
        chr(point) for page in (0x00, 0x4E, 0x65) for point in range(page << 8, (page + 1) << 8)
    ]
