"""Quality rules: values by hand, the first rule broken, what goes on, and what must pass."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmctl.core.clean_plan import CleanPlan, QualityRules
from llmctl.core.errors import MissingInputError
from llmctl.core.text import quality, word_splitting
from llmctl.core.text.profiles import STANDARD
from llmctl.core.text.quality import Judge

JUDGES: dict[str, Judge] = {}
RULES = [
    name
    for name in QualityRules.model_fields
    if name not in ("stop_words", "short_line_characters")
    and not name.startswith("cut_")
    and name not in ("max_line_word_characters", "min_line_words")
]
ENGLISH_PROSE = (
    "The committee met on Tuesday to discuss the new library. Many people came, and the room "
    "was full to the doors. An architect showed how the reading hall would look. She said that "
    "it should be open at night. Nobody spoke against it, but some asked what it would cost. "
    "The mayor answered that the money had been set aside years ago. After two hours they "
    "agreed to begin in spring."
)
CHINESE_PROSE = (
    "昨天下午，图书馆的新楼在市中心正式开放了。很多人带着孩子来看，也有不少老人坐在窗边读报。"
    "馆长说，这座楼用了三年时间才建成，里面有五十万册书。年轻的设计师站在门口，向大家介绍阅览室"
    "为什么朝南。她希望每个人都能在这里找到安静的角落。到了晚上，灯光亮起来，街上的行人都停下来看。"
)
CHINESE_PROSE_LONG = (
    CHINESE_PROSE
    + "\n"
    + (
        "第二天清晨，河边的市场已经热闹起来。卖菜的农民把车停在桥下，和买菜的人谈价钱。一位老师带着学生"
        "来写生，他们画船、画树，也画远处的山。中午下了一阵雨，大家躲进茶馆，听说书人讲古代的故事。"
    )
)
TRADITIONAL_PROSE = (
    "昨天下午，圖書館的新樓在市中心正式開放了。很多人帶著孩子來看，也有不少老人坐在窗邊讀報。"
    "館長說，這座樓用了三年時間才建成，裡面有五十萬冊書。年輕的設計師站在門口，向大家介紹閱覽室"
    "為什麼朝南。她希望每個人都能在這裡找到安靜的角落。到了晚上，燈光亮起來，街上的行人都停下來看。"
)
JAPANESE_PROSE = (
    "昨日の午後、町の図書館に新しい建物が開きました。多くの人が子どもを連れて訪れ、窓のそばで"
    "新聞を読むお年寄りもいました。館長は、完成までに三年かかったと話しています。夜になると明かりが"
    "ともり、通りを歩く人たちも足を止めて眺めていました。来月からは夜九時まで利用できるそうです。"
)


def judge(text, language="en", **plan):
    return Judge(CleanPlan(**plan)).judge(text, language)


def measured(rule, text, language="en", **rules):
    """Return what a rule measures, its threshold being one that everything passes."""
    bound = 0 if rule.startswith("min_") else 1e9
    judgement = judge(text, language, profile="none", rules={rule: bound, **rules})
    return judgement.measures[rule]


@pytest.mark.parametrize(
    ("rule", "text", "value"),
    [
        pytest.param("min_characters", " a b\n c", 3, id="white space is not visible"),
        pytest.param("min_characters", "春眠，ok", 8, id="wide characters count twice"),
        pytest.param("min_letter_share", "ab--", 0.5, id="letters"),
        pytest.param("min_letter_share", "春1 --", 0.5, id="Chinese letters, digits, no space"),
        pytest.param("min_letter_share", "हि", 1.0, id="a vowel sign belongs to its letter"),
        pytest.param("min_letter_share", "𠀀😀", 0.5, id="beyond the basic plane"),
        pytest.param("max_repeated_line_share", "ab\nab\ncd\n", 2 / 6, id="the second of two"),
        pytest.param("max_repeated_line_share", "a\n\n\n\nb", 0.0, id="blank lines"),
        pytest.param("max_repeated_line_share", "  x\nx", 0.5, id="indentation"),
        pytest.param("max_word_characters", "ab abc", 3, id="words"),
        pytest.param("max_word_characters", "中文没有空格的句子", 0, id="Chinese has no spaces"),
        pytest.param("max_word_characters", "中abcde文é", 5, id="between Chinese characters"),
        pytest.param("max_word_characters", "é中abcde", 5, id="at the end"),
        pytest.param("max_word_characters", "éabcd中ab", 5, id="at the beginning"),
        pytest.param("max_duplicate_paragraph_share", "a\n\nb\n\na\n\na", 2 / 4, id="paragraphs"),
        pytest.param(
            "max_duplicate_paragraph_character_share", "ab\n\nab", 2 / 6, id="their characters"
        ),
        pytest.param("max_duplicate_line_share", "a\n\na\nb", 1 / 3, id="lines"),
        pytest.param("max_duplicate_line_character_share", "ab\nab", 2 / 5, id="of all text"),
        pytest.param("max_top_2_gram_character_share", "a b a b c", 6 / 9, id="a b, twice"),
        pytest.param("max_top_3_gram_character_share", "a b c", 1.0, id="once, with spaces"),
        pytest.param(
            "max_top_2_gram_character_share", "a b ccc dd", 3 / 10, id="of equals the first"
        ),
        pytest.param(
            "max_duplicate_5_gram_character_share",
            "a b c d e a b c d e",
            5 / 19,
            id="the second five",
        ),
        pytest.param(
            "max_duplicate_5_gram_character_share",
            "ab c d e f x a bc d e f",
            6 / 23,
            id="run together, 'ab c' repeats as 'a bc'",
        ),
        pytest.param("min_words", "Well, two words -- !", 3, id="signs are no words"),
        pytest.param("min_mean_word_characters", "ab, abcd", 3, id="mean length"),
        pytest.param("max_hashes_per_word", "# a b", 1 / 3, id="hashes"),
        pytest.param("max_ellipses_per_word", "a… b ... c", 2 / 5, id="ellipses"),
        pytest.param("max_bullet_line_share", "- a\n • b\nc\nd", 0.5, id="bullets"),
        pytest.param("max_ellipsis_line_share", "a...\nb… \nc\nd", 0.5, id="open ends"),
        pytest.param(
            "min_alphabetic_word_share",
            "a 1 b2 .",
            2 / 3,
            id="words with a letter, of those that are no signs",
        ),
        pytest.param("min_terminal_line_share", "a.\n\nb\nc!\nd", 0.5, id="finished lines"),
        pytest.param("max_short_line_share", "a\n" + "b" * 31, 0.5, id="short lines"),
        pytest.param("max_duplicate_character_share", "ab\nab\nc", 2 / 5, id="without feeds"),
        pytest.param("max_newlines_per_word", "a b\nc\n", 2 / 3, id="feeds to a word"),
        pytest.param("max_line_characters", "ab\nabc\n", 3, id="longest line"),
        pytest.param("max_mean_line_characters", "ab\nabcd\n", 3, id="mean line"),
        pytest.param("min_alphanumeric_share", "ab{}", 0.5, id="letters of all"),
    ],
)
def test_measures_hand_worked_value(rule, text, value):
    assert measured(rule, text) == pytest.approx(value)


def test_counts_stop_words_once_each():
    words = ("the", "of", "and")

    assert measured("min_stop_words", "the cat of the house", stop_words=words) == 2
    assert measured("min_stop_words", "The theme", stop_words=words) == 0


def test_short_lines_are_as_short_as_the_plan_says():
    assert measured("max_short_line_share", "abc\nabcd", short_line_characters=3) == 0.5


def test_few_and_many_words_are_measured_alike():
    words = [f"w{number * number % 23}" for number in range(60)]
    for rule in RULES:
        if "gram" in rule:
            few = measured(rule, " ".join(words))
            filler = " ".join(f"unlike{number}" for number in range(100))
            text = " ".join(words) + " " + filler
            many = measured(rule, text)
            assert many * len(text) == pytest.approx(few * len(" ".join(words))), rule


@pytest.mark.parametrize(
    ("text", "rule", "value", "threshold"),
    [
        pytest.param("too short", "min_characters", 8, 10, id="short"),
        pytest.param("|---|---|" * 5, "min_letter_share", 0.0, 0.4, id="a rule of a table"),
        pytest.param("the same line\n" * 5, "max_repeated_line_share", 0.8, 0.5, id="repeats"),
        pytest.param("x" * 1001, "max_word_characters", 1001, 1000, id="a blob"),
    ],
)
def test_standard_names_the_broken_rule(text, rule, value, threshold):
    violation = judge(text).violation

    assert violation is not None
    assert (violation.rule, violation.value, violation.threshold) == (rule, value, threshold)


@pytest.mark.parametrize("language", ["en", "zh", "ja", "ko", "de", "und"])
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
        pytest.param("for x in y:\n    pass\nfor z in y:\n    pass", id="code"),
        pytest.param("ประเทศไทยมีภาษาไทยเป็นภาษาราชการ" * 50, id="Thai without spaces"),
        pytest.param(ENGLISH_PROSE, id="English prose"),
        pytest.param(CHINESE_PROSE, id="Chinese prose"),
    ],
)
def test_standard_passes_sound_text_and_leaves_it_as_it_is(text, language):
    judgement = judge(text, language)

    assert judgement.violation is None
    assert judgement.text == text


@pytest.mark.parametrize("profile", ["standard", "web", "web-en", "web-zh", "code", "none"])
@pytest.mark.parametrize("text", ["", " \n\t", "\u3000", "\u2028\r"])
def test_text_of_white_space_never_passes(profile, text):
    rules = {"min_characters": 0, "min_letter_share": 0}
    violation = judge(text, profile=profile, rules=rules).violation

    assert violation is not None
    assert (violation.rule, violation.value, violation.threshold) == ("min_characters", 0, 1)


def test_value_on_the_threshold_passes():
    for rules in ({"max_word_characters": 50}, {"min_characters": 50}):
        assert judge("x" * 50, profile="none", rules=rules).violation is None
    assert judge("x" * 50, profile="none", rules={"max_word_characters": 49.5}).violation
    assert judge("x" * 50, profile="none", rules={"min_characters": 50.5}).violation


def test_recipe_replaces_single_thresholds_by_language():
    plan = CleanPlan(
        rules={"min_characters": 5}, rules_by_language={"zh": {"min_characters": False}}
    )

    rules = {language: Judge(plan).rules(language) for language in ("en", "zh")}

    assert (rules["en"].min_characters, rules["zh"].min_characters) == (5, False)
    assert rules["zh"].min_letter_share == 0.4
    assert Judge(plan).judge("你", "zh").violation is None
    assert Judge(plan).judge("you", "en").violation.threshold == 5


def test_web_routes_by_language_and_web_en_does_not_touch_others():
    for profile, languages in {"web": {"en", "zh"}, "web-en": {"en"}, "web-zh": {"zh"}}.items():
        judge_ = Judge(CleanPlan(profile=profile))
        for language in ("en", "zh", "de", "und"):
            has_words_rules = judge_.rules(language).min_words is not None
            assert has_words_rules == (language in languages), (profile, language)


def test_web_judges_japanese_by_its_words_where_the_recipe_names_it():
    pytest.importorskip("sudachipy")
    for profile in ("web", "fineweb2"):
        named = CleanPlan(profile=profile, languages=("en", "ja"))
        assert Judge(CleanPlan(profile=profile)).rules("ja") == STANDARD
        assert Judge(named).rules("ja").max_mean_word_characters == 6


@pytest.mark.parametrize("profile", ["web", "web-en", "web-zh", "web-ja", "standard", "code"])
def test_english_only_rules_never_run_on_chinese_or_japanese(profile):
    if profile == "web-ja":
        pytest.importorskip("sudachipy")
    plan = CleanPlan(profile=profile)
    for language in ("zh", "ja"):
        rules = Judge(plan).rules(language)
        assert "the" not in (rules.stop_words or ())
        assert rules.min_sentences is None
        assert rules.min_line_words is None
        assert not rules.max_short_line_share
        assert rules.max_mean_word_characters in (None, 5, 6)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        pytest.param(ENGLISH_PROSE, "en", id="English"),
        pytest.param(CHINESE_PROSE, "zh", id="Chinese"),
        pytest.param(TRADITIONAL_PROSE, "zh", id="traditional Chinese"),
        pytest.param("“你来了吗？”\n“来了。”\n" + CHINESE_PROSE, "zh", id="dialogue"),
        pytest.param(JAPANESE_PROSE, "ja", id="Japanese"),
    ],
)
def test_web_passes_prose(text, language):
    if language == "ja":
        pytest.importorskip("sudachipy")
    assert judge(text, language, profile="web").violation is None


def test_closing_quotes_end_a_line_of_chinese_but_not_in_the_parity_profile():
    text = "他说：“好。”\n「是的」\n『对』\n这样……\n没有"
    rule = "min_terminal_line_share"
    values = {
        profile: next(
            finding.value
            for finding in Judge(CleanPlan(profile=profile)).explain(text, "zh")
            if finding.rule == rule
        )
        for profile in ("web", "web-zh", "fineweb2")
    }

    assert values == pytest.approx({"web": 4 / 5, "web-zh": 4 / 5, "fineweb2": 0})
    assert measured(rule, text, "zh") == pytest.approx(4 / 5)
    assert measured(rule, text, "en") == 0


def test_c4_cuts_lines_and_citations_and_the_rest_goes_on():
    text = f"Please enable JavaScript now.\n{ENGLISH_PROSE}[12]\nRead our privacy policy here.\nok"

    judgement = judge(text, profile="web")

    assert judgement.violation is None
    assert judgement.text == ENGLISH_PROSE
    assert judgement.measures["min_sentences"] == 7


def test_rules_after_c4_see_what_it_left():
    halves = ENGLISH_PROSE.replace("doors. ", "doors.\n")
    text = f"{halves}\n" + "You must enable JavaScript to read this page.\n" * 2

    judge_ = Judge(CleanPlan(profile="web", rules={"max_newlines_per_word": 1}))
    before, after = (judge_.judge(one, "en") for one in (text, halves))

    assert before.text == after.text == halves
    for rule in ("max_newlines_per_word", "max_short_line_share"):
        assert before.measures[rule] == after.measures[rule]


def test_dropped_text_is_left_as_it_was():
    text = f"{ENGLISH_PROSE} {{\nok"

    judgement = judge(text, profile="web")

    assert judgement.violation == quality.Violation("drop_curly_brackets", 1, 0)
    assert judgement.text == text


def test_unwanted_language_comes_first():
    plan = {"languages": ("en",)}

    assert judge("", "zh", **plan).violation == quality.Violation("languages", 0, 1)
    assert judge(ENGLISH_PROSE, "en", **plan).violation is None


def test_language_score():
    judge_ = Judge(CleanPlan(rules={"min_language_score": 0.65}))

    assert judge_.judge(ENGLISH_PROSE, "en", 0.65).violation is None
    assert judge_.judge(ENGLISH_PROSE, "en", 0.6).violation == quality.Violation(
        "min_language_score", 0.6, 0.65
    )


@pytest.mark.parametrize("head", ["# AUTO-GENERATED by x", "// Code generated by protoc. DO NOT"])
def test_code_profile_drops_generated_files(head):
    text = f"{head}\nx = 1\n"

    assert judge(text, profile="code").violation == quality.Violation("drop_generated_code", 1, 0)
    assert judge("x = 1\n" * 6 + head, profile="code").violation is None


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        pytest.param("x" * 1001, "max_line_characters", id="longest"),
        pytest.param(("x" * 101 + "\n") * 3, "max_mean_line_characters", id="mean"),
        pytest.param("{}[];" * 10, "min_alphanumeric_share", id="signs"),
    ],
)
def test_code_profile_drops(text, rule):
    assert judge(text, profile="code").violation.rule == rule


def test_explain_tells_every_active_rule_and_begins_as_the_judgement():
    text = ENGLISH_PROSE + "\nlorem ipsum dolor sit amet {\n" * 3
    judge_ = Judge(CleanPlan(profile="web"))

    findings = judge_.explain(text, "en")
    judgement = judge_.judge(text, "en")

    broken = [finding for finding in findings if not finding.passed]
    assert broken[0].rule == judgement.violation.rule
    assert len(broken) > 1
    assert {finding.rule for finding in findings} >= set(judgement.measures)
    for rule in RULES:
        is_active = getattr(judge_.rules("en"), rule) not in (None, False)
        assert is_active == (rule in {finding.rule for finding in findings}), rule


def test_missing_library_is_named_with_its_extra(monkeypatch):
    def refuse(name):
        raise ImportError(name)

    monkeypatch.setattr(word_splitting.importlib, "import_module", refuse)
    quality._splitter.cache_clear()
    try:
        for profile, extra in {"fineweb": "fineweb", "web-ja": "ja"}.items():
            with pytest.raises(MissingInputError, match=rf"llmctl-toolkit\[{extra}\]"):
                Judge(CleanPlan(profile=profile))
        with pytest.raises(MissingInputError, match=r"llmctl-toolkit\[ja\]"):
            Judge(CleanPlan(profile="web", languages=("en", "ja")))
        assert Judge(CleanPlan(profile="web")).judge(JAPANESE_PROSE, "ja").violation is None
        assert Judge(CleanPlan(profile="web")).judge(ENGLISH_PROSE, "en").violation is None
    finally:
        quality._splitter.cache_clear()


@settings(deadline=None)
@given(
    st.text(st.sampled_from("ab .\n\r\u2028\x00\ud800中。{[1]#…-é\U0001f600 ") | st.characters()),
    st.sampled_from(["en", "zh", "de"]),
    st.sampled_from(["standard", "web", "code", "none"]),
)
def test_any_text_is_judged_and_the_judgement_is_its_explanation(text, language, profile):
    judge_ = JUDGES.setdefault(profile, Judge(CleanPlan(profile=profile)))

    judgement = judge_.judge(text, language)
    findings = judge_.explain(text, language)

    first = next((finding for finding in findings if not finding.passed), None)
    if first is None:
        assert judgement.violation is None
        assert judgement.text.strip()
    else:
        assert judgement.violation == quality.Violation(first.rule, first.value, first.threshold)
