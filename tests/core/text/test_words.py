"""words: spaced scripts by word, unspaced ones by character."""

import pytest

from llmctl.core.text.words import words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("Don't panic, x_1!", ["don", "t", "panic", "x", "1"], id="English"),
        pytest.param("用Python写3行。", ["用", "python", "写", "3", "行"], id="mixed Chinese"),
        pytest.param("ABC１２", ["abc12"], id="width and case"),
        pytest.param("hindi हिन्दी", ["hindi", "हिन्दी"], id="vowel signs stay in the word"),
        pytest.param("ไทย", ["ไ", "ท", "ย"], id="Thai by character"),
        pytest.param("한국어 문장", ["한국어", "문장"], id="Korean by word"),
        pytest.param("，。！ --", [], id="punctuation only"),
    ],
)
def test_splits(text, expected):
    assert words(text) == expected
