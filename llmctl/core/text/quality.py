"""The quality rules of `CleanPlan`: text → what each rule measures, and the first it breaks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from llmctl.core.clean_plan import CleanPlan, QualityRules
from llmctl.core.text import rule_measures
from llmctl.core.text.c4_lines import C4_RULES, C4Lines
from llmctl.core.text.profiles import (
    BLANK,
    C4,
    CODE_RULES,
    REPEATED_LINES,
    STANDARD_RULES,
    ResolvedProfile,
    WordKind,
    resolve,
    spacy_language,
)
from llmctl.core.text.punctuation import CLOSING_TERMINALS, TERMINAL_PUNCTUATION
from llmctl.core.text.rule_measures import MEASURES, Measure
from llmctl.core.text.spacy_words import SpacySplitter
from llmctl.core.text.text_analysis import TextAnalysis
from llmctl.core.text.word_splitting import (
    ChineseSplitter,
    JapaneseSplitter,
    NativeSplitter,
    Splitter,
)
from llmctl.core.text.word_table import WordTable

LANGUAGES = "languages"
"""The rule of documents in a language that is not wanted."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that a text breaks.

    Attributes:
        rule: The rule's key in the plan.
        value: What was measured; 1 for a rule that says yes or no.
        threshold: The bound in the plan.
    """

    rule: str
    value: float
    threshold: float


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the rules make of a text.

    Attributes:
        text: The text as it goes on: C4's rules cut lines and citations.
        violation: The first rule broken, in the profile's order.
        measures: Rule → value, of every rule measured up to there.
    """

    text: str
    violation: Violation | None
    measures: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule's verdict on a text.

    Attributes:
        rule: The rule's key in the plan.
        value: What was measured.
        threshold: The bound in the plan.
        passed: Whether the rule is kept.
    """

    rule: str
    value: float
    threshold: float
    passed: bool


class Judge:
    """Applies the quality rules of a plan to documents of any language.

    Args:
        plan: The recipe's section.

    Raises:
        MissingInputError: A library that the profile needs is not installed.
    """

    def __init__(self, plan: CleanPlan) -> None:
        self._plan = plan
        self._by_language: dict[str, _LanguageJudge] = {}
        self._tables: dict[object, WordTable] = {}
        for language in _languages_needed(plan):
            judge = self._for(language)
            if judge.needs_words:
                judge.make_table()

    def rules(self, language: str) -> QualityRules:
        """Return the thresholds for documents of a language."""
        return self._for(language).profile.rules

    def judge(self, text: str, language: str, language_score: float = 1.0) -> Judgement:
        """Return the first rule that a text breaks, and what goes on of it.

        Args:
            text: Any text.
            language: "en", "zh", "ja", another code of ISO 639-1, or "und".
            language_score: How sure that is, from 0 to 1.

        Raises:
            MissingInputError: Words of this language need a library that is not installed.
        """
        findings, text = self._findings(text, language, language_score, go_on=False)
        last = findings[-1] if findings else None
        return Judgement(
            text=text,
            violation=None
            if last is None or last.passed
            else Violation(last.rule, last.value, last.threshold),
            measures={finding.rule: finding.value for finding in findings},
        )

    def explain(self, text: str, language: str, language_score: float = 1.0) -> list[Finding]:
        """Return what every active rule says, also those after the first that is broken.

        The arguments and errors are those of `judge`.
        """
        return self._findings(text, language, language_score, go_on=True)[0]

    def _findings(
        self, text: str, language: str, language_score: float, *, go_on: bool
    ) -> tuple[list[Finding], str]:
        findings: list[Finding] = []
        if self._plan.languages:
            is_wanted = language in self._plan.languages
            findings.append(Finding(LANGUAGES, float(is_wanted), 1.0, is_wanted))
            if not is_wanted and not go_on:
                return findings, text
        text = self._for(language).apply(text, language_score, findings, go_on=go_on)
        return findings, text

    def _for(self, language: str) -> _LanguageJudge:
        if language not in self._by_language:
            self._by_language[language] = _LanguageJudge(
                resolve(self._plan, language), language, self._tables
            )
        return self._by_language[language]


class _LanguageJudge:
    """The rules for one language, made ready."""

    def __init__(
        self, profile: ResolvedProfile, language: str, tables: dict[object, WordTable]
    ) -> None:
        self.profile = profile
        self._language = language
        self._tables = tables
        rules = profile.rules
        ends = CLOSING_TERMINALS if profile.ends_with_quotes else TERMINAL_PUNCTUATION
        self._c4 = C4Lines(rules, CLOSING_TERMINALS if profile.ends_with_quotes else ())
        made: dict[str, Measure] = {
            "min_terminal_line_share": rule_measures.terminal_line_share(ends),
            "max_short_line_share": rule_measures.short_line_share(
                rules.short_line_characters or 30
            ),
        }
        if profile.words == "native":
            made["min_alphabetic_word_share"] = rule_measures.alphabetic_share_without_signs
        self._steps: list[tuple[str, Measure | None, float]] = []
        for name in profile.order:
            if name == BLANK or (name == C4 and self._c4.is_active):
                self._steps.append((name, None, 0.0))
            elif name != C4:
                threshold = getattr(rules, name)
                if threshold is not None and threshold is not False:
                    self._steps.append((name, made.get(name) or MEASURES[name], _bound(threshold)))

    @property
    def needs_words(self) -> bool:
        """Whether any rule looks at words."""
        return any(name not in _WITHOUT_WORDS for name, _, _ in self._steps)

    def make_table(self) -> WordTable:
        """Return the table of words, made when first needed.

        Raises:
            MissingInputError: What splits text into words is not installed.
        """
        words, stop_words = self.profile.words, frozenset(self.profile.rules.stop_words or ())
        language = spacy_language(self._language) if words == "spacy-by-language" else "en"
        key = (words, language, stop_words)
        if key not in self._tables:
            self._tables[key] = WordTable(_splitter(words, language), stop_words)
        return self._tables[key]

    def apply(
        self, text: str, language_score: float, findings: list[Finding], *, go_on: bool
    ) -> str:
        """Add what the rules find, up to the first that is broken, and return the text."""
        if not text:
            findings.append(_blank(self.profile.rules))
            return text
        for table in self._tables.values():
            table.forget_if_full()
        analysis = TextAnalysis(text, self.make_table, language_score)
        for name, measure, threshold in self._steps:
            if measure is not None:
                finding = _finding(name, measure(analysis), threshold)
                if finding is not None:
                    findings.append(finding)
                    if not finding.passed and not go_on:
                        return analysis.text
            elif name == C4:
                analysis, is_dropped = self._apply_c4(analysis, findings, go_on=go_on)
                if is_dropped and not go_on:
                    return text
            elif analysis.is_blank:
                break
        if analysis.is_blank:
            findings.append(_blank(self.profile.rules))
        return analysis.text

    def _apply_c4(
        self, analysis: TextAnalysis, findings: list[Finding], *, go_on: bool
    ) -> tuple[TextAnalysis, bool]:
        """Apply C4's rules; return the analysis of what they leave, and whether that is dropped."""
        result = self._c4.apply(analysis, go_on=go_on)
        is_dropped = result.dropped_by is not None
        for rule in C4_RULES:
            # A text dropped in the middle was not looked at to its end by the other rules.
            if rule in result.values and (go_on or not is_dropped or rule == result.dropped_by):
                threshold = _bound(getattr(self.profile.rules, rule))
                finding = _finding(rule, result.values[rule], threshold)
                assert finding is not None
                findings.append(finding)
        changed = analysis.with_text(result.text, has_same_words=not result.is_changed)
        return changed, is_dropped


def _finding(rule: str, value: float | None, threshold: float) -> Finding | None:
    if value is None:
        return None
    is_below = rule.startswith("min_")
    return Finding(
        rule, value, threshold, not (value < threshold if is_below else value > threshold)
    )


def _blank(rules: QualityRules) -> Finding:
    return Finding("min_characters", 0.0, max(_bound(rules.min_characters), 1.0), passed=False)


def _bound(threshold: float | bool | None) -> float:
    """Return the number of a threshold; 0 for a rule that says yes or no, or that is off."""
    return 0.0 if threshold is None or isinstance(threshold, bool) else float(threshold)


@cache
def _splitter(words: WordKind, language: str) -> Splitter:
    if words == "chinese":
        return ChineseSplitter()
    if words == "japanese":
        return JapaneseSplitter()
    return NativeSplitter() if words == "native" else SpacySplitter(language)


def _languages_needed(plan: CleanPlan) -> tuple[str, ...]:
    """Return the languages that the documents will surely be in, or be taken to be in."""
    if plan.profile == "fineweb":
        return ("en",)
    if plan.profile in ("web-zh", "web-ja"):
        return (plan.profile.removeprefix("web-"),)
    return plan.languages


_WITHOUT_WORDS = frozenset(
    (
        BLANK,
        *STANDARD_RULES,
        *CODE_RULES,
        *REPEATED_LINES,
        "max_bullet_line_share",
        "max_ellipsis_line_share",
        "min_terminal_line_share",
        "max_short_line_share",
        "max_duplicate_character_share",
    )
)
