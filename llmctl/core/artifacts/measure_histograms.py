"""How the measures of the quality rules spread over a language's documents, in fixed bins.

The bins depend on the measure only, so that histograms of parts add up to that of the whole:

- a share or a ratio: fifty bins over 0 to 1, the last one open;
- a count or a length: 1, 2, … 10, 12, … 100, 120, … and so on, the last one open;
- a mean length: the same, but quarters up to ten.

Documents that measure exactly 0 stand apart: most have no repeated line at all, and one bar
would dwarf all others. A bin ends at its threshold on the side that passes.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from llmctl.core.clean_plan import QualityRules

Scale = Literal["share", "count"]

_SHARE_ENDS = tuple(step / 50 for step in range(1, 51))
_DECADE = (10, 12, 14, 16, 18, 20, 25, 30, 35, 40, 45, 50, 60, 70, 80, 90)
_NUM_DECADES = 7
_FROM_TEN = tuple(float(end * 10**power) for power in range(_NUM_DECADES) for end in _DECADE)
_COUNT_ENDS = (*map(float, range(1, 10)), *_FROM_TEN, 10.0 ** (_NUM_DECADES + 1))
_MEAN_ENDS = (*(step / 4 for step in range(1, 40)), *_FROM_TEN, 10.0 ** (_NUM_DECADES + 1))
_SMALLEST = 5e-324


@dataclass(frozen=True, slots=True)
class Histogram:
    """Documents of one language by what one measure found.

    Attributes:
        language: Theirs.
        measure: The rule's name without its min_ or max_.
        scale: How its axis is best drawn.
        thresholds: The rules on it that are on, by name.
        zeros: Documents that measure exactly 0.
        edges: One more than counts, from the first bin that is not empty to the last.
        counts: Documents in each bin.
    """

    language: str
    measure: str
    scale: Scale
    thresholds: Mapping[str, float]
    zeros: int
    edges: Sequence[float]
    counts: Sequence[int]

    @property
    def total(self) -> int:
        """All documents that were measured."""
        return self.zeros + sum(self.counts)

    def as_json(self) -> dict[str, Any]:
        """Return everything."""
        return {
            "language": self.language,
            "measure": self.measure,
            "scale": self.scale,
            "thresholds": dict(self.thresholds),
            "zeros": self.zeros,
            "edges": list(self.edges),
            "counts": list(self.counts),
        }


class MeasureHistograms:
    """Counts documents in bins, by language and rule."""

    def __init__(self) -> None:
        # By language and then by rule, so that a document's rules are one look-up each.
        self._counts: dict[str, dict[str, list[int]]] = {}
        self._thresholds: dict[str, dict[str, float]] = {}

    def add(self, language: str, measures: Mapping[str, float], rules: QualityRules) -> None:
        """Count one document.

        Args:
            language: Its language.
            measures: What was measured, by the rule's name.
            rules: The rules of that language.
        """
        counts = self._counts.get(language)
        if counts is None:
            counts = self._counts[language] = {}
            self._thresholds[language] = _numbers(rules)
        for rule, value in measures.items():
            place, ends = _bins(rule)
            bins = counts.get(rule)
            if bins is None:
                bins = counts[rule] = [0] * (len(ends) + 1)
            bins[place(ends, value)] += 1

    def as_json(self) -> dict[str, Any]:
        """Return the counts and thresholds; empty bins are left out."""
        return {
            language: {
                "thresholds": self._thresholds[language],
                "counts": {
                    rule: [[place, count] for place, count in enumerate(bins) if count]
                    for rule, bins in sorted(counts.items())
                },
            }
            for language, counts in sorted(self._counts.items())
        }

    def add_json(self, content: Mapping[str, Any]) -> None:
        """Add what another's `as_json` returned.

        Raises:
            ValueError: The thresholds differ: the two come from different recipes.
        """
        for language, found in content.items():
            thresholds = self._thresholds.setdefault(language, found["thresholds"])
            if thresholds != found["thresholds"]:
                raise ValueError(
                    f"histograms of {language} with thresholds {thresholds} and "
                    f"{found['thresholds']} do not add up"
                )
            counts = self._counts.setdefault(language, {})
            for rule, pairs in found["counts"].items():
                bins = counts.setdefault(rule, [0] * (len(_bins(rule)[1]) + 1))
                for place, count in pairs:
                    bins[place] += count

    def histograms(self) -> list[Histogram]:
        """Return all, by language and rule; a min_ and a max_ of one measure are one."""
        found: list[Histogram] = []
        for language, counts in sorted(self._counts.items()):
            measured = {rule for rule in counts if _twin(rule) not in counts or rule > _twin(rule)}
            for rule in sorted(measured, key=measure_of):
                thresholds = {
                    name: threshold
                    for name in sorted((rule, _twin(rule)))
                    if (threshold := self._thresholds[language].get(name)) is not None
                }
                found.append(_histogram(language, rule, counts[rule], thresholds))
        return found


def measure_of(rule: str) -> str:
    """Return what a rule measures: its name without min_ or max_."""
    return rule.removeprefix("min_").removeprefix("max_")


def _twin(rule: str) -> str:
    """Return the rule that bounds the same measure from the other side."""
    return ("max_" if rule.startswith("min_") else "min_") + measure_of(rule)


@cache
def _bins(rule: str) -> Any:
    """Return how a value is placed, and the ends of the bins without that of the last one."""
    scale = _scale(rule)
    ends = _SHARE_ENDS if scale == "share" else _MEAN_ENDS if "mean_" in rule else _COUNT_ENDS
    # A minimum drops what is below it, a maximum what is above: the bin on the other side
    # must hold the threshold itself.
    if rule.startswith("min_"):
        return bisect_right, (_SMALLEST, *ends[:-1])
    return bisect_left, (0.0, *ends[:-1])


def _scale(rule: str) -> Scale:
    is_share = rule.endswith(("_share", "_per_word", "_score"))
    return "share" if is_share else "count"


def _histogram(
    language: str, rule: str, bins: Sequence[int], thresholds: Mapping[str, float]
) -> Histogram:
    _, starts = _bins(rule)
    last = 1.0 if _scale(rule) == "share" else _COUNT_ENDS[-1]
    edges = (0.0, *starts[1:], last)
    places = [place for place, count in enumerate(bins) if count and place]
    first, stop = (places[0], places[-1] + 1) if places else (1, 1)
    return Histogram(
        language,
        measure_of(rule),
        _scale(rule),
        thresholds,
        bins[0],
        edges[first - 1 : stop] if places else (),
        tuple(bins[first:stop]),
    )


def _numbers(rules: QualityRules) -> dict[str, float]:
    """Return the thresholds that are on, by name."""
    return {
        name: float(value)
        for name in sorted(QualityRules.model_fields)
        if isinstance(value := getattr(rules, name), int | float) and not isinstance(value, bool)
    }
