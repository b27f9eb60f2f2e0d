"""repair: each step by hand, what must stay, and that once is enough."""

import time

import pytest
from ftfy.badness import MOJIBAKE_CATEGORIES, is_bad
from hypothesis import given, settings
from hypothesis import strategies as st

from llmctl.core.text import repair as module
from llmctl.core.text.repair import repair

# Each letter that bytes are mistaken for, and some beside them.
MISTAKEN = sorted(
    {chr(code) for code in range(0x80, 0x100)}
    | {sign for signs in MOJIBAKE_CATEGORIES.values() for sign in signs}
    | set("abZ Яжβ……——“”中文，。")
)


@pytest.mark.parametrize(
    ("broken", "mended"),
    [
        pytest.param("itâ€™s â€œfineâ€\x9d", "it’s “fine”", id="UTF-8 read as Windows-1252"),
        pytest.param("æ\x96\x87å\xad\x97 ok", "文字 ok", id="Chinese UTF-8 read as Latin-1"),
        pytest.param("It鈥檚", "It’s", id="an apostrophe read as GBK"),
        pytest.param("涓\ue15f枃", "中文", id="Chinese UTF-8 read as GB18030"),
        pytest.param("这里 ok\n淇濆瓨\n那里", "这里 ok\n保存\n那里", id="one line read as GBK"),
        pytest.param("one\r\ntwo\rthree\u2028four", "one\ntwo\nthree\nfour", id="line ends"),
        pytest.param("cafe\u0301", "café", id="NFC"),
        pytest.param("a" + "\u0323\u0301" * 40, "ạ" + "\u0323" * 14 + "\u0301" * 15, id="marks"),
        pytest.param("a\x00b\x07c\ufeffd\u200be\u00adf", "abcdef", id="invisible characters"),
        pytest.param("\x1b[31mred\x1b[0m", "red", id="terminal escapes"),
        pytest.param("x\ud800y", "x\ufffdy", id="lone surrogate"),
        pytest.param("\ud83d\ude00", "😀", id="surrogate pair"),
        pytest.param("a\u00a0b\u202fc", "a b c", id="special spaces"),
        pytest.param("a  \nb\t\n\n\n\n\n\nc", "a\nb\n\n\nc", id="trailing blanks, blank lines"),
        pytest.param("a" + " " * 300 + "b", "a b", id="a very long run of blanks"),
        pytest.param("word\u200d word\u200c", "word word", id="joiners after Latin script"),
        pytest.param("中\u200d文\u200c", "中文", id="joiners after Chinese"),
    ],
)
def test_mends(broken, mended):
    assert repair(broken) == mended


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("你好，世界！（真的？）：「是」；“对”……", id="full-width punctuation"),
        pytest.param("ｆｕｌｌ　ｗｉｄｔｈ　１２３", id="full-width letters and space"),
        pytest.param("“curly” ‘quotes’ — ﬁne", id="curly quotes, dashes, ligatures"),
        pytest.param("が か ぱ は ｶﾞ", id="kana with and without voicing marks"),
        pytest.param("می\u200cخواهم", id="Persian non-joiner"),
        pytest.param("👨\u200d👩\u200d👧", id="emoji joined by a joiner"),
        pytest.param("ക്\u200d", id="Malayalam joiner at the end of a word"),
        pytest.param("def f():\n    x    = 1\n\n\n\tpass", id="code with its columns and tabs"),
        pytest.param("    indented first line", id="indentation of the first line"),
        pytest.param("锟斤拷锟斤拷", id="what GBK makes of lost characters"),
        pytest.param("浣犲ソ锛屼笘鐣�", id="GBK with a byte lost"),
        pytest.param(
            "浅笑微颦。\n婵娟。\n## 图片\n联通", id="Chinese whose GBK is UTF-8 by chance"
        ),
        pytest.param("涓涓细流，不绝如缕", id="Chinese with a sign of mojibake"),
        pytest.param(
            "ภาษาไทย བོད་ཡིག العَرَبِيَّة हिन्दी", id="vowel signs of Thai, Tibetan, Arabic, Hindi"
        ),
        pytest.param("👩🏽‍🚀 ❤️ 🏳️‍🌈 1️⃣", id="emoji with skin, variation, joiner, keycap"),
        pytest.param("œuvre, Œuvre, cœur", id="French ligatures"),
        pytest.param("&lt;b&gt; &amp;", id="HTML entities"),
    ],
)
def test_leaves_alone(text):
    assert repair(text) == text


@given(
    st.text(
        alphabet=st.sampled_from(
            "a中 \n\t\r\u200d\u200b\u0301é“，\x00\u3000\u1100ക\xa0\x85Ã©œ\ud83d\udc4d"
        ),
        max_size=40,
    )
    | st.text(alphabet=st.sampled_from(MISTAKEN), max_size=12)
    | st.text(alphabet=st.characters(exclude_categories=()), max_size=40)
    | st.text(alphabet=st.characters(min_codepoint=0x4E00, max_codepoint=0x9FFF), max_size=6)
)
@settings(max_examples=600, deadline=None)
def test_a_second_repair_changes_nothing(text):
    repaired = repair(text)

    assert repair(repaired) == repaired
    repaired.encode()


@given(st.text(alphabet=st.sampled_from(MISTAKEN), min_size=1, max_size=5))
@settings(max_examples=1000, deadline=None)
def test_whatever_is_bad_is_suspicious(text):
    if is_bad(text):
        assert module._SUSPICIOUS.search(text)


@pytest.mark.parametrize("first", MISTAKEN)
def test_whatever_two_neighbours_are_bad_are_suspicious(first):
    for second in MISTAKEN:
        for text in (first + second, "a" + first + second, first + second + "a"):
            assert not is_bad(text) or module._SUSPICIOUS.search(text), ascii(text)


@given(st.text(alphabet=st.sampled_from("中文字数据模型，。：“”、的是在了ab 12"), max_size=12))
@settings(max_examples=300, deadline=None)
def test_restores_whole_lines_read_as_gbk(text):
    try:
        misread = text.encode().decode("gb18030")
    except UnicodeError:
        return  # a byte is lost
    assert repair(misread) == repair(text)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("\x00" * 1_000_000, id="NUL"),
        pytest.param(" " * 1_000_000, id="blanks"),
        pytest.param("x" + " \t" * 500_000 + "x", id="mixed blanks"),
        pytest.param("\n" * 1_000_000, id="newlines"),
        pytest.param("\ud800" * 500_000, id="lone surrogates"),
        pytest.param("\u200d" * 500_000, id="joiners"),
        pytest.param("e" + "\u0301\u0323" * 200_000, id="combining marks"),
        pytest.param("涓\n" * 100_000, id="signs of GBK"),
        pytest.param("é\x1b[" * 100_000, id="terminal escapes"),
    ],
)
def test_takes_linear_time(text):
    begin = time.process_time()

    repair(text)

    assert time.process_time() - begin < 2


def test_a_long_line_of_blanks_takes_no_time():
    assert repair((" " * 200_000 + "x") * 5).count("x") == 5
