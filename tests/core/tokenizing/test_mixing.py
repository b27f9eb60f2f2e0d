"""Mixing: weights and epochs by hand, then shares, growth and orders, then refusals."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmctl.core.errors import RecipeError
from llmctl.core.tokenize_plan import TokenizePlan
from llmctl.core.tokenizing.mixing import MixedGroup, MixGroup, order, plan_mix, repetitions

WIKI = MixGroup("wiki", "dump/en.jsonl", 100)
BOOKS = MixGroup("books", "novels", 400)
POEMS = MixGroup("books", "诗/唐", 50)
INCREMENT = 0x9E3779B97F4A7C15


def planned(mix, groups=(WIKI, BOOKS, POEMS)):
    return plan_mix(TokenizePlan.model_validate({"mix": mix}), groups)


def epochs(mix, groups=(WIKI, BOOKS, POEMS)):
    return [group.epochs for group in planned(mix, groups)]


def contents(numbers):
    return np.array(list(numbers), dtype=np.uint64)


@pytest.mark.parametrize(
    ("mix", "expected"),
    [
        pytest.param({}, [1, 1, 1], id="as it is"),
        pytest.param({"wiki": {"epochs": 2.5}}, [2.5, 1, 1], id="epochs alone, exactly"),
        pytest.param({"wiki": {"epochs": 0.5}}, [0.5, 1, 1], id="epochs below one"),
        # 100 tokens of wiki allow 100 of books, which are 450.
        pytest.param(
            {"wiki": {"weight": 2}, "books": {"weight": 2}}, [1, 100 / 450, 100 / 450], id="even"
        ),
        # Wiki may give 300; books, for three times that, would need two epochs.
        pytest.param(
            {"wiki": {"weight": 1, "epochs": 3}, "books": {"weight": 3}},
            [1.5, 1, 1],
            id="the other one bounds",
        ),
        pytest.param({"novels": {"weight": 7}}, [1, 1, 1], id="a weight alone says nothing"),
        pytest.param({"novels": {"weight": 7, "epochs": 3}}, [1, 3, 1], id="but its epochs do"),
        pytest.param(
            {"novels": {"weight": 8}, "诗": {"weight": 2}, "wiki": {"epochs": 2}},
            [2, 0.5, 1],
            id="weights share among themselves",
        ),
        pytest.param({"诗/*": {"epochs": 3}}, [1, 1, 3], id="a pattern of a source"),
        pytest.param({"*": {"epochs": 3}}, [3, 3, 3], id="a pattern of all"),
        pytest.param({"dump": {"epochs": 3}}, [3, 1, 1], id="a directory"),
        pytest.param({"dump/": {"epochs": 3}}, [3, 1, 1], id="a directory, said to be one"),
        pytest.param(
            {"*": {"epochs": 9}, "bo*": {"epochs": 3}, "诗/唐": {"epochs": 2}},
            [9, 3, 2],
            id="the most exact name",
        ),
        pytest.param(
            {"books": {"epochs": 3}, "novels": {"epochs": 2}}, [1, 2, 3], id="source over corpus"
        ),
    ],
)
def test_epochs_by_hand(mix, expected):
    assert epochs(mix) == expected
    assert epochs(dict(reversed(mix.items()))) == expected


def test_a_group_tells_its_name_and_tokens():
    found = planned({"books": {"epochs": 0.25}})

    assert found == [
        MixedGroup("wiki", "dump/en.jsonl", None, 1.0, 100),
        MixedGroup("books", "novels", "books", 0.25, 100),
        MixedGroup("books", "诗/唐", "books", 0.25, 12),
    ]


def test_a_name_without_tokens_takes_none_from_others():
    mix = {"a": {"weight": 1}, "b": {"weight": 1}}

    assert epochs(mix, [MixGroup("a", "s", 0), MixGroup("b", "s", 7)]) == [1, 1]


def test_of_patterns_of_one_length_the_first_in_the_alphabet_counts():
    groups = [MixGroup("c", name, 1) for name in ("ab", "bb", "aa")]
    mix = {"a*": {"epochs": 2}, "*b": {"epochs": 3}}

    assert epochs(mix, groups) == epochs(dict(reversed(mix.items())), groups) == [3, 3, 2]


def test_a_glob_character_in_a_name_stands_for_itself():
    assert epochs({"a[1]": {"epochs": 2}}, [MixGroup("a[1]", "s", 7)]) == [2]


@given(
    entries=st.lists(
        st.tuples(
            st.integers(1, 10**9),
            st.floats(1e-3, 1e3),
            st.one_of(st.none(), st.floats(0.1, 20)),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_weights_are_met_and_one_bound_is_reached(entries):
    groups = [MixGroup(f"c{n}", "s", tokens) for n, (tokens, _, _) in enumerate(entries)]
    mix = {f"c{n}": {"weight": w, "epochs": e} for n, (_, w, e) in enumerate(entries)}
    found = epochs(mix, groups)
    per_weight = [
        share * tokens / weight for share, (tokens, weight, _) in zip(found, entries, strict=True)
    ]

    assert per_weight == pytest.approx([per_weight[0]] * len(entries))
    left = [(limit or 1.0) - share for share, (_, _, limit) in zip(found, entries, strict=True)]
    assert min(left) == 0


def test_two_and_a_half_epochs_are_two_and_three_times():
    found = repetitions(contents(range(4000)), np.full(4000, 2.5), seed=1)

    assert set(found.tolist()) == {2, 3}
    # Four standard deviations of 4000 fair coins.
    assert abs(int((found == 3).sum()) - 2000) < 4 * 31.7


@given(
    share=st.floats(0, 4),
    more=st.floats(0, 2),
    numbers=st.lists(st.integers(0, 2**64 - 1), max_size=30),
    seed=st.integers(0, 2**64 - 1),
)
def test_repetitions_are_near_the_epochs_and_only_grow(share, more, numbers, seed):
    found = repetitions(contents(numbers), np.full(len(numbers), share), seed)

    assert set(found.tolist()) <= {int(share), int(share) + (share > int(share))}
    bigger = repetitions(contents(numbers), np.full(len(numbers), share + more), seed)
    assert (bigger >= found).all()
    alone = [
        repetitions(contents([number]), np.array([share]), seed).tolist()[0] for number in numbers
    ]
    assert found.tolist() == alone


def mixed(value):
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    value = (value ^ value >> 27) * 0x94D049BB133111EB % 2**64
    return value ^ value >> 31


def drawn(content, seed, number):
    """SplitMix64's numbers from the first on; its state is the content and the seed, mixed."""
    state = mixed(content ^ mixed((seed + INCREMENT) % 2**64))
    return mixed((state + number * INCREMENT) % 2**64)


def test_the_first_number_drawn_decides_of_the_last_repetition():
    assert mixed(INCREMENT) == 0xE220A8397B1DCDAF  # what SplitMix64 makes of 0
    share = (drawn(7, 5, 1) >> 11) / 2**53
    found = repetitions(contents([7, 7]), np.array([1 + share, 1 + share + 1e-9]), seed=5)

    assert found.tolist() == [1, 2]


def test_the_further_numbers_drawn_order_the_copies():
    def draw(content, copy):
        return drawn(content, 5, copy + 2)

    keys = [
        (draw(7, 0), 0),
        (draw(7, 1), 0),
        (draw(3, 0), 1),
        (draw(7, 2), 3),
        (draw(9, 0), 4),
    ]
    found = order(contents([7, 3, 1, 7, 9]), np.array([2, 1, 0, 1, 1], np.uint32), seed=5)

    assert found.tolist() == [document for _, document in sorted(keys)]


@given(
    documents=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), max_size=20),
    seed=st.integers(0, 2**64 - 1),
)
def test_an_order_has_every_document_as_often_as_it_is_to_be(documents, seed):
    numbers, times = [content for content, _ in documents], [times for _, times in documents]
    found = order(contents(numbers), np.array(times, np.uint32), seed).tolist()

    assert Counter(found) == Counter({n: count for n, count in enumerate(times) if count})


@given(
    numbers=st.lists(st.integers(0, 2**64 - 1), unique=True, max_size=20),
    added=st.lists(st.integers(0, 2**64 - 1), unique=True, max_size=20),
    shuffle=st.randoms(use_true_random=False),
)
def test_an_order_stays_when_the_corpus_grows_or_is_reordered(numbers, added, shuffle):
    def contents_in_order(every):
        times = np.array([1 + number % 3 for number in every], np.uint32)
        return [every[document] for document in order(contents(every), times, 1)]

    every = [*numbers, *set(added) - set(numbers)]
    shuffle.shuffle(every)

    assert [n for n in contents_in_order(every) if n in numbers] == contents_in_order(numbers)


def test_another_seed_gives_another_order_and_another_half():
    numbers, halves = contents(range(1000)), np.full(1000, 0.5)
    once = np.ones(1000, np.uint32)
    first, second = (order(numbers, once, seed) for seed in (0, 1))

    assert abs(np.corrcoef(first, second)[0, 1]) < 0.15
    both = repetitions(numbers, halves, 0) & repetitions(numbers, halves, 1)
    assert abs(int(both.sum()) - 250) < 60


def test_copies_stand_far_from_each_other():
    copied = order(contents(range(100)), np.full(100, 10, np.uint32), 1)
    equal = order(contents([7] * 100), np.full(100, 10, np.uint32), 1)

    # Of 999 neighbours, ten are expected to be one document.
    assert int((np.diff(copied) == 0).sum()) < 25
    assert int((np.diff(equal) == 0).sum()) < 25


def test_a_half_that_is_taken_twice_is_no_part_of_the_order():
    numbers = contents(range(2000))
    found = order(numbers, np.ones(2000, np.uint32), 1)
    taken = repetitions(numbers, np.full(2000, 0.5), 1)[found]

    assert abs(int(taken[:1000].sum()) - 500) < 70


@pytest.mark.parametrize(
    ("mix", "groups", "message"),
    [
        (
            {"wikipedia": {"epochs": 2}},
            (WIKI, BOOKS, POEMS),
            "'wikipedia' stands for no corpus and no source; there are the corpora wiki, books "
            "and the sources dump/en.jsonl, novels, 诗/唐",
        ),
        ({"dum": {"epochs": 2}}, (WIKI,), "'dum' stands for no corpus"),
        ({"x": {"epochs": 2}}, (), "the corpora none and the sources none"),
        (
            {"x": {"epochs": 2}},
            [MixGroup("c", f"s{number}", 1) for number in range(50)],
            "s28, s29 and 20 more",
        ),
        (
            {"wik*": {"epochs": 2}, "wiki": {"epochs": 2}},
            (WIKI,),
            r"'wik\*' is never used: 'wiki' and others",
        ),
    ],
)
def test_refuses_names_that_count_for_nothing(mix, groups, message):
    with pytest.raises(RecipeError, match=message):
        planned(mix, groups)


def test_refuses_other_shapes():
    with pytest.raises(ValueError, match=r"contents of shape \(2,\), epochs of \(1,\)"):
        repetitions(contents([1, 2]), np.ones(1), 1)
    with pytest.raises(ValueError, match=r"contents of shape \(2,\), repetitions of \(1,\)"):
        order(contents([1, 2]), np.ones(1, np.uint32), 1)
