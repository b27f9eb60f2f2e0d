"""language_of: by script, by stop words, and unsure where it should be."""

import pytest

from llmctl.core.text.language import language_of


@pytest.mark.parametrize(
    ("text", "language"),
    [
        pytest.param("Return the item at the end of the list.", "en", id="English"),
        pytest.param("今天天气很好，我们去公园散步。", "zh", id="simplified Chinese"),
        pytest.param("領導理事會的說明與摘要", "zh", id="traditional Chinese"),
        pytest.param("今日は天気がいいので、公園を散歩します。", "ja", id="Japanese"),
        pytest.param("오늘은 날씨가 좋아서 공원에 갑니다.", "ko", id="Korean"),
        pytest.param("der Hund und die Katze sind in dem Haus", "und", id="German"),
        pytest.param("Руководящий совет и описание", "und", id="Russian"),
        pytest.param("x = foo(bar, baz)", "und", id="code alone"),
        pytest.param("", "und", id="nothing"),
        pytest.param("。", "und", id="punctuation"),
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
