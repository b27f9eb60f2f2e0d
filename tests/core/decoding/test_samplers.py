"""The filters by hand, then what is drawn: how often, and from what it does not depend."""

import math
from collections import Counter

import pytest
import torch

from llmctl.core.decoding import candidates
from llmctl.core.decoding.samplers import (
    choose,
    filter_logits,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    keep_typical_p,
    uniform,
    with_temperature,
)
from llmctl.core.errors import UsageError
from llmctl.core.recipe import GeneratePlan, generation_plan

UNFILTERED = GeneratePlan(temperature=1.0, top_p=None)


def logits_of(*probabilities):
    return torch.tensor([probabilities]).log()


def kept(logits_BV):
    return [token for token, logit in enumerate(logits_BV[0].tolist()) if logit > -math.inf]


@pytest.mark.parametrize(
    ("k", "expected"),
    [
        pytest.param(1, [2], id="the likeliest"),
        pytest.param(2, [0, 1, 2], id="a tie stays whole"),
        pytest.param(99, [0, 1, 2, 3], id="more than there are"),
    ],
)
def test_top_k(k, expected):
    assert kept(keep_top_k(logits_of(0.2, 0.2, 0.5, 0.1), k)) == expected


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        pytest.param(0.45, [1], id="one is enough"),
        pytest.param(0.55, [1, 3], id="the second is needed"),
        pytest.param(1e-9, [1], id="never none"),
        pytest.param(1.0, [0, 1, 2, 3], id="all"),
    ],
)
def test_top_p(p, expected):
    assert kept(keep_top_p(logits_of(0.15, 0.5, 0.05, 0.3), p)) == expected


def test_top_p_keeps_ties_whole():
    assert kept(keep_top_p(logits_of(0.25, 0.25, 0.25, 0.25), 0.5)) == [0, 1, 2, 3]
    assert kept(keep_top_p(logits_of(0.2, 0.6, 0.2), 0.7)) == [0, 1, 2]
    assert kept(keep_top_p(logits_of(0.2, 0.6, 0.2), 0.55)) == [1]


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        # The entropy is 0.90 nats; the surprises are 0.51, 1.20, 2.30, so 0.3 is the nearest.
        pytest.param(0.2, [1], id="not the likeliest but the most typical"),
        pytest.param(0.5, [0, 1], id="the likeliest is the next nearest"),
        pytest.param(0.95, [0, 1, 2], id="all are needed"),
        pytest.param(1.0, [0, 1, 2], id="all are asked for"),
    ],
)
def test_typical_p(p, expected):
    assert kept(keep_typical_p(logits_of(0.6, 0.3, 0.1), p)) == expected


@pytest.mark.parametrize(
    ("min_p", "expected"),
    [(0.5, [1, 3]), (0.2, [0, 1, 3]), (1.0, [1]), (0.0, [0, 1, 2, 3])],
)
def test_min_p(min_p, expected):
    assert kept(keep_min_p(logits_of(0.15, 0.5, 0.05, 0.3), min_p)) == expected


def test_temperature_divides():
    cooled = with_temperature(logits_of(0.8, 0.2), 0.5).softmax(-1)[0].tolist()

    assert cooled == pytest.approx([0.64 / 0.68, 0.04 / 0.68])


def test_a_tiny_temperature_is_greedy_not_nan():
    probabilities = with_temperature(torch.tensor([[1e4, -1e4, 9e3]]), 1e-300).softmax(-1)

    assert probabilities.tolist() == [[1, 0, 0]]


def test_temperature_must_be_positive():
    with pytest.raises(ValueError, match="expected a positive temperature, got 0"):
        with_temperature(torch.zeros(1, 2), 0)


def test_filters_run_in_order():
    # Heated first, so that top-p sees 0.37, 0.33, 0.30 and needs all three; cold it needs one.
    logits = logits_of(0.7, 0.2, 0.1)
    plan = GeneratePlan(temperature=10.0, top_p=0.69)
    assert kept(filter_logits(logits, plan)) == [0, 1]
    # After top-k two are left, with 0.78 and 0.22; among three top-p 0.75 would need the second.
    assert kept(filter_logits(logits, GeneratePlan(temperature=1.0, top_k=2, top_p=0.75))) == [0]


def test_the_plan_gives_the_order():
    logits = logits_of(0.7, 0.2, 0.1)
    plan = GeneratePlan(temperature=10.0, top_p=0.69)

    assert kept(filter_logits(logits, plan)) == [0, 1]
    turned = plan.model_copy(update={"samplers": ("top_p", "temperature")})
    assert kept(filter_logits(logits, turned)) == [0]
    without = plan.model_copy(update={"samplers": ("temperature",)})
    assert kept(filter_logits(logits, without)) == [0, 1, 2]


def test_an_order_names_known_samplers_once():
    with pytest.raises(UsageError, match=r"samplers: .*top_p is named twice"):
        generation_plan(samplers=("top_p", "temperature", "top_p"))
    with pytest.raises(UsageError, match=r"samplers.0: .*'temperature', 'top_k', .* found 'top_q'"):
        generation_plan(samplers=("top_q",))


FILTERS = {
    "top-k": {"top_k": 5},
    "many": {"top_k": 20, "top_p": 0.8, "min_p": 0.01},
    "top-p": {"top_p": 0.6},
    "top-p, flat": {"top_p": 0.9, "temperature": 3.0},
    "min-p": {"min_p": 0.05},
    "min-p, flat": {"min_p": 0.1, "temperature": 2.0},
    "min-p, nearly all": {"min_p": 1e-4},
    "warm last": {
        "top_k": 30,
        "top_p": 0.9,
        "min_p": 0.02,
        "temperature": 2.0,
        "samplers": ("min_p", "top_p", "temperature", "top_k"),
    },
    "more than the candidates": {"top_k": 300},
    "typical": {"typical_p": 0.7},
}


@pytest.mark.parametrize("settings", FILTERS.values(), ids=FILTERS.keys())
@pytest.mark.parametrize("step", [0.0, 0.5], ids=["all different", "with ties"])
def test_few_candidates_choose_as_the_whole_vocabulary_does(settings, step, monkeypatch):
    plan = GeneratePlan(**{"temperature": 1.0, "top_p": None, **settings})
    logits_BV = torch.randn(40, 1000, generator=torch.Generator().manual_seed(0)) * 3
    if step:
        logits_BV = (logits_BV / step).round() * step
    draws = [(row, 0) for row in range(40)]
    monkeypatch.setattr(candidates, "WIDTHS", (8, 64))
    few = choose(logits_BV, plan, 5, draws)
    kept_BV = filter_logits(logits_BV, plan) > -math.inf
    for places, ids_BC, weights_BC in candidates.likely_candidates(logits_BV, plan):
        found_BV = torch.zeros_like(kept_BV)
        found_BV[places[:, None], ids_BC] = weights_BC > 0
        assert torch.equal(found_BV[places], kept_BV[places])

    monkeypatch.setattr(candidates, "WIDTHS", ())
    assert few == choose(logits_BV, plan, 5, draws)


def test_few_candidates_are_enough_for_peaked_logits():
    logits_BV = torch.randn(4, 5000, generator=torch.Generator().manual_seed(0)) * 6
    plan = GeneratePlan(temperature=1.0, top_p=0.9)

    settled = [places.tolist() for places, _, _ in candidates.likely_candidates(logits_BV, plan)]

    assert settled[0] == [0, 1, 2, 3]


def test_temperature_zero_takes_the_likeliest():
    plan = GeneratePlan(temperature=0.0)

    assert choose(torch.tensor([[1.0, 3, 2], [5, 4, 3]]), plan, 0, [(0, 0), (1, 0)]) == [1, 0]


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        pytest.param(UNFILTERED, [0.4, 0.3, 0.2, 0.1], id="as the model says"),
        pytest.param(
            GeneratePlan(temperature=1.0, top_p=None, top_k=2), [4 / 7, 3 / 7, 0, 0], id="top-k"
        ),
    ],
)
def test_draws_follow_the_distribution(plan, expected):
    num_draws = 4000
    logits_BV = logits_of(0.4, 0.3, 0.2, 0.1).expand(num_draws, -1)
    rows = [(row % 40, row // 40) for row in range(num_draws)]

    counts = Counter(choose(logits_BV, plan, 7, rows))

    assert all(counts[token] == 0 for token, share in enumerate(expected) if share == 0)
    chi_square = sum(
        (counts[token] - share * num_draws) ** 2 / (share * num_draws)
        for token, share in enumerate(expected)
        if share > 0
    )
    assert chi_square < 16.27, "beyond the 99.9 % quantile for 3 degrees of freedom"


def test_a_draw_does_not_depend_on_the_batch():
    logits_BV = torch.randn(6, 50, generator=torch.Generator().manual_seed(0))
    draws = [(row, 11) for row in range(6)]

    together = choose(logits_BV, UNFILTERED, 3, draws)

    assert together == [
        choose(logits_BV[row : row + 1], UNFILTERED, 3, [draws[row]])[0] for row in range(6)
    ]


def test_numbers_differ_by_seed_row_and_position_and_are_fixed_for_ever():
    found = {uniform(seed, row, at) for seed in range(5) for row in range(5) for at in range(5)}

    assert len(found) == 125
    assert all(0 <= number < 1 for number in found)
    # A change would change what every recorded seed writes.
    assert uniform(1, 2, 3) == PINNED


PINNED = 0.360468362910245


def test_samples_have_numbers_of_their_own_and_the_first_is_as_without():
    assert uniform(1, 2, 3, 0) == PINNED
    assert len({uniform(1, 2, 3, sample) for sample in range(20)}) == 20


def test_the_largest_number_never_draws_a_dropped_token(monkeypatch):
    monkeypatch.setattr("llmctl.core.decoding.samplers.uniform", lambda *_draw: 1 - 2.0**-52)
    logits_BV = torch.randn(200, 1000, generator=torch.Generator().manual_seed(0))
    logits_BV[:, 500:] = -math.inf

    assert max(choose(logits_BV, UNFILTERED, 0, [(0, 0)] * 200)) < 500


def test_the_smallest_number_never_draws_a_dropped_token(monkeypatch):
    monkeypatch.setattr("llmctl.core.decoding.samplers.uniform", lambda *_draw: 0.0)
    logits_BV = torch.tensor([[-math.inf, -math.inf, 1.0, 2.0]])

    assert choose(logits_BV, UNFILTERED, 0, [(0, 0)]) == [2]
