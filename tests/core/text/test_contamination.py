"""Contamination: what is a hit and what is none, by hand and against a plain search."""

import pickle
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmctl.core.text import contamination, contamination_arrays
from llmctl.core.text.contamination import EvaluationIndex, Hit
from llmctl.core.text.contamination_arrays import MAX_NGRAM_ITEMS, EvaluationItem
from llmctl.core.text.words import _WORD, words

QUESTION = (
    "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips "
    "in May. How many clips did Natalia sell altogether?"
)
THIRTEEN = "one two three four five six seven eight nine ten eleven twelve thirteen"
CHINESE = "床前明月光，疑是地上霜。举头望明月，低头思故乡。春眠不觉晓，处处闻啼鸟。"
COUPLET = "朝辭白帝彩雲間，千里江陵一日還。"


def index_of(*texts, words=13, characters=24):
    items = [EvaluationItem(f"items:{number}", text) for number, text in enumerate(texts, 1)]
    return EvaluationIndex.build(items, ngram_words=words, ngram_characters=characters)


@pytest.mark.parametrize(
    ("item", "text", "matched"),
    [
        pytest.param(QUESTION, f"So: {QUESTION} Yes.", [QUESTION[:-1]], id="all of it"),
        pytest.param(
            QUESTION,
            "x SOLD clips to ４８ of her_friends -- in\nApril and then she sold y",
            ["SOLD clips to ４８ of her_friends -- in\nApril and then she sold"],
            id="13 words whatever stands between them",
        ),
        pytest.param(
            QUESTION, "clips to 48 of her friends in April, and then she x", [], id="12 words"
        ),
        pytest.param(CHINESE, f"诗曰「{CHINESE[2:31]}」云云", [CHINESE[2:31]], id="24 characters"),
        pytest.param(CHINESE, f"诗曰「{CHINESE[3:31]}」云云", [], id="23 characters"),
        pytest.param(COUPLET, f"詩：{COUPLET}", [COUPLET[:-1]], id="14 characters are an item"),
        pytest.param(COUPLET[:-2], COUPLET, [], id="13 are too short"),
        pytest.param("北京", "北京北京", [], id="a name is no item"),
        pytest.param("Yes", "Yes, yes", [], id="a word is no item"),
        pytest.param(
            "What is the tallest mountain of all Asia?",
            "Q: what is the tallest mountain of all Asia A: Everest",
            ["what is the tallest mountain of all Asia"],
            id="8 words are an item",
        ),
        pytest.param(
            "What is the tallest mountain of Asia?",
            "What is the tallest mountain of Asia?",
            [],
            id="7 are too short",
        ),
        pytest.param(
            "What is the tallest mountain of all Asia?",
            "What is the tallest mountain of all Asian countries",
            [],
            id="a short item is whole or not there",
        ),
        pytest.param(
            "The nine oldest cities of Asia are in the west",
            "the nine oldest cities of Asia are in",
            [],
            id="and so is a longer one",
        ),
        pytest.param(
            "用 numpy 的 array 来算平均数和方差与均值的差",
            "请用numpy的Array来算平均数和方差与均值的差吧",
            ["用numpy的Array来算平均数和方差与均值的差"],
            id="mixed",
        ),
        pytest.param(QUESTION, THIRTEEN, [], id="another text"),
        pytest.param(QUESTION, "", [], id="nothing"),
    ],
)
def test_finds(item, text, matched):
    assert [hit.matched for hit in index_of(item).find(text)] == matched


def test_a_word_and_a_character_weigh_their_share_of_an_ngram():
    # 7 of 13 words and 12 of 24 characters are above 1 together; 6 and 12 are below.
    seven = "one two three four five six seven 甲乙丙丁戊己庚辛壬癸子丑"
    index = index_of(f"{seven} rest of it is not there")

    assert [hit.matched for hit in index.find(seven)] == [seven]
    assert index.find(seven.removeprefix("one ")) == []


def test_a_hit_tells_item_and_place():
    first, second = index_of(THIRTEEN, QUESTION).find(f"，{THIRTEEN}！\n {QUESTION}")

    assert first == Hit("items:1", 1, 1 + len(THIRTEEN), THIRTEEN)
    assert (second.item, second.matched) == ("items:2", QUESTION[:-1])


def test_an_item_found_twice_is_two_hits_and_its_overlapping_ngrams_one():
    hits = index_of(QUESTION).find(f"{QUESTION} Again. {QUESTION}")

    assert [hit.matched for hit in hits] == [QUESTION[:-1]] * 2


def test_numbers_and_repetitions_say_nothing():
    numbers = " ".join(map(str, range(100)))
    index = index_of(numbers, "la " * 50, "哈" * 50, f"{numbers} {THIRTEEN}", "1 2 3 4 5 6 7 8")

    assert index.find(numbers) == index.find("la " * 60) == index.find("哈" * 60) == []
    assert index.counts.uninformative == 4
    assert [hit.item for hit in index.find(THIRTEEN)] == ["items:4"]


def test_a_third_of_the_words_must_be_different_ones_with_letters():
    enough = "a b c d e 1 2 3 4 5 6 7 8"
    too_few = "a b c d a 1 2 3 4 5 6 7 8"

    assert len(index_of(enough).find(enough)) == 1
    assert index_of(too_few).find(too_few) == []


@pytest.mark.parametrize(
    ("num_items", "num_hits"), [(MAX_NGRAM_ITEMS, 10), (MAX_NGRAM_ITEMS + 1, 0)]
)
def test_a_template_of_many_items_is_no_hit(num_items, num_hits):
    names = "Ann,Bob,Cid,Dan,Eve,Fay,Gus,Hal,Ida,Jon,Kim".split(",")[:num_items]  # noqa: SIM905
    index = index_of(*(f"{THIRTEEN} asked {name}" for name in names), THIRTEEN.split()[0])

    assert len(index.find(THIRTEEN)) == num_hits
    assert [hit.item for hit in index.find(f"{THIRTEEN} asked Bob") if "Bob" in hit.matched] == [
        "items:2"
    ]


def test_equal_items_are_one_and_no_template():
    index = index_of(*[QUESTION] * (MAX_NGRAM_ITEMS + 5), QUESTION.upper())

    assert [hit.item for hit in index.find(QUESTION)] == ["items:1"]
    assert index.counts.repeated == MAX_NGRAM_ITEMS + 5


def test_counts_by_hand():
    counts = index_of("Yes", "!!", COUPLET, COUPLET, THIRTEEN + " more", "1 2 3 4 5 6 7 8 9").counts

    assert (counts.items, counts.too_short, counts.repeated, counts.uninformative) == (5, 1, 1, 1)
    assert (counts.ngrams, counts.whole) == (2, 1)


def test_without_items_nothing_is_found():
    assert index_of().find(QUESTION) == []
    assert index_of().counts.items == 0


def test_equal_hashes_of_other_words_are_no_hit(monkeypatch):
    monkeypatch.setattr(
        contamination_arrays.WordCodes,
        "hashes",
        lambda self, firsts, ends: np.full(len(firsts), 7, dtype=np.uint64),
    )
    monkeypatch.setattr(
        contamination_arrays, "_informative", lambda words, ends: [True] * len(ends)
    )
    index = index_of(QUESTION, COUPLET, THIRTEEN)

    assert index.find(f"{CHINESE} {' '.join(reversed(THIRTEEN.split()))}") == []


def test_names_of_any_kind_survive_the_arrays():
    items = [EvaluationItem("数据/测试.jsonl:1\udcff", QUESTION), EvaluationItem("", CHINESE)]
    index = EvaluationIndex.build(items, ngram_words=13, ngram_characters=24)
    again = EvaluationIndex(pickle.loads(pickle.dumps(index.arrays)))

    assert [hit.item for hit in again.find(QUESTION + CHINESE)] == [items[0].name, ""]
    assert again.counts == index.counts


def plain_spans(items, text, num_words, num_characters):
    """Search every stretch of every item in every place, by Python strings."""

    def weight(stretch):
        return sum(num_words if word > "\u4e00" else num_characters for word in stretch)

    full = num_words * num_characters
    places = [(match.group(), match.start(), match.end()) for match in _WORD.finditer(text)]
    all_words = [words(item) for item in items]
    for number, own in enumerate(all_words):
        if own in all_words[:number]:
            continue
        stretches = []
        for first in range(len(own)):
            ends = (end for end in range(first, len(own) + 1) if weight(own[first:end]) >= full)
            stretches += [own[first:end] for end in [next(ends, None)] if end is not None]
        if not stretches and weight(own) * 12 >= full * 7:
            stretches = [own]
        for stretch in stretches:
            if 3 * len({word for word in stretch if not word.isdigit()}) < len(stretch):
                continue
            for place in range(len(places) - len(stretch) + 1):
                held = places[place : place + len(stretch)]
                if [word for word, _, _ in held] == stretch:
                    yield f"items:{number + 1}", held[0][1], held[-1][2]


PIECES = st.sampled_from(["a", "b", "cd", "c", "d", "7", "甲", "乙", "丙", "。", ", ", "\n"])
TEXTS = st.lists(PIECES, max_size=40).map(" ".join) | st.lists(PIECES, max_size=40).map("".join)


@given(st.lists(TEXTS, max_size=4), TEXTS, st.integers(2, 6), st.integers(2, 6))
@settings(max_examples=300)
def test_agrees_with_a_plain_search(items, text, num_words, num_characters):
    text = " ".join([text, *items[:2], text])
    hits = index_of(*items, words=num_words, characters=num_characters).find(text)
    expected = plain_spans(items, text, num_words, num_characters)

    assert {(hit.item, place) for hit in hits for place in range(hit.start, hit.end)} == {
        (item, place) for item, start, end in expected for place in range(start, end)
    }


def made_text(seed, num_words):
    generator = random.Random(seed)
    known = ["".join(generator.choices("abcdefg", k=4)) for _ in range(40)] + list(
        "天地玄黄宇宙洪荒"
    )
    return " ".join(generator.choices(known, k=num_words))


@pytest.mark.parametrize("chunk", [90, 150, 1000])
def test_chunks_change_nothing(monkeypatch, chunk):
    text = made_text(1, 2000)
    items = [text[start : start + 70] for start in range(40, len(text), 330)]
    index = index_of(*items)
    expected = index.find(text)

    monkeypatch.setattr(contamination, "_CHUNK_CHARACTERS", chunk)

    assert len(expected) >= len(items)
    assert index.find(text) == expected


def test_an_endless_word_is_passed(monkeypatch):
    monkeypatch.setattr(contamination, "_CHUNK_CHARACTERS", 100)

    assert [hit.matched for hit in index_of(THIRTEEN).find("x" * 1000 + " " + THIRTEEN)] == [
        THIRTEEN
    ]


def test_a_word_cut_by_a_chunk_is_no_other_word(monkeypatch):
    item = "What is the tallest mountain of all Asia"
    monkeypatch.setattr(contamination, "_CHUNK_CHARACTERS", len(item))

    assert index_of(item).find(item + "ns and more of them in the west of it as well") == []


@pytest.mark.parametrize(
    ("text", "left"),
    [
        pytest.param(f"Before. {QUESTION} After.", "Before. After.", id="two sentences of a line"),
        pytest.param(f"Before.\n{QUESTION}\nAfter.", "Before.\nAfter.", id="a line"),
        pytest.param(f"Before. {QUESTION}\nAfter.", "Before.\nAfter.", id="the end of a line"),
        pytest.param(f"Before.\n\n  {QUESTION}\n\nAfter", "Before.\n\n\nAfter", id="a paragraph"),
        pytest.param(f"Say: “{QUESTION}” After.", "After.", id="closing quotes go with it"),
        pytest.param(QUESTION, "", id="all"),
        pytest.param(f"{QUESTION}\nAfter.", "After.", id="the first line"),
        pytest.param(f"Before.\n{QUESTION}", "Before.\n", id="the last line"),
    ],
)
def test_cuts(text, left):
    index = index_of(QUESTION)

    assert index.cut(text, index.find(text)) == left


def test_cuts_chinese_sentences():
    item = "一只小猫坐在高高的窗台上看着外面下着的大雨和过路的行人"
    text = f"今天很冷。“昨天，{item}！”他说完了。　后来呢？\n没有了。"
    index = index_of(item)

    assert index.cut(text, index.find(text)) == "今天很冷。他说完了。　后来呢？\n没有了。"


def test_words_that_meet_by_cutting_are_cut_too():
    half, rest = QUESTION[:49], QUESTION[49:]
    text = f"A. {half}. {THIRTEEN}. {rest}\nZ."
    index = index_of(QUESTION, THIRTEEN)
    first = index.find(f"{THIRTEEN}")
    assert len(first) == 1

    assert index.find(index.cut(text, index.find(text))) == []


@given(st.lists(TEXTS, min_size=1, max_size=3), TEXTS)
def test_after_cutting_nothing_is_found(items, text):
    index = index_of(*items, words=3, characters=4)
    text = f"{text}. {items[0]} x. {text}"

    assert index.find(index.cut(text, index.find(text))) == []


@given(st.text(), st.text())
def test_any_text_is_taken(item, text):
    index = index_of(item, words=2, characters=2)
    hits = index.find(text + item + text)

    assert all((text + item + text)[hit.start : hit.end] == hit.matched for hit in hits)
