"""Words by hand in several scripts, and a table that forgets without changing its answers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmctl.core.text import word_table
from llmctl.core.text.word_splitting import (
    ChineseSplitter,
    NativeSplitter,
    _parts_of_bytes,
)
from llmctl.core.text.word_table import WordTable, sentences_in

NATIVE, CHINESE = NativeSplitter(), ChineseSplitter()


def words(splitter, text):
    table = WordTable(splitter)
    return table.strings(table.words(text).ids)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("", [], id="nothing"),
        pytest.param("A well-known fact.", ["A", "well", "-", "known", "fact", "."], id="signs"),
        pytest.param("don't U.S. 3.14", ["don't", "U.S", ".", "3.14"], id="inner signs"),
        pytest.param("what?!... --- __x", ["what", "?", "!", "...", "---", "__", "x"], id="runs"),
        pytest.param(
            "see https://a.b/c?d=1, ok", ["see", "https://a.b/c?d=1,", "ok"], id="address"
        ),
        pytest.param("naïve Straße", ["naïve", "Straße"], id="Latin letters"),
        pytest.param("слово, слово", ["слово", ",", "слово"], id="Cyrillic"),
        pytest.param("GPT中文ok", ["GPT", "中", "文", "ok"], id="Han between Latin"),
        pytest.param("a\u3000b\u2028c", ["a", "b", "c"], id="any white space"),
    ],
)
def test_native_words(text, expected):
    assert words(NATIVE, text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            "他来到了网易杭研大厦", ["他", "来到", "了", "网易", "杭研", "大厦"], id="jieba's own"
        ),
        pytest.param("env.yml ResNet-18", ["env", ".", "yml", "ResNet", "-", "18"], id="names"),
        pytest.param("C++和T恤", ["C++", "和", "T恤"], id="entries with letters"),
        pytest.param("## 3.5%", ["##", "3.5%"], id="runs of signs"),
        pytest.param("相中䬑", ["相", "中", "䬑"], id="a rare character stands alone"),
        pytest.param(" \n\u3000", [], id="white space"),
    ],
)
def test_chinese_words(text, expected):
    assert words(CHINESE, text) == expected


# The first call loads jieba's dictionary.
@settings(deadline=None)
@given(
    st.text(
        st.sampled_from("中国图书馆的了在䟃𧽼龦 abZ019+#&._%-，。\n\t\u3000é々ー😀")
        | st.characters(),
        max_size=30,
    )
)
def test_chinese_words_are_jiebas(text):
    jieba = pytest.importorskip("jieba", reason="the oracle is not installed")
    jieba.setLogLevel("ERROR")
    text = text.encode("utf-8", "replace").decode()

    assert words(CHINESE, text) == [word for word in jieba.cut(text) if word.strip()]


@settings(deadline=None)
@given(st.text(), st.booleans())
def test_words_hold_every_visible_character(text, is_chinese):
    splitter = CHINESE if is_chinese else NATIVE
    whole = text.encode("utf-8", "replace").decode() if is_chinese else text

    assert "".join(words(splitter, whole)) == "".join(whole.split())


def test_a_full_table_forgets_and_answers_the_same(monkeypatch):
    monkeypatch.setattr(word_table, "MOST_PIECES", 3)
    table = WordTable(NativeSplitter(), ("the", "of"))

    for _ in range(3):
        table.forget_if_full()
        found = table.words("the end, of the world")
        assert table.strings(found.ids) == ["the", "end", ",", "of", "the", "world"]
        assert table.num_stop_words(found.ids) == 2
        assert len(table._piece_numbers) == 4
    table.forget_if_full()
    assert len(table._piece_numbers) == 0


@pytest.mark.parametrize(
    ("text", "num_sentences"),
    [
        pytest.param("one", 1, id="none ended"),
        pytest.param("One. Two", 2, id="two"),
        pytest.param('He said "no!" She left.', 2, id="a quotation mark belongs to its end"),
        pytest.param("One.) ... Two? Three.", 3, id="signs in a row"),
        pytest.param("One.). Two", 2, id="signs between two ends"),
        pytest.param("。好。 好", 3, id="Chinese signs"),
    ],
)
def test_sentences(text, num_sentences):
    table = WordTable(NativeSplitter())
    found = table.words(text)
    assert sentences_in(table.flags(found.ids).tolist()) == num_sentences
    assert table.num_sentences(found.piece_ids, np.array([0])) == [num_sentences]
    # After another line that has ended, each line begins anew.
    twice = np.concatenate([found.piece_ids, found.piece_ids])
    lines = np.array([0, len(found.piece_ids)])
    assert table.num_sentences(twice, lines).tolist() == [num_sentences] * 2


@pytest.mark.parametrize("text", ["", "a" * 500, "中" * 500, "a中𠀀" * 200, "é" * 33])
def test_parts_are_whole_and_short_enough(text):
    parts = list(_parts_of_bytes(text, 100))

    assert "".join(parts) == text
    assert all(len(part.encode()) <= 100 for part in parts)
