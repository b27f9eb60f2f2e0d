"""repair: each step by hand, what must stay, and that once is enough."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmctl.core.text.repair import repair


@pytest.mark.parametrize(
    ("broken", "mended"),
    [
        pytest.param("itâ€™s â€œfineâ€\x9d", "it’s “fine”", id="UTF-8 read as Windows-1252"),
        pytest.param("æ\x96\x87å\xad\x97 ok", "文字 ok", id="Chinese UTF-8 read as Latin-1"),
        pytest.param("one\r\ntwo\rthree\u2028four", "one\ntwo\nthree\nfour", id="line ends"),
        pytest.param("cafe\u0301", "café", id="NFC"),
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
        pytest.param("&lt;b&gt; &amp;", id="HTML entities"),
    ],
)
def test_leaves_alone(text):
    assert repair(text) == text


@given(
    st.text(
        alphabet=st.sampled_from("a中 \n\t\r\u200d\u200b\u0301é“，\x00\u3000\u1100ക"), max_size=40
    )
)
@settings(max_examples=200, deadline=None)
def test_a_second_repair_changes_nothing(text):
    assert repair(repair(text)) == repair(text)


def test_a_long_line_of_blanks_takes_no_time():
    assert repair((" " * 200_000 + "x") * 5).count("x") == 5
