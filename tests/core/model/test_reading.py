"""What the tokens of one pass see, and at which positions they stand, by hand.

B batch, T time, S slots.
"""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from llmctl.core.model.reading import Reading
from llmctl.core.model.rotary import Rotary
from llmctl.core.model.rotary_scaling import DynamicScaling, LongRopeScaling

CACHE = object()  # that there is one is all that a view asks
CPU = torch.device("cpu")


def reading(starts, num_tokens, *, cached=None, lengths=None, tables=None):
    """A pass; with a cache where something was read before."""
    cached = any(starts) if cached is None else cached
    return Reading(
        starts,
        num_tokens,
        lengths or [start + num_tokens for start in starts],
        cache=CACHE if cached else None,
        tables=tables,
        device=CPU,
    )


def rows(text):
    """A mask as drawn: x where a token sees a slot."""
    return [[mark == "x" for mark in line] for line in text.split()]


# ------------------------------------------------------------------ positions


@pytest.mark.parametrize(
    ("starts", "positions", "num_slots", "is_even"),
    [
        pytest.param([0], [0, 1, 2], 3, True, id="a text from its beginning"),
        pytest.param([0, 0], [0, 1, 2], 3, True, id="two"),
        pytest.param([4], [4, 5, 6], 7, True, id="a chunk of one"),
        pytest.param([4, 4], [4, 5, 6], 7, True, id="chunks that begin alike"),
        pytest.param([4, 1], [[4, 5, 6], [1, 2, 3]], 7, False, id="ragged"),
        pytest.param([0, 2], [[0, 1, 2], [2, 3, 4]], 5, False, id="one from its beginning"),
    ],
)
def test_positions_by_hand(starts, positions, num_slots, is_even):
    found = reading(starts, 3)

    assert found.positions.tolist() == positions
    assert (found.num_slots, found.is_even) == (num_slots, is_even)


# ------------------------------------------------------------------ views


@pytest.mark.parametrize(
    ("starts", "num_tokens", "window", "cached"),
    [
        pytest.param([0], 4, None, False, id="a whole text"),
        pytest.param([0], 4, None, True, id="a text's first chunk"),
        pytest.param([0, 0], 4, 4, False, id="a window as long as the text"),
        pytest.param([0], 4, 9, True, id="a longer window"),
    ],
)
def test_a_text_from_its_beginning_is_causal_without_a_mask(starts, num_tokens, window, cached):
    view = reading(starts, num_tokens, cached=cached).view(window)

    assert (view.first_slot, view.mask, view.is_causal) == (0, None, True)
    expected = rows("x... xx.. xxx. xxxx")
    assert view.explicit_mask(num_tokens, num_tokens, CPU).tolist() == expected


@pytest.mark.parametrize(
    ("starts", "window", "first_slot"),
    [
        pytest.param([0], None, 0, id="the first token"),
        pytest.param([5], None, 0, id="one more"),
        pytest.param([5, 5], 6, 0, id="a window that holds all"),
        pytest.param([5], 3, 3, id="a window: itself and two before it"),
        pytest.param([5], 1, 5, id="only itself"),
    ],
)
def test_a_single_token_sees_every_slot_it_is_given(starts, window, first_slot):
    view = reading(starts, 1, cached=True).view(window)

    assert (view.first_slot, view.mask, view.is_causal) == (first_slot, None, False)
    assert view.explicit_mask(1, 6 - first_slot, CPU) is None


@pytest.mark.parametrize(
    ("starts", "num_tokens", "window", "cached", "first_slot", "expected"),
    [
        pytest.param([0], 4, 2, False, 0, "x... xx.. .xx. ..xx", id="a window"),
        pytest.param([0], 4, 2, True, 0, "x... xx.. .xx. ..xx", id="a window, to be kept"),
        pytest.param([0], 3, 1, False, 0, "x.. .x. ..x", id="only itself"),
        pytest.param([3], 2, None, True, 0, "xxxx. xxxxx", id="a later chunk"),
        pytest.param([3], 2, 3, True, 1, "xxx. .xxx", id="a later chunk in a window"),
        pytest.param([3], 2, 4, True, 0, "xxxx. .xxxx", id="in one that begins with the text"),
        pytest.param([3], 2, 5, True, 0, "xxxx. xxxxx", id="in one that holds all"),
    ],
)
def test_masks_by_hand(starts, num_tokens, window, cached, first_slot, expected):
    view = reading(starts, num_tokens, cached=cached).view(window)

    assert (view.first_slot, view.is_causal) == (first_slot, False)
    assert view.mask.tolist() == rows(expected)
    assert view.explicit_mask(num_tokens, len(expected.split()[0]), CPU) is view.mask


@pytest.mark.parametrize(
    ("starts", "num_tokens", "window", "first_slot", "expected"),
    [
        pytest.param([3, 1], 2, None, 0, ["xxxx. xxxxx", "xx... xxx.."], id="ragged"),
        pytest.param([3, 0], 1, None, 0, ["xxxx", "x..."], id="ragged single tokens"),
        pytest.param([3, 1], 2, 2, 0, ["..xx. ...xx", "xx... .xx.."], id="ragged in a window"),
        pytest.param([5, 3], 1, 2, 2, ["..xx", "xx.."], id="far from the beginning"),
    ],
)
def test_ragged_masks_by_hand(starts, num_tokens, window, first_slot, expected):
    view = reading(starts, num_tokens).view(window)

    assert (view.first_slot, view.is_causal) == (first_slot, False)
    assert view.mask.shape[1] == 1  # for every head
    assert view.mask[:, 0].tolist() == [rows(row) for row in expected]


def test_layers_of_one_window_share_a_view():
    shared = reading([3], 2)

    assert shared.view(3) is shared.view(3)
    assert shared.view(3) is not shared.view(None)


@settings(max_examples=100, deadline=None)
@given(
    starts=st.lists(st.integers(0, 9), min_size=1, max_size=3),
    num_tokens=st.integers(1, 6),
    window=st.none() | st.integers(1, 12),
)
def test_a_token_sees_itself_and_those_before_it_in_the_window(starts, num_tokens, window):
    found = reading(starts, num_tokens, cached=True)
    view = found.view(window)
    num_slots = found.num_slots - view.first_slot

    mask = view.explicit_mask(num_tokens, num_slots, CPU)

    mask = torch.ones(num_tokens, num_slots, dtype=torch.bool) if mask is None else mask
    for row, start in enumerate(starts):
        seen_TS = mask if mask.ndim == 2 else mask[row, 0]
        for token in range(num_tokens):
            position = start + token
            first = 0 if window is None else max(0, position - window + 1)
            seen = (seen_TS[token].nonzero().flatten() + view.first_slot).tolist()
            assert seen == list(range(first, position + 1))


# ------------------------------------------------------------------ turning


def angles_of(rotary, asked):
    """Tables that remember what was asked of them, and tell positions and regimes apart."""

    def tables(asked_rotary, num_positions, regime):
        asked.append((asked_rotary, num_positions, regime))
        return rotary.tables(num_positions, regime)

    return tables


def turned(found, rotary):
    """What one head (1, 0) becomes at each position, as angles of the first pair, (B, T)."""
    x_BTHK = torch.zeros(*torch.atleast_2d(found.positions).shape, 1, 2)
    x_BTHK[..., 0] = 1.0
    x_BTHK = found.rotate(x_BTHK, rotary)
    return torch.atan2(x_BTHK[..., 0, 1], x_BTHK[..., 0, 0])


def test_without_positions_nothing_turns():
    x_BTHK = torch.randn(1, 2, 1, 4)

    assert reading([3], 2).rotate(x_BTHK, None) is x_BTHK


@pytest.mark.parametrize(
    ("starts", "expected"),
    [([0], [[0.0, 1.0]]), ([2], [[2.0, 3.0]]), ([2, 0], [[2.0, 3.0], [0.0, 1.0]])],
)
def test_each_token_turns_by_its_position(starts, expected):
    rotary, asked = Rotary(100.0, 2), []
    found = reading(starts, 2, tables=angles_of(rotary, asked))

    torch.testing.assert_close(turned(found, rotary), torch.tensor(expected))
    turned(found, rotary)
    assert asked == [(rotary, max(starts) + 2, 0)]  # once for all layers


def test_each_row_turns_as_its_whole_length_says():
    """Row 0 is a text of 3 tokens, row 1 a chunk of one that will have 9."""
    scaling = LongRopeScaling(short_factors=(1.0,), long_factors=(4.0,), original_context_tokens=4)
    rotary, asked = Rotary(100.0, 2, scaling), []
    found = reading([1, 1], 2, lengths=[3, 9], tables=angles_of(rotary, asked))

    expected = torch.tensor([[1.0, 2.0], [0.25, 0.5]])
    torch.testing.assert_close(turned(found, rotary), expected)
    assert [regime for _, _, regime in asked] == [0, 1]


def test_rows_of_one_regime_share_their_tables():
    scaling = DynamicScaling(factor=2.0, original_context_tokens=100)
    rotary, asked = Rotary(100.0, 4, scaling), []
    found = reading([1, 0], 2, lengths=[3, 50], tables=angles_of(rotary, asked))

    found.rotate(torch.zeros(2, 2, 1, 4), rotary)

    assert [regime for _, _, regime in asked] == [100]
