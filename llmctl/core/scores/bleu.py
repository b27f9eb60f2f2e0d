"""BLEU and chrF of a corpus, by sacrebleu, with a tokenizer that fits the language."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec


@dataclass(frozen=True)
class CorpusScore:
    """One figure and how it was made.

    Attributes:
        score: From 0 to 100.
        signature: sacrebleu's: references, case, tokenizer, smoothing, version.
    """

    score: float
    signature: str


def bleu(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], language: str | None = None
) -> CorpusScore:
    """Return corpus BLEU, the n-grams being of what `bleu_tokenizer` gives.

    Args:
        hypotheses: One text a segment.
        references: One or several whole translations, each with a text a segment.
        language: Of the texts, e.g. "zh"; None is read as a language written with spaces.

    Raises:
        ValueError: There are no hypotheses, no references, or not as many of each.

    Source: Post 2018, A Call for Clarity in Reporting BLEU Scores, arXiv:1804.08771.
    """
    check_segments(hypotheses, references)
    from sacrebleu.metrics.bleu import BLEU

    metric = BLEU(tokenize=bleu_tokenizer(language))
    score = metric.corpus_score(hypotheses, references).score
    return CorpusScore(float(score), str(metric.get_signature()))


def chrf(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> CorpusScore:
    """Return corpus chrF, which needs no words and so suits every script.

    Args:
        hypotheses: One text a segment.
        references: One or several whole translations, each with a text a segment.

    Raises:
        ValueError: There are no hypotheses, no references, or not as many of each.

    Source: Popović 2015, chrF: character n-gram F-score, W15-3049.
    """
    check_segments(hypotheses, references)
    from sacrebleu.metrics.chrf import CHRF

    metric = CHRF()
    score = metric.corpus_score(hypotheses, references).score
    return CorpusScore(float(score), str(metric.get_signature()))


def bleu_tokenizer(language: str | None) -> str:
    """Return sacrebleu's tokenizer for a language.

    The default, 13a, splits at spaces: a Chinese sentence is one word to it, and two that
    differ in a character share nothing.
    """
    if language == "zh":
        return "zh"
    if language == "ja":
        return "ja-mecab" if find_spec("MeCab") and find_spec("ipadic") else "char"
    return "13a"


def check_segments(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    """Refuse texts that do not pair up.

    Raises:
        ValueError: There are no hypotheses, no references, or not as many of each.
    """
    if not hypotheses or not references:
        raise ValueError(
            f"got {len(hypotheses)} hypotheses and {len(references)} sets of references; "
            "each needs at least one"
        )
    for number, reference in enumerate(references, 1):
        if len(reference) != len(hypotheses):
            raise ValueError(
                f"{len(hypotheses)} hypotheses, but {len(reference)} references in set {number}"
            )
