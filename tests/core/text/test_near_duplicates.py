"""Duplicates: who survives, what is verified, Chinese, and a comparison with brute force."""

import itertools
import random

import numpy as np
import pytest

from llmctl.core.text.near_duplicates import (
    MIN_RECALL,
    NUM_HASHES,
    DuplicateIndex,
    band_rows,
    find_duplicates,
    jaccard,
    shingles,
    word_hashes,
)

CHINESE = (
    "机器学习是人工智能的一个分支，它使计算机能够从数据中学习规律，而不需要明确编写每一条规则。"
    "常见的方法包括监督学习、无监督学习和强化学习，它们在图像、语音和文本处理中都有广泛的应用。"
)


def similarity(first, second):
    return jaccard(*(np.unique(shingles(word_hashes(text))) for text in (first, second)))


def made_text(seed, num_words=60):
    generator = random.Random(seed)
    return " ".join(str(generator.randrange(1000, 10_000)) for _ in range(num_words))


def edited(text, num_edits):
    found = text.split()
    for number in range(num_edits):
        found[number * 10] = "edit"
    return " ".join(found)


def test_jaccard_by_hand():
    first, second = np.array([1, 2, 3], np.uint64), np.array([2, 3, 4], np.uint64)

    assert jaccard(first, second) == 0.5
    assert jaccard(first[:0], second[:0]) == 0.0


def test_shingles_are_five_words_in_a_row():
    one, two = shingles(word_hashes("a b c d e f")), shingles(word_hashes("x b c d e f"))

    assert len(one) == 2
    assert one[0] != two[0]
    assert one[1] == two[1]


@pytest.mark.parametrize(
    ("text", "num_shingles"), [("a", 1), ("一二三四", 1), ("a b c d e", 1), ("，。", 0), ("", 0)]
)
def test_short_texts_have_one_shingle(text, num_shingles):
    assert len(shingles(word_hashes(text))) == num_shingles


def test_exact_duplicates_differ_in_case_width_or_space_only():
    found = find_duplicates(["Hello，  World", "hello, world", "hello. world"], threshold=None)

    assert {number: twin.survivor for number, twin in found.items()} == {1: 0}
    assert found[1].is_exact
    assert found[1].similarity == 1.0


def test_longest_survives_then_the_first():
    text = made_text(1)
    texts = [text, text + "  more", text, edited(text, 1), text + "  more"]

    found = find_duplicates(texts, threshold=0.5)

    assert {number: twin.survivor for number, twin in found.items()} == {0: 1, 2: 0, 3: 1, 4: 1}
    assert found[2].cluster == 1


def test_chinese_pages_that_differ_in_two_characters_are_near_duplicates():
    other = CHINESE.replace("机器", "机械", 1).replace("广泛", "广大", 1)

    found = find_duplicates([CHINESE, other, CHINESE[::-1]], threshold=0.7)

    assert list(found) == [1]
    assert 0.7 <= found[1].similarity < 1
    assert not found[1].is_exact


def test_a_candidate_below_the_threshold_is_kept():
    text = made_text(2)
    close = edited(text, 2)
    value = similarity(text, close)

    assert find_duplicates([text, close], threshold=value)[1].similarity == value
    assert find_duplicates([text, close], threshold=value + 0.001) == {}


def test_chains_merge_nothing_that_is_not_alike():
    # Each is like its neighbour, the ends are not alike.
    words = made_text(3, 200).split()
    texts = [" ".join(words[start : start + 100]) for start in (0, 12, 24, 36, 48)]

    found = find_duplicates(texts, threshold=0.7)

    assert {number: twin.survivor for number, twin in found.items()} == {1: 0, 3: 2}
    assert all(similarity(texts[n], texts[twin.survivor]) >= 0.7 for n, twin in found.items())


def test_texts_without_words_are_no_near_duplicates():
    assert find_duplicates(["！！！", "？？？", "...", ""], threshold=0.8) == {}


def test_agrees_with_brute_force():
    texts = []
    for seed in range(40):
        original = made_text(seed)
        texts += [original, *(edited(original, edits) for edits in range(1, 5))]
    order = sorted(range(len(texts)), key=lambda number: (-len(texts[number]), number))
    sets = [set(shingles(word_hashes(text)).tolist()) for text in texts]
    kept, expected = [], {}
    for number in order:
        for other in kept:
            value = len(sets[number] & sets[other]) / len(sets[number] | sets[other])
            if value >= 0.6:
                expected[number] = other
                break
        else:
            kept.append(number)

    found = find_duplicates(texts, threshold=0.6)

    assert 40 < len(expected) < 160
    missed = set(expected) - set(found)
    assert len(missed) <= 0.02 * len(expected)
    assert all(similarity(texts[n], texts[twin.survivor]) >= 0.6 for n, twin in found.items())
    assert not any(twin.survivor in found for twin in found.values())


def test_many_documents_with_one_boilerplate_stay_apart():
    boilerplate = made_text(0, 400)
    texts = [f"{made_text(seed, 150)} {boilerplate}" for seed in range(1, 600)]

    assert find_duplicates(texts, threshold=0.8) == {}


def test_batches_change_nothing(monkeypatch):
    texts = [edited(made_text(seed // 3), seed % 3) for seed in range(60)]
    whole = find_duplicates(texts, threshold=0.5)

    monkeypatch.setattr("llmctl.core.text.near_duplicates._BATCH_WORDS", 1)

    assert whole
    assert find_duplicates(texts, threshold=0.5) == whole


def test_text_is_asked_for_candidates_only():
    texts = [*(made_text(seed) for seed in range(50)), made_text(7) + " more"]
    asked = []
    index = DuplicateIndex(0.8)
    for text in texts:
        index.add(text)

    found = index.resolve(lambda number: asked.append(number) or texts[number])

    assert list(found) == [7]
    assert sorted(asked) == [7, 50]


def test_between_may_end_it_early():
    index = DuplicateIndex(0.8)
    for text in (made_text(1), made_text(1) + " more"):
        index.add(text)

    with pytest.raises(KeyboardInterrupt):
        index.resolve(lambda _: "", between=lambda: (_ for _ in ()).throw(KeyboardInterrupt))


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.8, 0.95, 1.0])
def test_bands_find_a_pair_at_the_threshold(threshold):
    rows = band_rows(threshold)

    assert 1 - (1 - threshold**rows) ** (NUM_HASHES // rows) >= MIN_RECALL


def test_empty_corpus_has_no_duplicates():
    assert find_duplicates([], threshold=0.8) == {}
    assert find_duplicates([], threshold=None) == {}


def test_same_result_every_time():
    texts = [edited(made_text(seed % 5), seed % 4) for seed in range(40)]
    results = [find_duplicates(texts, threshold=0.6) for _ in range(2)]

    assert all(a == b for a, b in itertools.pairwise(results))
