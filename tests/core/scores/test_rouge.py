"""ROUGE: known values, rouge-score called directly as oracle, Chinese, refusals."""

from __future__ import annotations

import pytest

from llmctl.core.scores.rouge import TYPES, UnicodeTokenizer, rouge

ENGLISH = ["The cat sat on the mat.\nIt was 3 p.m. then.", "Rain fell all day.", "Nothing alike"]
OTHER_ENGLISH = ["A cat sat on a mat.\nIt was 3 then.", "All day the rain fell.", "xyz"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("用GPT-4写诗2024", ["用", "gpt", "4", "写", "诗", "2024"], id="mixed"),
        pytest.param("café Müller", ["café", "müller"], id="accents stay"),
        pytest.param("𠮷野家。", ["𠮷", "野", "家"], id="beyond the basic plane"),
        pytest.param(
            "コーヒー 한국어", ["コ", "ー", "ヒ", "ー", "한", "국", "어"], id="kana, Hangul"
        ),
        pytest.param("snake_case, 3.5!", ["snake", "case", "3", "5"], id="as rouge-score"),
        pytest.param("。，！ \n", [], id="no words"),
    ],
)
def test_words(text, words):
    assert UnicodeTokenizer().tokenize(text) == words


@pytest.mark.parametrize(
    ("text", "language"),
    [
        pytest.param("今天的天气非常好。", "zh", id="Chinese"),
        pytest.param("今日はとても良い天気ですね。", "ja", id="Japanese"),
        pytest.param("오늘은 날씨가 좋다.", "ko", id="Korean"),
        pytest.param("Съешь ещё этих булок.", None, id="Russian"),
        pytest.param("The cat sat.", "en", id="English"),
    ],
)
def test_identical_texts_score_1(text, language):
    scores = rouge([text], [[text]], language)

    assert [getattr(scores, name) for name in TYPES] == [1.0] * 4


def test_chinese_by_hand():
    # 6 characters each, 4 in common in order; of 5 pairs each, 2 in common (我喜, 喜欢).
    scores = rouge(["我喜欢吃苹果"], [["我喜欢喝果汁"]], "zh")

    assert scores.rouge1 == pytest.approx(4 / 6)
    assert scores.rouge2 == pytest.approx(2 / 5)
    assert scores.rougeL == pytest.approx(4 / 6)


def test_number_alone_is_no_likeness():
    # rouge-score's own words of these two are one number: it gives 1.0.
    assert rouge(["股价上涨50点"], [["气温下降50度"]], "zh").rouge1 < 0.35


def test_sentences_end_at_chinese_marks():
    # The sentences are swapped: a summary's score by sentence is whole, as one text not.
    scores = rouge(["天气很好。我们散步！"], [["我们散步！天气很好。"]], "zh")

    assert scores.rougeLsum == 1.0
    assert scores.rougeL == pytest.approx(0.5)


def test_equals_rouge_score_for_english():
    from rouge_score.rouge_scorer import RougeScorer

    references = [OTHER_ENGLISH, ENGLISH[::-1]]
    oracle = RougeScorer(list(TYPES), use_stemmer=False)
    expected = dict.fromkeys(TYPES, 0.0)
    for index, text in enumerate(ENGLISH):
        best = oracle.score_multi([reference[index] for reference in references], text)
        for name in TYPES:
            expected[name] += best[name].fmeasure / len(ENGLISH)

    scores = rouge(ENGLISH, references, "en")

    assert {name: getattr(scores, name) for name in TYPES} == pytest.approx(expected, abs=1e-12)


def test_plain_english_is_the_same_as_an_unknown_language():
    known, unknown = (rouge(ENGLISH, [OTHER_ENGLISH], language) for language in ("en", None))

    assert [getattr(known, name) for name in TYPES] == [getattr(unknown, name) for name in TYPES]


def test_signature_tells_how():
    from importlib.metadata import version

    assert rouge(["好"], [["好"], ["坏"]], "zh").signature == (
        "nrefs:2|score:mean-f1|tok:unicode-cjkchar|case:lc|stem:no|lsum:newline。！？"
        f"|rouge-score:{version('rouge-score')}"
    )
    assert "tok:a-z0-9|" in rouge(["a"], [["a"]], "en").signature
    assert "lsum:newline|" in rouge(["a"], [["a"]], "en").signature


def test_refuses_unequal_numbers():
    with pytest.raises(ValueError, match="1 hypotheses, but 2 references in set 1"):
        rouge(["a"], [["a", "b"]])
