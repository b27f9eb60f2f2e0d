"""resolve: who survives, what is verified, earlier corpora, and brute force beside it."""

import dataclasses
import functools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmctl.core.artifacts.duplicate_pairs import DuplicatePair
from llmctl.core.artifacts.fingerprint_units import FingerprintUnit
from llmctl.core.clean_plan import DuplicatesPlan
from llmctl.core.cleaning import duplicate_buckets, spill
from llmctl.core.cleaning.duplicates import resolve
from llmctl.core.errors import DataError
from llmctl.core.text.near_duplicates import similarity
from llmctl.core.text.shingles import shingle_sets
from llmctl.core.text.words import folded

CHINESE = (
    "机器学习是人工智能的一个分支，它使计算机能够从数据中学习规律，而不需要明确编写每一条规则。"
    "常见的方法包括监督学习、无监督学习和强化学习，它们在图像、语音和文本处理中都有广泛的应用。"
)


@functools.cache
def shingles(text):
    return shingle_sets([folded(text)])[0]


def alike(first, second, measure="jaccard"):
    return similarity(shingles(first), shingles(second), measure)


def brute_force(texts, threshold, measure):
    """Every document against all better ones that are kept."""
    order = sorted(range(len(texts)), key=lambda number: (-len(texts[number]), number))
    kept, expected = [], {}
    for number in order:
        for other in kept:
            if alike(texts[number], texts[other], measure) >= threshold:
                expected[number] = other
                break
        else:
            kept.append(number)
    return expected


def test_exact_duplicates_differ_in_case_width_or_space_only(bench):
    found = bench.resolve(["Hello，  World", "hello, world", "hello. world"], similarity=None)

    assert list(found.pairs()) == [(1, 0, 1.0)]
    assert found.is_exact_D.tolist() == [True]


def test_longest_survives_then_the_first(bench, texts):
    made_text, edited = texts
    text = made_text(1)
    documents = [text, text + "  more", text, edited(text, 1), text + "  more"]

    found = bench.resolve(documents, similarity=0.5)

    assert {number: survivor for number, survivor, _ in found.pairs()} == {0: 1, 2: 0, 3: 1, 4: 1}
    assert found.clusters_D.tolist() == [1, 1, 1, 1]
    assert found.is_exact_D.tolist() == [False, True, False, True]
    assert found.kept(0, 5).tolist() == [False, True, False, False, False]
    assert found.kept(1, 3).tolist() == [True, False]


def test_chinese_pages_that_differ_in_two_characters_are_near_duplicates(bench):
    other = CHINESE.replace("机器", "机械", 1).replace("广泛", "广大", 1)

    found = bench.resolve([CHINESE, other, CHINESE[::-1]], similarity=0.7)

    assert found.dropped_D.tolist() == [1]
    assert found.similarities_D[0] == alike(CHINESE, other)
    assert 0.7 <= found.similarities_D[0] < 1
    assert not found.is_exact_D[0]


def test_a_candidate_below_the_threshold_is_kept(bench, texts):
    made_text, edited = texts
    text = made_text(2)
    close = edited(text, 2)
    value = alike(text, close)

    assert list(bench.resolve([text, close], similarity=value).pairs()) == [(1, 0, value)]
    assert len(bench.resolve([text, close], similarity=value + 0.001)) == 0


def test_chains_merge_nothing_that_is_not_alike(bench, texts):
    # Each is like its neighbour, the ends are not alike.
    words = texts[0](3, 200).split()
    documents = [" ".join(words[start : start + 100]) for start in (0, 12, 24, 36, 48)]

    found = bench.survivors(documents, similarity=0.7)

    assert found == {1: 0, 3: 2}


def test_texts_without_words_are_no_near_duplicates(bench):
    assert bench.survivors(["！！！", "？？？", "...", ""]) == {}
    assert bench.survivors(["！！！", "？？？", "...", ""], measure="containment") == {}


def test_texts_without_words_are_like_nothing_even_without_a_threshold(bench):
    assert bench.survivors(["！！！", "？？？", "a b c", "a b d"], similarity=0.0) == {}


def test_both_halves_of_a_digest_count(bench, tmp_path):
    plan = DuplicatesPlan(similarity=None)
    (path,) = bench.units(["a", "b", "c", "c"], plan)
    unit = FingerprintUnit.read(path)
    digests_N2 = unit.digests_N2.copy()
    digests_N2[:2] = [[5, 1], [5, 2]]
    dataclasses.replace(unit, digests_N2=digests_N2).write(path)

    assert list(resolve([path], plan, tmp_path).pairs()) == [(3, 2, 1.0)]


@pytest.mark.parametrize("options", [{}, {"similarity": None}, {"measure": "containment"}])
@pytest.mark.parametrize("division", [None, [0, 0]])
def test_no_documents(bench, options, division):
    assert len(bench.resolve([], division=division, **options)) == 0


@pytest.mark.parametrize("threshold", [0.6, 0.8, 1.0])
@pytest.mark.parametrize("measure", ["jaccard", "containment"])
def test_agrees_with_brute_force(bench, texts, threshold, measure):
    made_text, edited = texts
    documents = []
    for seed in range(30):
        original = made_text(seed)
        documents += [original, *(edited(original, edits) for edits in range(1, 5))]
        documents.append(original.replace(" ", ", "))
        documents.append(" ".join(original.split()[10:40]))
    expected = brute_force(documents, threshold, measure)

    found = bench.survivors(documents, similarity=threshold, measure=measure)

    assert len(expected) >= 30
    assert len(set(expected) - set(found)) <= 0.02 * len(expected)
    assert all(alike(documents[n], documents[s], measure) >= threshold for n, s in found.items())
    assert not set(found) & set(found.values())


def test_every_drop_is_verified_against_a_kept_document_and_is_its_first(bench, texts):
    made_text, edited = texts
    documents = [edited(made_text(seed % 5), seed % 4) for seed in range(40)]

    found = bench.resolve(documents, similarity=0.7)

    kept = set(range(40)) - set(found.dropped_D.tolist())
    assert set(found.clusters_D.tolist()) <= kept
    assert dict(zip(found.dropped_D.tolist(), found.clusters_D.tolist(), strict=True)) == (
        brute_force(documents, 0.7, "jaccard")
    )


def test_contained_documents_are_found_in_much_longer_ones(bench, texts):
    made_text, edited = texts
    longs = [made_text(seed, 2000) for seed in range(20)]
    parts = [
        edited(" ".join(long.split()[start : start + 100]), 3)
        for long in longs
        for start in range(0, 1500, 100)
    ]

    found = bench.survivors([*longs, *parts], measure="containment")

    assert alike(parts[0], longs[0]) < 0.05
    assert alike(parts[0], longs[0], "containment") == 85 / 96
    assert len(found) >= 0.98 * len(parts)
    assert all(survivor == (number - 20) // 15 for number, survivor in found.items())
    assert bench.survivors([*longs, *parts]) == {}


def test_of_a_contained_document_the_part_that_is_elsewhere_counts(bench, texts):
    # Longer in characters, but its shingles are few and all in the other one.
    few, many = texts[0](1, 40), texts[0](1, 200)
    repeated = " ".join([few] * 10)

    found = bench.survivors([many, repeated], measure="containment")

    assert len(repeated) > len(many)
    assert found == {}


@pytest.mark.parametrize("measure", ["jaccard", "containment"])
def test_many_documents_with_one_boilerplate_stay_apart(bench, texts, measure):
    boilerplate = texts[0](0, 400)
    documents = [f"{texts[0](seed, 200)} {boilerplate}" for seed in range(1, 150)]

    assert bench.survivors(documents, measure=measure) == {}


@pytest.mark.parametrize("measure", ["jaccard", "containment"])
def test_full_buckets_compare_with_the_best_only(bench, texts, monkeypatch, measure):
    made_text, edited = texts
    documents = [edited(made_text(seed), edits) for seed in range(6) for edits in range(4)]
    whole = bench.survivors(documents, similarity=0.5, measure=measure)

    monkeypatch.setattr(duplicate_buckets, "MAX_SURVIVORS", 1)

    # One original is in each bucket: nothing is lost.
    assert bench.survivors(documents, similarity=0.5, measure=measure) == whole
    assert len(whole) == 18


def test_a_full_bucket_takes_no_more(bench, monkeypatch):
    monkeypatch.setattr(duplicate_buckets, "MAX_SURVIVORS", 2)
    scratch = bench.directory / "buckets"
    scratch.mkdir()
    found = duplicate_buckets.Buckets(scratch, 10, 10, 0)
    found.add(np.full(5, 7, np.uint64), np.arange(5, dtype=np.uint32))
    found.add(np.array([8], np.uint64), np.array([9], np.uint32))

    seen = {}
    for rank, members in found.in_rank_order(lambda: None):
        seen[rank] = members.survivors().tolist()
        members.join(rank)

    assert seen == {0: [], 1: [0], 2: [0, 1], 3: [0, 1], 4: [0, 1]}


def test_earlier_corpora_always_win(bench, texts):
    made_text, edited = texts
    text = made_text(1)
    ours = [text + " a longer one", made_text(2), edited(text, 1), made_text(3)]
    earlier = [[made_text(9), made_text(3)], [edited(text, 2), text, text]]

    found = bench.resolve(ours, earlier=earlier, similarity=0.6)

    # Here are 0 to 3, there 4 and 5, then 6 to 8.
    assert {number: survivor for number, survivor, _ in found.pairs()} == {0: 6, 2: 6, 3: 5}
    pairs = list(found.named_pairs())
    assert pairs[2] == DuplicatePair("d3", "d1", "d1", 1.0, True, "old0")
    assert [(pair.id, pair.duplicate_of, pair.corpus) for pair in pairs[:2]] == [
        ("d0", "d0", "old1"),
        ("d2", "d0", "old1"),
    ]
    assert found.of_documents(0, 4).cluster_sizes == {}


def test_a_short_earlier_document_drops_no_longer_one_that_holds_it(bench, texts):
    text = texts[0](1, 300)
    part = " ".join(text.split()[:100])

    assert bench.survivors([text], earlier=[[part]], measure="containment") == {}
    assert bench.survivors([part], earlier=[[text]], measure="containment") == {0: 1}


def test_earlier_documents_are_not_dropped_themselves(bench, texts):
    made_text, edited = texts
    text = made_text(1)

    found = bench.resolve([made_text(2)], earlier=[[text, text, edited(text, 1)]])

    assert len(found) == 0


def test_units_are_told_what_concerns_them(bench, texts):
    made_text, edited = texts
    a, b = made_text(1), made_text(2)
    documents = [a, made_text(3), edited(a, 1), b + " ", b, b.upper(), edited(a, 2)]

    found = bench.resolve(documents, division=[3, 2, 2], similarity=0.5)

    first, second, third = (found.of_documents(*each) for each in ((0, 3), (3, 5), (5, 7)))
    assert first.cluster_sizes == {0: 3}
    assert second.cluster_sizes == {0: 3}
    assert third.cluster_sizes == {}
    assert second.dropped == {1: DuplicatePair("d4", "d3", "d3", 1.0, True)}
    assert sorted(third.dropped) == [0, 1]
    assert third.dropped[1].duplicate_of == "d0"
    assert list(found.named_pairs()) == [
        *first.dropped.values(),
        *second.dropped.values(),
        *third.dropped.values(),
    ]


@settings(
    deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_any_division_gives_the_same(bench, texts, data):
    made_text, edited = texts
    options = data.draw(
        st.sampled_from([{"similarity": 0.6}, {"measure": "containment"}, {"similarity": None}])
    )
    documents = [
        edited(made_text(data.draw(st.integers(0, 4))), data.draw(st.integers(0, 4)))
        for _ in range(12)
    ]
    earlier = [documents[10:]]
    cuts = sorted(data.draw(st.lists(st.integers(0, 10), max_size=4)))
    division = np.diff([0, *cuts, 10]).tolist()

    found = bench.resolve(documents[:10], division=division, earlier=earlier, **options)

    whole = bench.resolve(documents[:10], earlier=earlier, **options)
    assert list(found.named_pairs()) == list(whole.named_pairs())
    assert found.is_exact_D.tolist() == whole.is_exact_D.tolist()


@pytest.mark.parametrize("measure", ["jaccard", "containment"])
def test_many_parts_on_the_disk_change_nothing(bench, texts, monkeypatch, measure):
    made_text, edited = texts
    documents = [edited(made_text(seed // 3), seed % 3) for seed in range(60)] * 2
    whole = list(bench.resolve(documents, similarity=0.5, measure=measure).named_pairs())

    monkeypatch.setattr(spill, "PART_RECORDS", 40)
    monkeypatch.setattr(duplicate_buckets, "PART_RECORDS", 40)
    monkeypatch.setattr("llmctl.core.cleaning.duplicate_candidates._SLICE_DOCUMENTS", 5)
    monkeypatch.setattr("llmctl.core.cleaning.duplicate_candidates._SLICE_SHINGLES", 11)

    found = bench.resolve(documents, similarity=0.5, measure=measure)
    assert list(found.named_pairs()) == whole
    assert len(whole) == 100


def test_between_may_end_it_early(bench, texts):
    def ends():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.resolve([texts[0](1)], between=ends)


def test_between_is_called_for_each_candidate(bench, texts):
    calls = []
    documents = [texts[0](seed // 2) + " x" * (seed % 2) for seed in range(40)]

    bench.resolve(documents, between=lambda: calls.append(1))

    assert len(calls) >= 40


def test_a_damaged_unit_is_refused(bench, texts, tmp_path):
    (path,) = bench.units([texts[0](1)], DuplicatesPlan())
    path.write_bytes(path.read_bytes()[:-8])

    with pytest.raises(DataError, match="damaged"):
        resolve([path], DuplicatesPlan(), tmp_path)
