"""The bundled profiles: which thresholds apply to a document of which language."""

from __future__ import annotations

from llmctl.core.clean_plan import CleanPlan, QualityRules

STANDARD = QualityRules(
    min_characters=20,
    min_letter_share=0.4,
    max_repeated_line_share=0.5,
    max_word_characters=1000,
)


def rules_for(plan: CleanPlan, language: str) -> QualityRules:
    """Return the thresholds for documents of a language: the profile's, then the recipe's."""
    found = dict(STANDARD)
    for written in (plan.rules, plan.rules_by_language.get(language)):
        if written is not None:
            found.update({name: value for name, value in written if value is not None})
    return QualityRules.model_construct(**found)
