"""Leaks: by hand, against sets of tuples, planted copies, then what must not matter."""

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmctl.core.tokenizing import leaks
from llmctl.core.tokenizing.leaks import HeldOutIndex, Leak, find_leaks

# Few ids make shingles meet; copies of stretches make them meet in long rows.
DOCUMENT = st.lists(
    st.one_of(
        st.integers(0, 2).map(lambda value: [value] * 5),
        st.integers(0, 3).map(lambda start: list(range(start, start + 14))),
    ),
    max_size=6,
).map(lambda parts: [value for part in parts for value in part])


def ids(values):
    return np.array(values, dtype=np.uint32)


def held_out_index(held_out, **options):
    return HeldOutIndex.build(map(ids, held_out), len(held_out), **options)


def check(held_out, training, unit_sizes=None, is_training=None, **options):
    """Look for the held-out documents in those of training, unit by unit."""
    index = held_out_index(held_out, **options)
    if is_training is None:
        is_training = [True] * len(training)
    matches, first = [], 0
    for size in unit_sizes or [len(training)]:
        unit = training[first : first + size]
        lengths = np.array([len(each) for each in unit], dtype=np.uint64)
        whole = ids([value for document in unit for value in document])
        flags = np.array(is_training[first : first + size], dtype=bool)
        matches.append(index.find(whole, lengths, flags, first))
        first += size
    return find_leaks(index, matches, lambda document: ids(training[document]))


def shingles(values):
    if len(values) < 13:
        return {tuple(values)} - {()}
    return {tuple(values[start : start + 13]) for start in range(len(values) - 12)}


def made(seed, size):
    generator = random.Random(seed)
    return [generator.randrange(50_000) for _ in range(size)]


def test_shares_by_hand():
    # 20 ids are 8 shingles; the first 16 of them are 4, the last 15 of them 3.
    document = list(range(20))
    found = check([document], [[99, *document[:16], 99], [99, 99, *document[5:]]])

    assert found.leaks == [Leak(0, share=7 / 8, training_document=0, common_share=4 / 8)]
    assert (found.num_documents, found.num_short, found.share) == (1, 0, 7 / 8)


def test_half_is_a_leak_and_less_is_none():
    half, less = list(range(14)), list(range(100, 115))  # 2 and 3 shingles
    found = check([half, less], [half[:13], less[:13]])

    assert [leak.document for leak in found.leaks] == [0]
    assert found.share == 2 / 5


def test_a_short_document_is_found_where_it_is_the_whole_document():
    # Neither where it is a part, nor where it ends in zeros, which pad it.
    found = check([[7, 8], [5, 6], [3], []], [[7, 8, 9], [5, 6, 0], [4], [0, 7, 8], [7, 8], [7, 8]])

    assert found.leaks == [Leak(0, 1.0, training_document=4, common_share=1.0)]
    assert (found.num_documents, found.num_short, found.share) == (4, 4, 1 / 3)


def test_neither_two_documents_together_nor_one_held_out_hold_a_passage():
    passage = list(range(30))

    assert check([passage], [passage[:12], passage[12:24], passage[24:]]).share == 0
    assert check([passage], [passage, [1]], is_training=[False, True]).share == 0
    assert check([passage[:4]], [passage[:4], [1]], is_training=[False, True]).share == 0


def test_the_training_document_is_the_lowest_of_equally_good_ones():
    document = made(1, 40)
    training = [document[:30], document, [1, *document], document]

    assert check([document], training).leaks == [Leak(0, 1.0, 1, 1.0)]


def test_the_largest_share_comes_first():
    first, second, third = made(1, 40), made(2, 40), made(3, 40)
    found = check([first, second, third], [first[:38], second, third])

    assert [leak.document for leak in found.leaks] == [1, 2, 0]


def test_boilerplate_in_front_does_not_hide_the_copy():
    boilerplate, document = made(1, 60), made(2, 30)
    training = [[*boilerplate, number] for number in range(20)] + [[*boilerplate, *document]]

    assert check([[*boilerplate, *document]], training).leaks == [Leak(0, 1.0, 20, 1.0)]


def test_a_rare_sentence_does_not_hide_the_copies():
    document = made(1, 60)
    training = [[number, *document[:50]] for number in range(20)] + [document[45:]]

    assert check([document], training).leaks == [Leak(0, 41 / 48, 0, 38 / 48)]


def test_common_and_rare_of_one_share_are_the_lower_document():
    document = made(1, 60)
    training = [document[:30]] * 20 + [document[30:]]

    assert check([document], training).leaks == [Leak(0, 36 / 48, 0, 18 / 48)]


def test_thirteen_ids_are_not_short():
    assert check([list(range(13)), list(range(12))], [[1]]).num_short == 1


def test_a_passage_in_a_long_document_is_found_across_the_blocks(monkeypatch):
    monkeypatch.setattr(leaks, "_BLOCK_TOKENS", 64)
    passage = made(1, 200)
    found = check([passage], [made(2, 1000), made(3, 777) + passage + made(4, 500)])

    assert found.leaks == [Leak(0, 1.0, 1, 1.0)]


def test_a_template_with_another_number_leaks():
    template = made(1, 60)
    documents = [[*template[:50], 60_000 + number, *template[50:]] for number in range(300)]
    found = check(documents[:20], documents[20:])

    # Of 49 shingles, the number is in all but 38; the 9 after it go on beyond 50.
    assert {leak.share for leak in found.leaks} == {38 / 49}
    assert [leak.document for leak in found.leaks] == list(range(20))
    assert {leak.training_document for leak in found.leaks} == {0}


def test_a_sample_tells_how_much_of_a_long_document_leaks():
    held_out, training = [], []
    for number in range(40):
        document = made(number, 6000)
        edited = list(document)
        for place in range(0, 6000, 40):  # of 40 shingles, 13 hold the edit
            edited[place] = 60_000
        held_out.append(document)
        training.append(made(number + 100, 3000) + edited)
    found = check(held_out, training)

    # Four standard deviations of 256 draws, 0.03 each; of the mean of 40, a sixth of that.
    assert {leak.document: leak.training_document for leak in found.leaks} == {
        number: number for number in range(40)
    }
    assert all(abs(leak.share - 27 / 40) < 0.12 for leak in found.leaks)
    assert abs(found.share - 27 / 40) < 0.02


def test_five_words_of_a_hundred_edited_leave_half_of_the_shingles():
    # 0.95^13 = 0.513: the edge of what is called a leak, as the module says.
    generator = random.Random(1)
    document = made(1, 20_000)
    edited = [value if generator.random() >= 0.05 else 60_000 for value in document]
    exact = len(shingles(document) & shingles(edited)) / len(shingles(document))

    assert abs(exact - 0.95**13) < 0.02
    assert abs(check([document], [edited]).share - exact) < 0.12


@given(
    held_out=st.lists(DOCUMENT, max_size=5),
    training=st.lists(DOCUMENT, min_size=1, max_size=6),
    flags=st.lists(st.booleans(), min_size=6, max_size=6),
)
def test_equals_sets_of_tuples(held_out, training, flags):
    found = check(held_out, training, is_training=flags[: len(training)])
    seen = [shingles(each) if flag else set() for each, flag in zip(training, flags, strict=False)]
    everywhere = set().union(*seen)
    expected = []
    for number, document in enumerate(held_out):
        own = shingles(document)
        if own and len(own & everywhere) >= len(own) / 2:
            common = [len(own & each) for each in seen]
            best = max(range(len(seen)), key=lambda each: (common[each], -each))
            expected.append(
                Leak(number, len(own & everywhere) / len(own), best, common[best] / len(own))
            )
    expected.sort(key=lambda leak: (-leak.share, leak.document))

    assert found.leaks == expected
    assert found.num_short == sum(len(document) < 13 for document in held_out)


@settings(max_examples=40)
@given(
    documents=st.lists(DOCUMENT, min_size=12, max_size=24),
    cuts=st.lists(st.integers(1, 12), max_size=6),
    order=st.randoms(use_true_random=False),
)
def test_units_and_their_order_mean_nothing(documents, cuts, order):
    held_out, training = documents[:4], documents[4:] * 3
    index = held_out_index(held_out)
    bounds = [0, *sorted(min(sum(cuts[:n]), len(training)) for n in range(len(cuts) + 1))]
    matches = []
    for first, stop in zip(bounds, [*bounds[1:], len(training)], strict=True):
        unit = training[first:stop]
        whole = ids([value for document in unit for value in document])
        lengths = np.array([len(each) for each in unit], dtype=np.int64)
        matches.append(index.find(whole, lengths, np.ones(len(unit), bool), first))
    order.shuffle(matches)
    found = find_leaks(index, matches, lambda document: ids(training[document]))

    assert found == check(held_out, training)


def test_of_a_shingle_few_documents_are_remembered(monkeypatch):
    monkeypatch.setattr(leaks, "_COMPACT_MATCHES", 100)
    held_at_once = []
    lowest = leaks._lowest
    monkeypatch.setattr(
        leaks, "_lowest", lambda keys: (held_at_once.append(len(keys)), lowest(keys))[1]
    )
    document = made(1, 20)  # 8 shingles
    index = held_out_index([document] * 3)
    unit = index.find(ids(document * 50), np.full(50, 20), np.ones(50, bool), 1000)

    assert len(unit) == 8 * leaks.MAX_POSTINGS
    assert Counter((unit & np.uint64(2**32 - 1)).tolist()) == dict.fromkeys(range(1000, 1008), 8)

    def endless():
        for first in range(0, 100_000, 50):
            yield (unit & ~np.uint64(2**32 - 1)) | (unit & np.uint64(7)) + np.uint64(first)

    found = find_leaks(index, endless(), lambda _: ids(document))

    assert [leak.training_document for leak in found.leaks] == [0, 0, 0]
    assert max(held_at_once[1:]) <= 100 + 2 * len(unit)


def test_an_index_holds_no_more_shingles_than_it_may():
    held_out = [made(number, 500) for number in range(10)]

    assert len(held_out_index(held_out).hashes_U) == 10 * leaks.MAX_DOCUMENT_SHINGLES
    assert len(held_out_index(held_out, max_shingles=95).hashes_U) == 90
    assert len(held_out_index(held_out, max_shingles=3).hashes_U) == 10
    assert check(held_out, held_out, max_shingles=95).share == 1


def test_nothing_held_out_leaks_nothing():
    found = check([], [made(1, 20)])

    assert (found.num_documents, found.share, found.leaks) == (0, 0, [])


def test_refuses_another_number_of_documents():
    with pytest.raises(ValueError, match="expected 2 documents, got 1"):
        HeldOutIndex.build([ids([1])], 2)


@pytest.mark.parametrize(
    ("lengths", "flags", "first", "message"),
    [
        ([2], [True], 0, "3 ids of documents of 2"),
        ([3], [True, False], 0, "2 of 1 documents"),
        ([3], [True], 2**32, "below 2\\^32, got 4294967296"),
    ],
)
def test_refuses_units_that_do_not_fit(lengths, flags, first, message):
    index = held_out_index([[1]])

    with pytest.raises(ValueError, match=message):
        index.find(ids([1, 2, 3]), np.array(lengths), np.array(flags), first)
