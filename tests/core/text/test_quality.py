"""Quality rules: values by hand, the bound that each breaks, and what must pass."""

import pytest

from llmctl.core.clean_plan import QualityRules
from llmctl.core.text.profiles import STANDARD
from llmctl.core.text.quality import (
    judge,
    letter_share,
    longest_word,
    repeated_line_share,
    visible_characters,
)


@pytest.mark.parametrize(
    ("measure", "text", "value"),
    [
        pytest.param(visible_characters, " a b\n c", 3, id="white space is not visible"),
        pytest.param(visible_characters, "春眠，ok", 8, id="wide characters count twice"),
        pytest.param(letter_share, "ab--", 0.5, id="letters"),
        pytest.param(letter_share, "春1 --", 0.5, id="Chinese letters, digits, no space"),
        pytest.param(letter_share, "हि", 1.0, id="a vowel sign belongs to its letter"),
        pytest.param(letter_share, " ", 0.0, id="no visible character"),
        pytest.param(repeated_line_share, "ab\nab\ncd\n", 2 / 6, id="the second of two"),
        pytest.param(repeated_line_share, "a\n\n\n\nb", 0.0, id="blank lines are no repeats"),
        pytest.param(repeated_line_share, "  x\nx", 0.5, id="indentation is no difference"),
        pytest.param(repeated_line_share, "", 0.0, id="no line"),
        pytest.param(longest_word, "ab abc", 3, id="words"),
        pytest.param(longest_word, "中文没有空格的句子", 0, id="Chinese needs no spaces"),
        pytest.param(longest_word, "中abcde文", 5, id="a run between Chinese characters"),
    ],
)
def test_measures_hand_worked_value(measure, text, value):
    assert measure(text) == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "rule", "value", "threshold"),
    [
        pytest.param("too short", "min_characters", 8, 20, id="short"),
        pytest.param("|---|---|" * 5, "min_letter_share", 0.0, 0.4, id="a rule of a table"),
        pytest.param("the same line\n" * 5, "max_repeated_line_share", 0.8, 0.5, id="repeats"),
        pytest.param("x" * 1001, "max_word_characters", 1001, 1000, id="a blob"),
    ],
)
def test_names_the_broken_rule(text, rule, value, threshold):
    violation = judge(text, STANDARD)

    assert violation is not None
    assert (violation.rule, violation.value, violation.threshold) == (rule, value, threshold)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("os.getpid()\nReturn the current process id.", id="a short reference entry"),
        pytest.param("春眠不觉晓，处处闻啼鸟。", id="half a quatrain"),
        pytest.param("中文" * 2000, id="a long Chinese line"),
        pytest.param("日本語の文章には空白がありません。" * 100, id="a long Japanese line"),
        pytest.param(
            "| name | value |\n| --- | --- |\n| width | 256 |\n| heads | 4 |", id="a small table"
        ),
        pytest.param(
            "for x in y:\n    pass\nfor z in y:\n    pass", id="code with a repeated line"
        ),
        pytest.param("ประเทศไทยมีภาษาไทยเป็นภาษาราชการ" * 50, id="Thai without spaces"),
    ],
)
def test_passes_sound_text(text):
    assert judge(text, STANDARD) is None


@pytest.mark.parametrize("text", ["", " \n\t", "\u3000"])
def test_text_of_white_space_never_passes(text):
    plan = QualityRules(min_characters=0, min_letter_share=0.0)

    violation = judge(text, plan)

    assert violation is not None
    assert (violation.rule, violation.value, violation.threshold) == ("min_characters", 0, 1)


def test_thresholds_are_the_plans():
    text = "x" * 50

    assert judge(text, QualityRules(max_word_characters=50)) is None
    assert judge(text, QualityRules(max_word_characters=49)) is not None
