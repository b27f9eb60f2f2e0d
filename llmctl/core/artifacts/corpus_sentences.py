"""The sentences and figures that a corpus's pages have in common."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from llmctl.core.artifacts.documents import UNKNOWN_LANGUAGE
from llmctl.core.artifacts.html_text import share_text

Figures = Mapping[str, Any]

LANGUAGE_NAMES = {
    "de": "German",
    "en": "English",
    "es": "Spanish",
    "fr": "French",
    "it": "Italian",
    "ja": "Japanese",
    "ko": "Korean",
    "pt": "Portuguese",
    "ru": "Russian",
    "zh": "Chinese",
    UNKNOWN_LANGUAGE: "no known language",
}
MAX_LANGUAGES = 6
_MOST_NAMED = 3


def language_name(language: str) -> str:
    """Return a language's name, or its code where it has none here."""
    return LANGUAGE_NAMES.get(language, language)


def conservation(figures: Figures) -> str:
    """Say what came in and where it went."""
    dropped = sum(figures["dropped"].values())
    return (
        f"{figures['documents']:,} documents in = {figures['kept']:,} kept + {dropped:,} dropped + "
        f"{figures['unreadable']:,} unreadable."
    )


def sample_note(figures: Figures) -> list[str]:
    """Say that this is a sample, where it is one."""
    sample = figures["sample"]
    if sample is None:
        return []
    whole = (
        f" of {sample['drawn_from']:,}" if sample["drawn_from"] is not None else ", drawn from all"
    )
    return [
        f"This corpus is a sample: {sample['documents']:,} documents{whole}. Its shares are those "
        "of all, give or take; its numbers are not."
    ]


def warning_sentences(figures: Figures) -> list[str]:
    """Say which rules dropped more than half of what, a sentence a rule."""
    by_rule: dict[str, list[Figures]] = {}
    for warning in figures["warnings"]:
        by_rule.setdefault(warning["rule"], []).append(warning)
    return [_warning(rule, warnings) for rule, warnings in by_rule.items()]


def _warning(rule: str, warnings: list[Figures]) -> str:
    order = {"all": 0, "language": 1, "source": 2}
    warnings = sorted(
        warnings, key=lambda warning: (order[warning["where"]], -warning["count"], warning["name"])
    )
    named = [
        f"{warning['count']:,} of {warning['total']:,} documents {_where(warning)} "
        f"({share_text(warning['count'] / warning['total'])})"
        for warning in warnings[:_MOST_NAMED]
    ]
    rest = len(warnings) - _MOST_NAMED
    more = f", and more than half of {rest:,} more" if rest > 0 else ""
    return (
        f"{rule} dropped {', '.join(named)}{more}. Look at the samples, and loosen the rule if "
        "they look sound."
    )


def _where(warning: Figures) -> str:
    if warning["where"] == "all":
        return "in all"
    if warning["where"] == "language":
        return f"in {language_name(warning['name'])}"
    return f"of {warning['name']}"


def shown_value(value: Any) -> str:
    """Return a measure or a threshold as it is read: true, 12, 0.257."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return json.dumps(value, ensure_ascii=False)
    return f"{value:,.0f}" if value == int(value) else f"{value:,.4g}"


def by_size(tallies: Mapping[str, Figures]) -> list[str]:
    """Return the names of counts, the largest first."""
    return sorted(tallies, key=lambda name: (-tallies[name]["documents"], name))
