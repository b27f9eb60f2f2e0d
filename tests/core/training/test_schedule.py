"""schedule: worked by hand, then its bounds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmctl.core.training.schedule import Schedule, evenly_spread


@pytest.mark.parametrize(
    ("num_steps", "warmup", "cooldown", "expected"),
    [
        pytest.param(4, 0.5, 0.5, [0.5, 1, 1, 0.5], id="up, top, down"),
        pytest.param(4, 0.0, 0.0, [1, 1, 1, 1], id="neither rise nor fall"),
        pytest.param(4, 1.0, 0.0, [0.25, 0.5, 0.75, 1], id="all rise"),
        pytest.param(4, 0.0, 1.0, [1, 0.75, 0.5, 0.25], id="all fall"),
        pytest.param(4, 1.0, 1.0, [0.25, 0.5, 0.5, 0.25], id="both, the lower one counts"),
        pytest.param(1, 0.02, 0.6, [1], id="a single step is taken whole"),
    ],
)
def test_factors_by_hand(num_steps, warmup, cooldown, expected):
    schedule = Schedule(num_steps, warmup, cooldown)

    assert [schedule.factor(step) for step in range(num_steps)] == pytest.approx(expected)


@given(
    num_steps=st.integers(1, 500),
    warmup=st.floats(0, 1),
    cooldown=st.floats(0, 1),
    data=st.data(),
)
def test_a_factor_is_above_0_and_at_most_1(num_steps, warmup, cooldown, data):
    step = data.draw(st.integers(0, num_steps - 1))

    assert 0 < Schedule(num_steps, warmup, cooldown).factor(step) <= 1


@pytest.mark.parametrize("step", [-1, 4])
def test_a_step_outside_the_training_is_refused(step):
    with pytest.raises(ValueError, match=rf"step {step} is outside 0 … 3"):
        Schedule(4, 0.1, 0.5).factor(step)


@pytest.mark.parametrize(
    ("count", "num_steps", "expected"),
    [
        pytest.param(4, 8, {2, 4, 6, 8}, id="evenly"),
        pytest.param(1, 7, {7}, id="one: the last"),
        pytest.param(0, 7, set(), id="none"),
        pytest.param(8, 3, {1, 2, 3}, id="no more than there are steps"),
    ],
)
def test_spread_by_hand(count, num_steps, expected):
    assert evenly_spread(count, num_steps) == expected


@given(count=st.integers(1, 50), num_steps=st.integers(1, 500))
def test_spread_numbers_are_steps_and_end_with_the_last(count, num_steps):
    found = evenly_spread(count, num_steps)

    assert max(found) == num_steps
    assert min(found) >= 1
    assert len(found) == min(count, num_steps)
