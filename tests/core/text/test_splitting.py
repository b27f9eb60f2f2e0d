"""Which documents are held out: by their content, and by nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmctl.core.errors import DataError
from llmctl.core.text.splitting import content_hash, content_hashes, validation_bound

HALF = 1 << 63
HASHES = st.lists(st.integers(0, 2**64 - 1), min_size=2, max_size=30, unique=True)


def chosen(hashes, share):
    bound = validation_bound(np.array(hashes, dtype=np.uint64), share)
    return [number < bound for number in hashes]


@pytest.mark.parametrize(
    ("hashes", "share", "expected"),
    [
        pytest.param([HALF - 1, HALF, 3], 0.5, [True, False, True], id="below the share"),
        pytest.param([7, 9, 7, HALF], 0.5, [True, True, True, False], id="equal ones together"),
        pytest.param([HALF + 1, HALF, HALF], 0.1, [False, True, True], id="never none"),
        pytest.param([1, 2, 3, 3], 0.5, [True, True, False, False], id="never all"),
        pytest.param([0, 2**64 - 1], 1 - 2**-53, [True, False], id="nearly all"),
    ],
)
def test_matches_hand_worked_choice(hashes, share, expected):
    assert chosen(hashes, share) == expected


@settings(max_examples=100, deadline=None)
@given(HASHES, st.randoms())
def test_order_does_not_matter(hashes, draw):
    held_out = {
        number for number, is_out in zip(hashes, chosen(hashes, 0.3), strict=True) if is_out
    }
    draw.shuffle(hashes)

    again = {number for number, is_out in zip(hashes, chosen(hashes, 0.3), strict=True) if is_out}
    assert again == held_out


@settings(max_examples=100, deadline=None)
@given(HASHES)
def test_growth_moves_nobody(hashes):
    first = [1, 2**63, 2**64 - 1]  # one certainly below the share, two above
    assert chosen([*first, *hashes], 0.3)[:3] == chosen(first, 0.3) == [True, False, False]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("The World", "the world", id="case"),
        pytest.param("a  b\n\tc ", "a b c", id="white space"),
        pytest.param("世 界", "世界", id="white space between characters"),
    ],
)
def test_texts_that_say_the_same_have_one_hash(one, other):
    assert content_hash(one) == content_hash(other)


@pytest.mark.parametrize(
    ("one", "other"), [("世界", "界世"), ("a.", "a"), ("1", "2"), ("", "a"), ("", "\0")]
)
def test_texts_that_differ_have_two(one, other):
    assert content_hash(one) != content_hash(other)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(max_size=8), max_size=6))
def test_a_text_hashes_among_others_as_alone(texts):
    assert content_hashes(texts).tolist() == [content_hash(text) for text in texts]


def test_hash_is_the_same_everywhere():
    # Another value would put the documents of all users into other splits.
    assert content_hash("The world 世界") == 8443006362817933217


def test_share_is_about_kept():
    hashes = [content_hash(f"document {number}") for number in range(4000)]

    assert np.mean(chosen(hashes, 0.05)) == pytest.approx(0.05, abs=0.01)


@pytest.mark.parametrize("hashes", [[], [5], [5, 5, 5]])
def test_refuses_fewer_than_two_texts(hashes):
    message = f"holds one text {len(hashes)} times; at least two different ones"
    with pytest.raises(DataError, match=message):
        chosen(hashes, 0.1)
