"""The bundled profiles: which thresholds apply to a document of which language, in what order."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from llmctl.core.clean_plan import CleanPlan, QualityRules

WordKind = Literal["native", "spacy", "spacy-by-language", "chinese", "japanese"]

BLANK = "blank"
"""In an order, where a text of white space only is dropped."""
C4 = "c4"
"""In an order, C4's rules all together: they cut lines, and the rules after them see the rest."""

STANDARD_RULES = (
    "min_language_score",
    "min_characters",
    "min_letter_share",
    "max_repeated_line_share",
    "max_word_characters",
)
CODE_RULES = (
    "drop_generated_code",
    "max_line_characters",
    "max_mean_line_characters",
    "min_alphanumeric_share",
)
REPEATED_LINES = (
    "max_duplicate_paragraph_share",
    "max_duplicate_paragraph_character_share",
    "max_duplicate_line_share",
    "max_duplicate_line_character_share",
)
_REPEATED_WORDS = (
    *(f"max_top_{n}_gram_character_share" for n in range(2, 5)),
    *(f"max_duplicate_{n}_gram_character_share" for n in range(5, 11)),
)
_GOPHER_QUALITY = (
    "min_words",
    "max_words",
    "min_mean_word_characters",
    "max_mean_word_characters",
    "max_hashes_per_word",
    "max_ellipses_per_word",
    "max_bullet_line_share",
    "max_ellipsis_line_share",
    "min_alphabetic_word_share",
    "min_stop_words",
)
_FINEWEB = (
    BLANK,
    "min_terminal_line_share",
    "max_short_line_share",
    "max_duplicate_character_share",
    "max_newlines_per_word",
)

# Cheap rules first: lines before words, words before words in a row.
_CHEAP_FIRST = (
    BLANK,
    *STANDARD_RULES,
    *CODE_RULES,
    *REPEATED_LINES,
    *_GOPHER_QUALITY,
    *_REPEATED_WORDS,
    C4,
    *_FINEWEB,
)
# As examples/fineweb.py of datatrove runs its filters after the text is extracted.
_FINEWEB_ORDER = (
    *STANDARD_RULES,
    *CODE_RULES,
    *REPEATED_LINES,
    *_REPEATED_WORDS,
    *_GOPHER_QUALITY,
    C4,
    *_FINEWEB,
)
# As fineweb-2-pipeline.py does, which leaves C4's out.
_FINEWEB2_ORDER = (
    *STANDARD_RULES,
    *CODE_RULES,
    *REPEATED_LINES,
    *_REPEATED_WORDS,
    *_FINEWEB,
    *_GOPHER_QUALITY,
    C4,
)

UNKNOWN = "und"

_Values = Mapping[str, Any]


def _rules(*tables: _Values) -> QualityRules:
    """Return the rules of some tables, of which a later one replaces an earlier one's values."""
    merged: dict[str, Any] = {}
    for table in tables:
        merged.update(table)
    return QualityRules(**merged)


def _repeated_words(top: tuple[float, ...], duplicate: tuple[float, ...]) -> _Values:
    """Return the thresholds for the commonest 2 to 4 words, and for 5 to 10 that repeat."""
    return {
        **{f"max_top_{n}_gram_character_share": top[n - 2] for n in range(2, 5)},
        **{f"max_duplicate_{n}_gram_character_share": duplicate[n - 5] for n in range(5, 11)},
    }


STANDARD = QualityRules(
    min_characters=10,
    min_letter_share=0.4,
    max_repeated_line_share=0.5,
    max_word_characters=1000,
)

# Gopher, table A1, and section A.1.1 for the words.
_GOPHER: _Values = {
    "max_duplicate_paragraph_share": 0.3,
    "max_duplicate_paragraph_character_share": 0.2,
    "max_duplicate_line_share": 0.3,
    "max_duplicate_line_character_share": 0.2,
    **_repeated_words((0.2, 0.18, 0.16), (0.15, 0.14, 0.13, 0.12, 0.11, 0.1)),
    "min_words": 50,
    "max_words": 100_000,
    "min_mean_word_characters": 3,
    "max_mean_word_characters": 10,
    "max_hashes_per_word": 0.1,
    "max_ellipses_per_word": 0.1,
    "max_bullet_line_share": 0.9,
    "max_ellipsis_line_share": 0.3,
    "min_alphabetic_word_share": 0.8,
    "min_stop_words": 2,
    "stop_words": ("the", "be", "to", "of", "and", "that", "have", "with"),
}

# C4 as FineWeb ran it: lines without terminal punctuation stay.
_C4: _Values = {
    "max_line_word_characters": 1000,
    "cut_citations": True,
    "cut_unfinished_lines": False,
    "min_line_words": 3,
    "drop_lorem_ipsum": True,
    "cut_javascript_lines": True,
    "drop_curly_brackets": True,
    "cut_policy_lines": True,
    "min_sentences": 5,
}

# Penedo et al. 2024, FineWeb, section 3.6, arXiv:2406.17557.
_FINEWEB_VALUES: _Values = {
    "min_terminal_line_share": 0.12,
    "max_short_line_share": 0.67,
    "short_line_characters": 30,
    "max_duplicate_character_share": 0.01,
    "max_newlines_per_word": 0.3,
}

ENGLISH = _rules(_GOPHER, _C4, _FINEWEB_VALUES)

# Penedo et al. 2025, FineWeb2, arXiv:2506.20920, and fineweb-2-pipeline.py: what it changes for
# every language.
_FINEWEB2: _Values = {
    **_GOPHER,
    **_FINEWEB_VALUES,
    "max_duplicate_paragraph_share": False,
    "max_duplicate_paragraph_character_share": False,
    "max_duplicate_line_character_share": False,
    "max_short_line_share": False,
    "max_duplicate_character_share": 0.1,
}

FINEWEB2_ENGLISH = _rules(_FINEWEB2)
# Other languages than those below have stop words of their own: English ones would drop them all.
FINEWEB2_OTHERS = _rules(_FINEWEB2, {"min_stop_words": False, "stop_words": ()})

# fineweb-2/configs/cmn_Hani.yml of June 2025, "paper version".
CHINESE = _rules(
    _FINEWEB2,
    _repeated_words((0.256, 0.201, 0.171), (0.198, 0.182, 0.167, 0.154, 0.14, 0.127)),
    {
        "max_duplicate_line_share": 0.287,
        "min_mean_word_characters": 1,
        "max_mean_word_characters": 5,
        "min_alphabetic_word_share": 0.735,
        "min_terminal_line_share": 0.106,
        "max_newlines_per_word": 0.178,
        "stop_words": tuple("的年在月是和日了於·為有被人中为他與後也而由"),
    },
)

# fineweb-2/configs/jpn_Jpan.yml of June 2025, "paper version".
JAPANESE = _rules(
    _FINEWEB2,
    _repeated_words((0.239, 0.196, 0.172), (0.243, 0.225, 0.207, 0.19, 0.175, 0.159)),
    {
        "max_duplicate_line_share": 0.328,
        "min_mean_word_characters": 1,
        "max_mean_word_characters": 6,
        "min_alphabetic_word_share": 0.759,
        "min_terminal_line_share": 0.096,
        "max_newlines_per_word": 0.13,
        "stop_words": tuple("のにをはたてがとで年し・月れさ"),
    },
)

# Chen et al. 2021, Codex, section 3.1 (lines of 1,000 and of 100 on average, generated files), and
# Li et al. 2023, StarCoder, arXiv:2305.06161 (a quarter of letters; here digits count too).
CODE = QualityRules(
    drop_generated_code=True,
    max_line_characters=1000,
    max_mean_line_characters=100,
    min_alphanumeric_share=0.25,
)

NONE = QualityRules()


@dataclass(frozen=True, slots=True)
class ResolvedProfile:
    """What is applied to the documents of one language.

    Attributes:
        rules: Every threshold that applies; None and False are off.
        order: Rule names, `BLANK` and `C4`, in the order in which they are applied.
        words: How text is split into words, where a rule asks for them.
        ends_with_quotes: Whether closing quotation marks end a line, as in Chinese.
    """

    rules: QualityRules
    order: tuple[str, ...]
    words: WordKind
    ends_with_quotes: bool


def resolve(plan: CleanPlan, language: str) -> ResolvedProfile:
    """Return what applies to documents of a language: the profile's, then the recipe's.

    Args:
        plan: The recipe's section.
        language: "en", "zh", "ja", another code of ISO 639-1, or "und".
    """
    profile = plan.profile
    takes_standard = language == "ja" and not _splits_japanese(plan)
    found = dict(STANDARD if takes_standard else _rules_of(profile, language))
    for written in (plan.rules, plan.rules_by_language.get(language)):
        if written is not None:
            found.update({name: value for name, value in written if value is not None})
    is_parity = profile in ("fineweb", "fineweb2")
    return ResolvedProfile(
        rules=QualityRules.model_construct(**found),
        order=_ORDERS.get(profile, _CHEAP_FIRST),
        words="native" if takes_standard else _words_of(profile, language),
        ends_with_quotes=not is_parity and language in ("zh", "ja"),
    )


def rules_for(plan: CleanPlan, language: str) -> QualityRules:
    """Return the thresholds for documents of a language: the profile's, then the recipe's."""
    return resolve(plan, language).rules


def thresholds(plan: CleanPlan) -> dict[str, Any]:
    """Return the rules that are on as a recipe writes them: for most languages, and for others."""

    def written(language: str) -> dict[str, Any]:
        found = dict(rules_for(plan, language))
        return {
            name: _plain(value)
            for name, value in found.items()
            if value is not None and value is not False and value != ()
        }

    most = written(UNKNOWN)
    by_language = {language: written(language) for language in sorted(_WEB)}
    others = {language: rules for language, rules in by_language.items() if rules != most}
    return {"rules": most, "rules_by_language": others} if others else {"rules": most}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _splits_japanese(plan: CleanPlan) -> bool:
    """Tell whether Japanese is to be judged by its words, for which a dictionary is needed.

    A corpus with a little Japanese must not stop in the middle for want of the extra, nor depend
    on whether it is installed: the recipe says it.
    """
    return plan.profile not in ("web", "fineweb2") or "ja" in plan.languages


def _rules_of(profile: str, language: str) -> QualityRules:
    if profile == "web":
        return _WEB.get(language, STANDARD)
    if profile.startswith("web-"):
        return _WEB[language] if profile == f"web-{language}" else STANDARD
    if profile == "fineweb2":
        return _FINEWEB2_RULES.get(language, FINEWEB2_OTHERS)
    return _RULES[profile]


def _words_of(profile: str, language: str) -> WordKind:
    if profile == "fineweb":
        return "spacy"
    if language in ("zh", "ja"):
        return "chinese" if language == "zh" else "japanese"
    return "spacy-by-language" if profile == "fineweb2" else "native"


def spacy_language(language: str) -> str:
    """Return the language whose words spaCy splits as datatrove has it do, "xx" where unknown."""
    return language if language in _SPACY_LANGUAGES else "xx"


# Where datatrove 0.10 (assets/tokenizer_assignment.csv) has spaCy split a language as itself, and
# spaCy needs no other library for it.
_SPACY_LANGUAGES = frozenset(
    re.findall(
        r"\w+",
        "af am ar az bg ca cs da de el en es et eu fa fi fo fr ga he hr hu hy id is it ky la lb lg "
        "lt lv mk ms nb nl pl pt ro sk sl sq sr sv ti tn tr tt yo",
    )
)
_RULES: Mapping[str, QualityRules] = {
    "standard": STANDARD,
    "fineweb": ENGLISH,
    "code": CODE,
    "none": NONE,
}
_WEB: Mapping[str, QualityRules] = {"en": ENGLISH, "zh": CHINESE, "ja": JAPANESE}
_FINEWEB2_RULES: Mapping[str, QualityRules] = {
    "en": FINEWEB2_ENGLISH,
    "zh": CHINESE,
    "ja": JAPANESE,
}
_ORDERS: Mapping[str, tuple[str, ...]] = {"fineweb": _FINEWEB_ORDER, "fineweb2": _FINEWEB2_ORDER}
