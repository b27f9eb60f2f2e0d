"""Mixing and sampling: by hand, then conservation, independence of order, shares and caps."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmctl.core.clean_plan import MixPlan
from llmctl.core.cleaning.mixing import Mixer, Sampler, copy_id, draw
from llmctl.core.errors import RecipeError

HALF = 1 << 63


def decided(plan, documents, sources=("a", "b")):
    """Decide about documents given as source, draw and characters."""
    columns = list(zip(*documents, strict=True)) or [(), (), ()]
    return Mixer(MixPlan.model_validate(plan), sources).decide(
        np.array(columns[0], np.int64), np.array(columns[1], np.uint64), np.array(columns[2], int)
    )


def copies_of_one(weight, share):
    document = (0, min(int(share * 2**64), 2**64 - 1), 10)
    return decided({"weights": {"a": weight}}, [document]).copies_D.tolist()[0]


@pytest.mark.parametrize(
    ("weight", "share", "copies"),
    [
        (1, 0.0, 1),
        (1, 1.0, 1),
        (0, 0.0, 0),
        (0.5, 0.49, 1),
        (0.5, 0.5, 0),
        (0.5, 1.0, 0),
        (2, 0.0, 2),
        (2, 1.0, 2),
        (2.25, 0.24, 3),
        (2.25, 0.25, 2),
    ],
)
def test_copies_by_hand(weight, share, copies):
    assert copies_of_one(weight, share) == copies


def test_who_is_dropped_is_told_why():
    decision = decided({"weights": {"a": 0.25}}, [(0, HALF, 10), (0, 0, 10), (1, HALF, 10)])

    assert decision.copies_D.tolist() == [0, 1, 1]
    assert decision.lacks_weight_D.tolist() == [True, False, False]
    assert decision.is_over_D.tolist() == [False, False, False]
    assert (decision.values_D[0], decision.thresholds_D[0]) == (0.5, 0.25)


def test_a_cap_counts_copies_and_tells_the_characters():
    plan = {"weights": {"a": 2}, "max_characters": {"a": 50}}
    decision = decided(plan, [(0, 1, 10), (0, 2, 10), (0, 3, 10), (1, 4, 99)])

    assert sorted(decision.copies_D.tolist()[:3]) == [0, 2, 2]
    assert decision.copies_D[3] == 1
    (dropped,) = np.flatnonzero(decision.is_over_D)
    assert (decision.values_D[dropped], decision.thresholds_D[dropped]) == (60, 50)


def test_a_document_above_the_cap_does_not_keep_the_others_out():
    for seed in range(20):
        documents = [
            (0, draw(seed, name), size) for name, size in (("x", 99), ("y", 30), ("z", 20))
        ]
        decision = decided({"max_characters": {"a": 50}}, documents)

        assert decision.copies_D.tolist() == [0, 1, 1]
        assert decision.values_D[0] == 99


def test_what_fills_a_cap_is_not_what_a_weight_takes_twice():
    documents = [(0, draw(1, str(number)), 10) for number in range(4000)]
    decision = decided({"weights": {"a": 1.5}, "max_characters": {"a": 15_000}}, documents)
    kept = decision.copies_D[decision.copies_D > 0]

    assert kept.mean() == pytest.approx(1.5, abs=4 * 0.5 / math.sqrt(1000))


@pytest.mark.parametrize(
    ("patterns", "weights"),
    [
        ({"web/*": 0.5}, {"web/a.txt": 0.5, "web/b/c.txt": 0.5}),
        ({"web": 0.5}, {"web/a.txt": 0.5, "web/b/c.txt": 0.5}),
        ({"web/": 0.5}, {"web/a.txt": 0.5, "web/b/c.txt": 0.5}),
        (
            {"*": 3, "web/*": 2, "web/a.txt": 0.5},
            {"web/a.txt": 0.5, "web/b/c.txt": 2, "x[1].md": 3},
        ),
        (
            {"web/a.txt": 0.5, "web/*": 2, "*": 3},
            {"web/a.txt": 0.5, "web/b/c.txt": 2, "x[1].md": 3},
        ),
        ({"web/a.txt": 0.5, "web/*********": 2}, {"web/a.txt": 0.5, "web/b/c.txt": 2}),
        ({"x[1].md": 0}, {"x[1].md": 0}),
        ({"we*": 2, "*.txt": 3}, {"web/a.txt": 3, "web/b/c.txt": 3}),
        ({"b*t": 2, "*.md": 4, "?[[]1].md": 5}, {"x[1].md": 5}),
    ],
)
def test_which_pattern_counts(patterns, weights):
    sources = ["web/a.txt", "web/b/c.txt", "x[1].md", "bt"]
    mixer = Mixer(MixPlan(weights=patterns), sources)
    expected = dict.fromkeys(sources, 1.0) | weights
    decision = mixer.decide(np.arange(3), np.zeros(3, np.uint64), np.ones(3, int))

    assert decision.copies_D.tolist() == [math.ceil(expected[source]) for source in sources[:3]]


@pytest.mark.parametrize("key", ["weights", "max_characters"])
def test_a_pattern_without_a_source_is_refused(key):
    plan = MixPlan.model_validate({key: {"wen/*": 1}})

    with pytest.raises(
        RecipeError, match=rf"clean\.mix\.{key}: 'wen/\*' .* web/a\.txt, web/b\.txt"
    ):
        Mixer(plan, ["web/a.txt", "web/b.txt"])
    with pytest.raises(RecipeError, match="there are none"):
        Mixer(plan, [])


def test_a_cap_on_a_glob_is_on_all_its_sources_together():
    documents = [(number % 2, draw(1, str(number)), 10) for number in range(100)]
    together = decided({"max_characters": {"*": 300}}, documents)
    own = decided({"max_characters": {"*": 300, "b": 50}}, documents)

    assert together.copies_D.sum() == 30
    assert own.copies_D[1::2].sum() == 5
    assert own.copies_D[0::2].sum() == 30


DOCUMENTS = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 2**64 - 1), st.integers(0, 1000)), max_size=50
)
PLANS = st.fixed_dictionaries(
    {
        "weights": st.dictionaries(st.sampled_from(["a", "b", "*"]), st.floats(0, 4)),
        "max_characters": st.dictionaries(st.sampled_from(["a", "b", "*"]), st.integers(1, 9000)),
    }
)


@given(PLANS, DOCUMENTS)
def test_nothing_is_lost_and_no_cap_exceeded(plan, documents):
    decision = decided(plan, documents)
    num_kept = int((decision.copies_D > 0).sum())
    dropped = decision.lacks_weight_D | decision.is_over_D

    assert num_kept + decision.lacks_weight_D.sum() + decision.is_over_D.sum() == len(documents)
    assert ((decision.copies_D == 0) == dropped).all()
    assert (decision.values_D[decision.is_over_D] > decision.thresholds_D[decision.is_over_D]).all()
    lacking = decision.lacks_weight_D
    assert (decision.values_D[lacking] >= decision.thresholds_D[lacking]).all()
    written = [
        copies * size
        for copies, (_, _, size) in zip(decision.copies_D.tolist(), documents, strict=True)
    ]
    for number, name in enumerate("ab"):
        cap = plan["max_characters"].get(name, plan["max_characters"].get("*", math.inf))
        assert sum(w for w, d in zip(written, documents, strict=True) if d[0] == number) <= cap
    if list(plan["max_characters"]) == ["*"]:
        assert sum(written) <= plan["max_characters"]["*"]


@given(PLANS, DOCUMENTS, st.randoms())
def test_the_order_of_documents_changes_nothing(plan, documents, generator):
    shuffled = documents[:]
    generator.shuffle(shuffled)

    def outcome(given_documents):
        copies = decided(plan, given_documents).copies_D.tolist()
        return sorted(zip(given_documents, copies, strict=True))

    assert outcome(shuffled) == outcome(documents)


@given(DOCUMENTS)
def test_weight_one_keeps_all_and_zero_none(documents):
    assert (decided({}, documents).copies_D == 1).all()
    assert (decided({"weights": {"*": 1}}, documents).copies_D == 1).all()
    assert (decided({"weights": {"*": 0}}, documents).copies_D == 0).all()


@pytest.mark.parametrize("weight", [0.3, 1.7])
def test_about_the_right_share_is_kept(weight):
    num_documents = 20_000
    documents = [(0, draw(7, f"doc:{number}"), 1) for number in range(num_documents)]
    share = decided({"weights": {"a": weight}}, documents).copies_D.mean()
    part = weight % 1
    deviation = math.sqrt(part * (1 - part) / num_documents)

    assert abs(share - weight) < 4 * deviation


@given(DOCUMENTS, st.floats(0, 2), st.floats(0, 2))
def test_more_weight_takes_no_copy_away(documents, one, other):
    low, high = (decided({"weights": {"a": w}}, documents) for w in sorted((one, other)))

    assert (low.copies_D <= high.copies_D).all()


def test_draw_is_the_same_everywhere():
    assert draw(1, "文.txt:1") == 2036793138573619292
    assert draw(1, "a") != draw(2, "a")
    assert draw(1, "\ud800") != draw(1, "\ud801")


def test_ids_of_copies():
    assert [copy_id("x", number) for number in (1, 2, 3)] == ["x", "x#2", "x#3"]


@given(
    st.lists(st.lists(st.integers(0, 60) | st.integers(0, 2**64 - 1), max_size=20), max_size=12),
    st.integers(1, 30),
    st.randoms(),
)
def test_units_in_any_order_give_the_sample_of_all(units, size, generator):
    draws = sorted(draw for unit in units for draw in unit)
    generator.shuffle(units)
    sampler = Sampler(size)
    for unit in units:
        sampler.merge(np.array(sorted(unit)[:size], np.uint64), len(unit))

    assert sampler.num_seen == len(draws)
    assert sampler.threshold == (draws[size - 1] if len(draws) >= size else 2**64 - 1)
