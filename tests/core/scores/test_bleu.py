"""BLEU and chrF: known values, sacrebleu called directly as oracle, refusals."""

from __future__ import annotations

import pytest

from llmctl.core.scores import bleu as bleu_module
from llmctl.core.scores.bleu import bleu, bleu_tokenizer, chrf

CHINESE = ["今天的天气非常好，我们一起去公园散步吧。", "人工智能正在改变世界。"]
OTHER_CHINESE = ["今天天气很好，我们去公园散步。", "人工智能改变了世界的样子。"]
ENGLISH = ["The cat sat on the mat by the door.", "It rained all day long, and all night."]
OTHER_ENGLISH = ["The cat is on the mat at the door.", "It rained the whole day, and all night."]


@pytest.mark.parametrize(
    ("texts", "language"),
    [
        pytest.param(CHINESE, "zh", id="Chinese"),
        pytest.param(ENGLISH, "en", id="English"),
        pytest.param(["今日はとても良い天気ですね。"], "ja", id="Japanese"),
    ],
)
def test_identical_texts_score_100(texts, language):
    assert bleu(texts, [texts], language).score == pytest.approx(100)
    assert chrf(texts, [texts]).score == pytest.approx(100)


def test_bleu_by_hand():
    # Of 6 words 5 agree, of 5 pairs 4, of 4 triples 3, of 3 quadruples 2; equal length.
    expected = 100 * (5 / 6 * 4 / 5 * 3 / 4 * 2 / 3) ** 0.25

    assert bleu(["a b c d e f"], [["a b c d e g"]], "en").score == pytest.approx(expected)


@pytest.mark.parametrize(
    ("hypotheses", "references", "language", "tokenizer"),
    [
        pytest.param(CHINESE, [OTHER_CHINESE], "zh", "zh", id="Chinese"),
        pytest.param(CHINESE, [OTHER_CHINESE, CHINESE[::-1]], "zh", "zh", id="two references"),
        pytest.param(ENGLISH, [OTHER_ENGLISH], "en", "13a", id="English"),
        pytest.param(ENGLISH, [OTHER_ENGLISH], None, "13a", id="language not known"),
    ],
)
def test_equals_sacrebleu(hypotheses, references, language, tokenizer):
    from sacrebleu.metrics import BLEU, CHRF

    for ours, oracle in [
        (bleu(hypotheses, references, language), BLEU(tokenize=tokenizer)),
        (chrf(hypotheses, references), CHRF()),
    ]:
        assert ours.score == pytest.approx(
            oracle.corpus_score(hypotheses, references).score, abs=1e-12
        )
        assert ours.signature == str(oracle.get_signature())
    assert f"tok:{tokenizer}|" in bleu(hypotheses, references, language).signature


def test_chinese_needs_its_tokenizer():
    as_chinese = bleu(CHINESE, [OTHER_CHINESE], "zh").score

    assert as_chinese > 30
    assert bleu(CHINESE, [OTHER_CHINESE], "en").score < 5


@pytest.mark.parametrize(
    ("found", "tokenizer"), [(None, "char"), (object(), "ja-mecab")], ids=["without", "with"]
)
def test_japanese_by_what_is_installed(monkeypatch, found, tokenizer):
    monkeypatch.setattr(bleu_module, "find_spec", lambda _name: found)

    assert bleu_tokenizer("ja") == tokenizer


@pytest.mark.parametrize("score", [bleu, chrf])
@pytest.mark.parametrize(
    ("hypotheses", "references", "message"),
    [
        pytest.param([], [[]], "got 0 hypotheses and 1 sets", id="no hypotheses"),
        pytest.param(["a"], [], "got 1 hypotheses and 0 sets", id="no references"),
        pytest.param(
            ["a", "b"], [["a", "b"], ["a"]], "2 hypotheses, but 1 references in set 2", id="unequal"
        ),
    ],
)
def test_refuses(score, hypotheses, references, message):
    with pytest.raises(ValueError, match=message):
        score(hypotheses, references)
