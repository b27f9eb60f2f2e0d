"""Lines: which have a hash, and what is left when some are cut out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmctl.core.text.repeated_lines import cut_lines, line_hashes


def hashes(*lines):
    return line_hashes("\n".join(lines), 1)


def test_lines_count_once_without_blanks_at_their_ends():
    assert (
        line_hashes("a menu\n text\n\ta menu  \n\n", 1).tolist()
        == hashes("text", "a menu").tolist()
    )


def test_shorter_lines_are_passed_over():
    assert line_hashes("版权所有\n版权所有者", 5).tolist() == hashes("版权所有者").tolist()
    assert line_hashes("", 1).tolist() == line_hashes("\n \n", 0).tolist() == []


def test_lines_without_letters_or_digits_are_passed_over():
    assert (
        line_hashes("----------\n==========\n……………………\n- 1 -", 1).tolist()
        == hashes("- 1 -").tolist()
    )


def test_hashes_are_sorted():
    found = hashes(*map(str, range(50)))

    assert found.dtype == np.uint64
    assert np.all(found[1:] > found[:-1])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("menu\none\nmenu \ntwo", ("one\ntwo", 2), id="each time, blanks or not"),
        pytest.param("menu\n\none\n\n版权\n", ("one", 2), id="blank lines at either end go too"),
        pytest.param("one\n\n menu\n\ntwo", ("one\n\n\ntwo", 1), id="blank lines within stay"),
        pytest.param("menu\n  one ", ("  one ", 1), id="indents stay"),
        pytest.param("menus\n one\n", ("menus\n one\n", 0), id="unchanged without a cut"),
        pytest.param("menu", ("", 1), id="nothing may be left"),
        pytest.param("", ("", 0), id="empty"),
    ],
)
def test_cuts(text, expected):
    assert cut_lines(text, hashes("menu", "版权", "zzz")) == expected


def test_nothing_is_cut_without_boilerplate():
    assert cut_lines("\nmenu\n", hashes()) == ("\nmenu\n", 0)


@given(
    st.lists(st.text(alphabet="ab \r\ud8001的", max_size=3), max_size=8), st.sets(st.integers(0, 7))
)
def test_what_is_left_has_none_of_them(lines, chosen):
    boilerplate = hashes(*(line for number, line in enumerate(lines) if number in chosen))

    text, num_cut = cut_lines("\n".join(lines), boilerplate)

    assert not set(line_hashes(text, 1).tolist()) & set(boilerplate.tolist())
    expected = set(hashes(*lines).tolist()) - set(boilerplate.tolist())
    assert set(line_hashes(text, 1).tolist()) == expected
    assert (num_cut > 0) == bool(len(boilerplate))
