"""ROUGE by rouge-score, with words for scripts that it does not know.

rouge-score's own tokenizer keeps only a-z and 0-9: identical Chinese sentences score 0,
and ones that differ in all but a number score well.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata

from llmctl.core.scores.bleu import check_segments

TYPES = ("rouge1", "rouge2", "rougeL", "rougeLsum")
# Scripts written without spaces between words, and Hangul, whose words take endings:
# ideographs (basic, extensions, compatibility), kana, bopomofo, Hangul syllables and letters.
CJK = (
    "\u1100-\u11ff\u3005-\u3007\u3021-\u3029\u3038-\u303b\u3041-\u3096\u309d-\u309f"
    "\u30a1-\u30fa\u30fc-\u30ff\u3105-\u312f\u3131-\u318e\u31a0-\u31bf\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\uff66-\uff9f"
    "\U00020000-\U0003ffff"
)
_TOKEN = re.compile(rf"[{CJK}]|[^\W_{CJK}]+")
_SENTENCE_END = re.compile(r"(?<=[。！？])")


@dataclass(frozen=True)
class RougeScores:
    """Mean F-measures over the segments, from 0 to 1, and how they were made.

    Attributes:
        rouge1: Of words.
        rouge2: Of pairs of words.
        rougeL: Of the longest common subsequence of the whole texts.
        rougeLsum: Of longest common subsequences by sentence.
        signature: References, tokenizer, stemming, sentence ends, version of rouge-score.
    """

    rouge1: float
    rouge2: float
    rougeL: float
    rougeLsum: float
    signature: str


class UnicodeTokenizer:
    """A CJK character is a word; elsewhere a word is a run of letters and digits, lower case.

    On text of a-z, 0-9 and spaces it is rouge-score's own tokenizer.
    """

    def tokenize(self, text: str) -> list[str]:
        """Return the words of a text: "用GPT-4写诗" is 用, gpt, 4, 写, 诗."""
        return _TOKEN.findall(text.lower())


def rouge(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], language: str | None = None
) -> RougeScores:
    """Return ROUGE-1, -2, -L and -Lsum, each the mean over the segments.

    English goes through rouge-score unchanged, without stemming. Every other language has
    words by `UnicodeTokenizer`, and sentences end at 。！？ too. Of several references the
    one with the highest F-measure counts, for each type by itself.

    Args:
        hypotheses: One text a segment.
        references: One or several sets, each with a text a segment.
        language: Of the texts, e.g. "zh"; None is not English.

    Raises:
        ValueError: There are no hypotheses, no references, or not as many of each.

    Source: Lin 2004, ROUGE: A Package for Automatic Evaluation of Summaries, W04-1013.
    """
    check_segments(hypotheses, references)
    from rouge_score.rouge_scorer import RougeScorer

    english = language == "en"
    scorer = RougeScorer(TYPES, tokenizer=None if english else UnicodeTokenizer())
    prepared = (lambda text: text) if english else _sentence_a_line
    totals = dict.fromkeys(TYPES, 0.0)
    for index, hypothesis in enumerate(hypotheses):
        targets = [prepared(reference[index]) for reference in references]
        found = scorer.score_multi(targets, prepared(hypothesis))
        for name in TYPES:
            totals[name] += float(found[name].fmeasure)
    means = {name: total / len(hypotheses) for name, total in totals.items()}
    return RougeScores(**means, signature=_signature(len(references), english=english))


def _sentence_a_line(text: str) -> str:
    return _SENTENCE_END.sub("\n", text)


def _signature(num_references: int, *, english: bool) -> str:
    tokenizer, sentences = (
        ("a-z0-9", "newline") if english else ("unicode-cjkchar", "newline。！？")
    )
    return "|".join(
        (
            f"nrefs:{num_references}",
            "score:mean-f1",
            f"tok:{tokenizer}",
            "case:lc",
            "stem:no",
            f"lsum:{sentences}",
            f"rouge-score:{metadata.version('rouge-score')}",
        )
    )
