"""Each way of stretching rotary frequencies: by hand, then beside the papers' formulas in NumPy."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from llmctl.core.model.rotary import Rotary
from llmctl.core.model.rotary_scaling import (
    DynamicScaling,
    LinearScaling,
    Llama3Scaling,
    LongRopeScaling,
    RotaryScaling,
    YarnScaling,
    plain_frequencies,
)

ORIGINAL = 1000
LLAMA3 = Llama3Scaling(
    factor=8.0,
    low_frequency_factor=1.0,
    high_frequency_factor=4.0,
    original_context_tokens=ORIGINAL,
)
LONGROPE = LongRopeScaling(
    short_factors=(1.0, 2.0), long_factors=(4.0, 5.0), original_context_tokens=ORIGINAL
)


def yarn(**changes):
    values = {
        "factor": 4.0,
        "fast_turns": 32.0,
        "slow_turns": 1.0,
        "original_context_tokens": ORIGINAL,
        "is_truncated": True,
    }
    return YarnScaling(**(values | changes))


def frequencies(scaling, base=10_000.0, num_dimensions=8, num_tokens=1):
    return scaling.frequencies(base, num_dimensions, scaling.regime(num_tokens)).tolist()


# ------------------------------------------------------------------ by hand


def test_plain_by_hand():
    assert plain_frequencies(10_000.0, 8).tolist() == pytest.approx([1.0, 0.1, 0.01, 0.001])
    assert plain_frequencies(16.0, 4).tolist() == [1.0, 0.25]
    assert frequencies(RotaryScaling()) == plain_frequencies(10_000.0, 8).tolist()


def test_linear_by_hand():
    assert frequencies(LinearScaling(factor=4.0)) == pytest.approx([0.25, 0.025, 0.0025, 0.00025])


@pytest.mark.parametrize(
    ("num_tokens", "stretch"),
    [
        pytest.param(1, 1, id="short"),
        pytest.param(ORIGINAL, 1, id="as long as the original context"),
        pytest.param(2 * ORIGINAL, 5, id="twice: 4 * 2 - 3"),
        pytest.param(4 * ORIGINAL, 13, id="four times: 4 * 4 - 3"),
    ],
)
def test_dynamic_by_hand(num_tokens, stretch):
    scaling = DynamicScaling(factor=4.0, original_context_tokens=ORIGINAL)

    # The base times stretch^(8 / 6): its i-th frequency divided by stretch^(i / 3).
    expected = [10.0**-i / stretch ** (i / 3) for i in range(4)]
    assert frequencies(scaling, num_tokens=num_tokens) == pytest.approx(expected)


def test_dynamic_goes_from_the_plain_frequencies_to_the_slowest_divided_by_the_stretch():
    scaling = DynamicScaling(factor=1.0, original_context_tokens=ORIGINAL)

    found = frequencies(scaling, num_tokens=3 * ORIGINAL)

    plain = plain_frequencies(10_000.0, 8).tolist()
    assert found[0] == plain[0]
    assert found[-1] == pytest.approx(plain[-1] / 3)


def test_llama3_by_hand():
    # Turns within 1,000 tokens: 159, 15.9 (both kept), 1.59 (between 1 and 4), 0.159 (divided).
    kept = (10 / (2 * math.pi) - 1) / 3
    between = kept * 0.01 + (1 - kept) * 0.01 / 8

    assert frequencies(LLAMA3) == pytest.approx([1.0, 0.1, between, 0.001 / 8])


def test_yarn_by_hand():
    # Of 8 dimensions, 32 turns are made at 8 ln(1000 / 64π) / (2 ln 10000) = 0.697, down to 0;
    # one turn at 8 ln(1000 / 2π) / (2 ln 10000) = 2.202, up to 3: a ramp of 0, 1/3, 2/3, 1.
    expected = [
        1.0,
        0.1 * (1 / 3 / 4 + 2 / 3),
        0.01 * (2 / 3 / 4 + 1 / 3),
        0.001 / 4,
    ]
    assert frequencies(yarn()) == pytest.approx(expected)


def test_yarn_that_is_not_truncated_by_hand():
    low, high = (
        8 * math.log(ORIGINAL / (turns * 2 * math.pi)) / (2 * math.log(10_000)) for turns in (32, 1)
    )
    ramp = [min(max((i - low) / (high - low), 0), 1) for i in range(4)]
    expected = [10.0**-i * (share / 4 + 1 - share) for i, share in enumerate(ramp)]

    assert 0 < ramp[1] < ramp[2] < ramp[3] == 1
    assert frequencies(yarn(is_truncated=False)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("original", "expected"),
    [
        pytest.param(10**9, [1, 0.1, 0.01, 0.001], id="all turn many times: kept"),
        # The ramp begins and ends at the first dimension, which makes not one turn either.
        pytest.param(4, [1, 0.1 / 4, 0.01 / 4, 0.001 / 4], id="none turns once: divided"),
    ],
)
def test_yarn_at_its_ends(original, expected):
    found = frequencies(yarn(original_context_tokens=original))

    assert found == pytest.approx(expected)


def test_longrope_by_hand():
    within, beyond = (
        frequencies(LONGROPE, base=100.0, num_dimensions=4, num_tokens=num_tokens)
        for num_tokens in (ORIGINAL, ORIGINAL + 1)
    )

    assert within == pytest.approx([1.0, 0.1 / 2])
    assert beyond == pytest.approx([1 / 4, 0.1 / 5])


# ------------------------------------------------------------------ regimes


@pytest.mark.parametrize(
    ("scaling", "expected"),
    [
        (RotaryScaling(), [0, 0, 0, 0]),
        (LinearScaling(factor=2.0), [0, 0, 0, 0]),
        (LLAMA3, [0, 0, 0, 0]),
        (yarn(), [0, 0, 0, 0]),
        (LONGROPE, [0, 0, 1, 1]),
        (
            DynamicScaling(factor=2.0, original_context_tokens=ORIGINAL),
            [ORIGINAL, ORIGINAL, ORIGINAL + 1, 5000],
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_of_the_length_decides(scaling, expected):
    assert [scaling.regime(tokens) for tokens in (1, ORIGINAL, ORIGINAL + 1, 5000)] == expected


def test_the_attention_factor_multiplies_cosines_and_sines():
    plain, scaled = (
        Rotary(100.0, 4, scaling).tables(5)
        for scaling in (RotaryScaling(), RotaryScaling(attention_factor=1.5))
    )

    for table, larger in zip(plain, scaled, strict=True):
        torch.testing.assert_close(larger, 1.5 * table)


def test_tables_are_made_of_the_regime_s_frequencies():
    rotary = Rotary(100.0, 4, LONGROPE)

    for regime, factors in ((0, (1.0, 2.0)), (1, (4.0, 5.0))):
        cosines, signed_sines = rotary.tables(3, regime)
        angles = [2 / factors[0], 0.2 / factors[1]]
        assert cosines[2].tolist() == pytest.approx([math.cos(angle) for angle in angles * 2])
        assert signed_sines[2].tolist() == pytest.approx(
            [-math.sin(angle) for angle in angles] + [math.sin(angle) for angle in angles]
        )


# ------------------------------------------------------------------ beside the formulas


def numpy_llama3(scaling, base, num_dimensions):
    """Meta's code for Llama 3.1, wave by wave, in float64."""
    found = []
    for frequency in base ** (-np.arange(0, num_dimensions, 2) / num_dimensions):
        wave_tokens = 2 * np.pi / frequency
        if wave_tokens < scaling.original_context_tokens / scaling.high_frequency_factor:
            found.append(frequency)
        elif wave_tokens > scaling.original_context_tokens / scaling.low_frequency_factor:
            found.append(frequency / scaling.factor)
        else:
            smooth = scaling.original_context_tokens / wave_tokens - scaling.low_frequency_factor
            smooth /= scaling.high_frequency_factor - scaling.low_frequency_factor
            found.append((1 - smooth) * frequency / scaling.factor + smooth * frequency)
    return np.array(found)


def numpy_yarn(scaling, base, num_dimensions):
    """Peng et al. 2023, equations 13 and 17, with γ a ramp over the dimensions' numbers."""
    plain = base ** (-np.arange(0, num_dimensions, 2) / num_dimensions)
    ends = [
        num_dimensions
        * np.log(scaling.original_context_tokens / (2 * np.pi * turns))
        / (2 * np.log(base))
        for turns in (scaling.fast_turns, scaling.slow_turns)
    ]
    if scaling.is_truncated:
        ends = [np.floor(ends[0]), np.ceil(ends[1])]
    low, high = max(ends[0], 0), min(ends[1], num_dimensions - 1)
    gamma = 1 - np.clip((np.arange(num_dimensions // 2) - low) / (high - low or 0.001), 0, 1)
    return (1 - gamma) * plain / scaling.factor + gamma * plain


FACTORS = st.floats(1.0, 64.0)
BASES = st.floats(10.0, 1e7)
DIMENSIONS = st.integers(2, 64).map(lambda half: 2 * half)
CONTEXTS = st.integers(64, 200_000)


@settings(max_examples=40, deadline=None)
@given(FACTORS, st.floats(0.1, 4.0), st.floats(0.5, 40.0), CONTEXTS, BASES, DIMENSIONS)
def test_llama3_is_meta_s(factor, low, spread, context, base, num_dimensions):
    scaling = Llama3Scaling(
        factor=factor,
        low_frequency_factor=low,
        high_frequency_factor=low + spread,
        original_context_tokens=context,
    )

    found = scaling.frequencies(base, num_dimensions, 0).numpy()

    np.testing.assert_allclose(found, numpy_llama3(scaling, base, num_dimensions), rtol=2e-5)


@settings(max_examples=40, deadline=None)
@given(FACTORS, st.floats(2.0, 64.0), st.booleans(), CONTEXTS, BASES, DIMENSIONS)
def test_yarn_is_the_paper_s(factor, fast_turns, is_truncated, context, base, num_dimensions):
    scaling = yarn(
        factor=factor,
        fast_turns=fast_turns,
        original_context_tokens=context,
        is_truncated=is_truncated,
    )

    found = scaling.frequencies(base, num_dimensions, 0).numpy()

    np.testing.assert_allclose(found, numpy_yarn(scaling, base, num_dimensions), rtol=2e-5)


@pytest.mark.parametrize("scaling", [LLAMA3, yarn(), yarn(is_truncated=False)])
def test_frequencies_lie_between_the_plain_ones_and_those_divided(scaling):
    plain = plain_frequencies(500_000.0, 128)
    found = scaling.frequencies(500_000.0, 128, 0)

    assert (found <= plain * 1.00001).all()
    assert (found >= plain / scaling.factor * 0.99999).all()
    assert (found.diff() < 0).all()
    assert found[0] == plain[0]
    torch.testing.assert_close(found[-1], plain[-1] / scaling.factor)
