"""C4's rules: lines cut out of a text, and what the rest must have.

Source: Raffel et al. 2020, C4, section 2.2, arXiv:1910.10683, in the order of datatrove 0.10,
with its two rules from the published code (long words, policies).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np

from llmctl.core.clean_plan import QualityRules
from llmctl.core.text.text_analysis import TextAnalysis
from llmctl.core.text.word_table import WordTable, sentences_in

C4_RULES = ("drop_lorem_ipsum", "drop_curly_brackets", "min_sentences")
"""The rules that drop a text, in the order of lines and then at the end."""

_CITATION = re.compile(r"\[\d*]|\[edit]|\[citation needed]")
_POLICIES = (
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
)
_LATIN_ENDS = (".", "?", "!", '"', "'")
# What spaCy makes a token of: any white space but a single blank.
_SPACE_TOKEN = re.compile(r"\s{2,}|[^\S ]")
_RARE_SPACE = re.compile(r"[^\S \n\r\t]")


@dataclass(slots=True)
class C4Result:
    """What C4's rules make of a text.

    Attributes:
        text: The lines that are left, blanks around them and around all removed.
        values: Rule → value, of those that were met before the text was dropped.
        dropped_by: The rule that drops the text, or None.
        is_changed: Whether words were cut out.
    """

    text: str
    values: dict[str, float] = field(default_factory=dict[str, float])
    dropped_by: str | None = None
    is_changed: bool = True


class C4Lines:
    """C4's rules with their thresholds.

    Args:
        rules: The plan's, resolved.
        other_ends: What ends a line beside C4's signs, in other scripts.
    """

    def __init__(self, rules: QualityRules, other_ends: Collection[str] = ()) -> None:
        self._rules = rules
        self._most_word_characters = _number(rules.max_line_word_characters)
        self._least_words = _number(rules.min_line_words)
        self._least_sentences = _number(rules.min_sentences)
        self._ends = (*_LATIN_ENDS, *sorted(other_ends))
        self.is_active = (
            self._most_word_characters is not None
            or self._least_words is not None
            or self._least_sentences is not None
            or any(
                (
                    rules.cut_citations,
                    rules.cut_unfinished_lines,
                    rules.drop_lorem_ipsum,
                    rules.cut_javascript_lines,
                    rules.drop_curly_brackets,
                    rules.cut_policy_lines,
                )
            )
        )

    def apply(self, analysis: TextAnalysis, *, go_on: bool = False) -> C4Result:
        """Cut lines and citations out, and judge the rest.

        Args:
            analysis: The text.
            go_on: Whether to look at the other rules where one has dropped the text.
        """
        kept, result = self._kept_lines(analysis, go_on)
        if result.dropped_by is None or go_on:
            result.text = "\n".join(line.text for line in kept).strip()
            if self._least_sentences is not None:
                num_sentences = self._num_sentences(analysis, kept)
                result.values["min_sentences"] = num_sentences
                if num_sentences < self._least_sentences and result.dropped_by is None:
                    result.dropped_by = "min_sentences"
        return result

    def _kept_lines(self, analysis: TextAnalysis, go_on: bool) -> tuple[list[_Line], C4Result]:
        rules = self._rules
        text = analysis.text
        has_citations = bool(rules.cut_citations and _CITATION.search(text))
        is_suspect = has_citations or self._is_suspect(text)
        result = C4Result(text, {rule: 0.0 for rule in C4_RULES[:2] if getattr(rules, rule)})
        kept: list[_Line] = []
        place = 0
        for whole_line in analysis.lines:
            line = _Line(whole_line.strip(), place)
            words = line.text.split()
            line.num_pieces = len(words)
            place += len(words)
            if self._has_long_word(line.text, words):
                continue
            if has_citations:
                line.cut_citations()
            if self._is_unfinished(line.text) or self._is_short(analysis.table, line.text, words):
                continue
            if is_suspect:
                dropped_by, is_cut = self._judge_line(line.text)
                if dropped_by is not None:
                    result.values[dropped_by] = 1.0
                    result.dropped_by = result.dropped_by or dropped_by
                    if not go_on:
                        return kept, result
                    continue
                if is_cut:
                    continue
            kept.append(line)
        result.is_changed = len(kept) < len(analysis.lines) or any(
            line.has_lost_citations for line in kept
        )
        return kept, result

    def _is_suspect(self, text: str) -> bool:
        """Return whether a line may have what the rules of single lines look for."""
        rules = self._rules
        lower = text.lower()
        return bool(
            (rules.drop_lorem_ipsum and "lorem ipsum" in lower)
            or (rules.cut_javascript_lines and "javascript" in lower)
            or (rules.drop_curly_brackets and "{" in text)
            or (rules.cut_policy_lines and any(policy in lower for policy in _POLICIES))
        )

    def _has_long_word(self, line: str, words: list[str]) -> bool:
        most = self._most_word_characters
        return most is not None and len(line) > most and max(map(len, words), default=0) > most

    def _is_unfinished(self, line: str) -> bool:
        return bool(self._rules.cut_unfinished_lines) and (
            not line.endswith(self._ends) or line.endswith("...")
        )

    def _is_short(self, table: WordTable, line: str, words: list[str]) -> bool:
        if self._least_words is None:
            return False
        if table.splitter.splits_at_spaces:
            return len(words) < self._least_words
        return len(table.words(line).ids) < self._least_words

    def _judge_line(self, line: str) -> tuple[str | None, bool]:
        """Return the rule by which the line drops the text, and whether the line is cut."""
        rules = self._rules
        lower = line.lower()
        if rules.drop_lorem_ipsum and "lorem ipsum" in lower:
            return "drop_lorem_ipsum", False
        if rules.cut_javascript_lines and "javascript" in lower:
            return None, True
        if rules.drop_curly_brackets and "{" in line:
            return "drop_curly_brackets", False
        return None, bool(rules.cut_policy_lines) and any(policy in lower for policy in _POLICIES)

    def _num_sentences(self, analysis: TextAnalysis, lines: list[_Line]) -> int:
        table = analysis.table
        if not table.splitter.splits_at_spaces or analysis.words.are_joined:
            return sum(_sentences_of_line(table, line.text) for line in lines)
        has_rare_space = _RARE_SPACE.search(analysis.text) is not None
        num_sentences = 0
        starts: list[int] = []
        counts: list[int] = []
        for line in lines:
            text = line.text
            is_usual = not (
                line.has_lost_citations
                or "  " in text
                or "\t" in text
                or (has_rare_space and _RARE_SPACE.search(text))
            )
            if is_usual and line.num_pieces:
                starts.append(line.place)
                counts.append(line.num_pieces)
            else:
                num_sentences += _sentences_of_line(table, text)
        if starts:
            lengths = np.array(counts, dtype=np.int64)
            ends = np.cumsum(lengths)
            line_starts = ends - lengths
            places = np.repeat(np.array(starts) - line_starts, lengths) + np.arange(ends[-1])
            piece_ids = analysis.words.piece_ids[places]
            num_sentences += int(table.num_sentences(piece_ids, line_starts).sum())
        return num_sentences


@dataclass(slots=True)
class _Line:
    """A line, and where its pieces are among those of the text."""

    text: str
    place: int
    num_pieces: int = 0
    has_lost_citations: bool = False

    def cut_citations(self) -> None:
        without = _CITATION.sub("", self.text)
        self.has_lost_citations = without != self.text
        self.text = without


def _sentences_of_line(table: WordTable, line: str) -> int:
    """Count the sentences of one line, white space between words being a token of its own."""
    flags: list[int] = []
    for number, part in enumerate(_SPACE_TOKEN.split(line)):
        if number:
            flags.append(0)
        flags.extend(table.flags(table.words(part).ids).tolist())
    return sentences_in(flags)


def _number(threshold: float | bool | None) -> float | None:
    return None if threshold is None or threshold is False else float(threshold)
