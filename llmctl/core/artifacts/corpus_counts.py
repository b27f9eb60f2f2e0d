"""How many documents and characters were kept, dropped by each rule, or not readable."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_NOTHING: Mapping[str, Any] = {}


class Counts:
    """Counts of one language of one source, or of a sum of such.

    There is one for each language of each source, and sources may be a hundred thousand
    files: what most of them lack costs nothing.

    Attributes:
        kept: Documents kept.
        kept_characters: Their characters.
        repeats: How often documents were written again, as the mix asked for.
        repeated_characters: Their characters.
        unreadable: What could not be read.
        dropped: Documents and their characters, by rule.
        private: Personal data and secrets found, by kind.
    """

    __slots__ = (
        "dropped",
        "kept",
        "kept_characters",
        "private",
        "repeated_characters",
        "repeats",
        "unreadable",
    )

    def __init__(self) -> None:
        self.kept = 0
        self.kept_characters = 0
        self.repeats = 0
        self.repeated_characters = 0
        self.unreadable = 0
        self.dropped: dict[str, list[int]] | None = None
        self.private: dict[str, int] | None = None

    @property
    def num_dropped(self) -> int:
        """Documents dropped by any rule."""
        return sum(pair[0] for pair in (self.dropped or {}).values())

    @property
    def dropped_characters(self) -> int:
        """Their characters."""
        return sum(pair[1] for pair in (self.dropped or {}).values())

    @property
    def total(self) -> int:
        """Everything that came in."""
        return self.kept + self.num_dropped + self.unreadable

    def by_rule(self) -> list[tuple[str, int]]:
        """Return the rules that dropped documents and how many, the most first."""
        pairs = [(rule, pair[0]) for rule, pair in (self.dropped or {}).items()]
        return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))

    def drop(self, rule: str, num_documents: int, num_characters: int) -> None:
        """Count documents that a rule dropped."""
        if self.dropped is None:
            self.dropped = {}
        pair = self.dropped.get(rule)
        if pair is None:
            self.dropped[rule] = [num_documents, num_characters]
        else:
            pair[0] += num_documents
            pair[1] += num_characters

    def add_private(self, found: Mapping[str, int]) -> None:
        """Count personal data and secrets."""
        if self.private is None:
            self.private = {}
        for kind, count in found.items():
            self.private[kind] = self.private.get(kind, 0) + count

    def add(self, other: Counts) -> None:
        """Add another's counts."""
        self.add_row(other.as_row())

    def as_row(self) -> list[Any]:
        """Return everything, for `add_row`."""
        numbers = [self.kept, self.kept_characters, self.repeats, self.repeated_characters]
        by_name = (self.dropped, self.private)
        return [
            *numbers,
            self.unreadable,
            *(dict(sorted(x.items())) if x else None for x in by_name),
        ]

    def add_row(self, row: Sequence[Any]) -> None:
        """Add what another's `as_row` returned."""
        self.kept += row[0]
        self.kept_characters += row[1]
        self.repeats += row[2]
        self.repeated_characters += row[3]
        self.unreadable += row[4]
        for rule, (num_documents, num_characters) in (row[5] or _NOTHING).items():
            self.drop(rule, num_documents, num_characters)
        if row[6]:
            self.add_private(row[6])

    def as_json(self) -> dict[str, Any]:
        """Return the counts by name, as `report.json` has them; what is rare only where it is."""
        dropped = sorted((self.dropped or {}).items())
        content: dict[str, Any] = {
            "documents": self.total,
            "kept": self.kept,
            "dropped": {rule: pair[0] for rule, pair in dropped},
            "unreadable": self.unreadable,
            "kept_characters": self.kept_characters,
            "dropped_characters": self.dropped_characters,
            "dropped_characters_by_rule": {rule: pair[1] for rule, pair in dropped},
        }
        if self.repeats:
            content["repeats"] = self.repeats
            content["repeated_characters"] = self.repeated_characters
        if self.private:
            content["private"] = dict(sorted(self.private.items()))
        return content


def total_of(counts: Iterable[Counts]) -> Counts:
    """Return the sum."""
    total = Counts()
    for one in counts:
        total.add(one)
    return total
