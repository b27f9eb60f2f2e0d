"""The first change between two texts: where it is, what went, what came."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmctl.core.artifacts.first_change import SHOWN_CHARACTERS, FirstChange, first_change

LONG = "".join(f"第{number}行。\n" for number in range(200))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param("天地黄", "天地玄黄", ("天地", "", "玄", "黄"), id="inserted"),
        pytest.param("a\x00b", "ab", ("a", "\x00", "", "b"), id="deleted"),
        pytest.param("abc", "", ("", "abc", "", ""), id="all gone"),
        pytest.param("", "abc", ("", "", "abc", ""), id="all new"),
        pytest.param("end", "end.", ("end", "", ".", ""), id="at the end"),
        pytest.param(
            "mail zs@x.cn today", "mail <EMAIL> today", ("mail ", "zs@x.cn", "<EMAIL>", " today"),
            id="replaced",
        ),
        pytest.param("xx 1 yy", "qq 2 zz", ("", "xx 1 yy", "qq 2 zz", ""), id="no agreement"),
    ],
)  # fmt: skip
def test_by_hand(old, new, expected):
    assert first_change(old, new) == FirstChange(*expected)


def test_a_long_cut_shows_its_ends():
    start, end = LONG.index("第50行"), LONG.index("第150行")

    found = first_change(LONG, LONG[:start] + LONG[end:])

    assert found.before.startswith("…")
    assert found.before.endswith("第49行。\n第")
    assert found.deleted.startswith("50行。")
    assert " … " in found.deleted
    assert found.inserted == ""
    assert found.after.endswith("…")
    assert len(found.deleted) <= SHOWN_CHARACTERS + 3


def test_what_follows_is_the_new_text():
    found = first_change("a@b.cn and then c@d.cn", "<EMAIL> and then <EMAIL>")

    assert found.after == " and then <EMAIL>"


def test_refuses_equal_texts():
    with pytest.raises(ValueError, match="two equal texts"):
        first_change("a", "a")


@given(st.text(max_size=80), st.text(max_size=80), st.text(max_size=80))
def test_short_texts_are_told_whole(old, new, common):
    old, new = common + old, common + new
    if old != new:
        found = first_change(old, new)
        parts = found.before.removeprefix("…"), found.after.removesuffix("…")
        assert parts[0] + found.deleted in old
        assert parts[0] + found.inserted + parts[1] in new
        assert found.deleted or found.inserted
