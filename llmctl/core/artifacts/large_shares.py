"""Which rules dropped so much that they may be wrong for what they were given."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from llmctl.core.artifacts.corpus_counts import Counts
from llmctl.core.artifacts.corpus_tally import CorpusTally
from llmctl.core.artifacts.documents import UNKNOWN_LANGUAGE

MIN_DOCUMENTS = 20

_Where = Literal["all", "language", "source"]


@dataclass(frozen=True, slots=True)
class LargeShare:
    """A rule that dropped much of something.

    Attributes:
        rule: The rule.
        where: Of what: "all" documents, those of a "language", or of a "source".
        name: Of the language or source; "" for all.
        count: Documents that it dropped.
        total: Documents that there were.
    """

    rule: str
    where: _Where
    name: str
    count: int
    total: int

    @property
    def share(self) -> float:
        """The part that it dropped."""
        return self.count / self.total


def large_shares(
    tally: CorpusTally, share: float, *, meant: Collection[str] = ()
) -> list[LargeShare]:
    """Return which rules dropped more than a share of all, of a language, or of a source.

    Of fewer than `MIN_DOCUMENTS` of a language or source, many may go for good reasons, and so
    may those in no known language.

    Args:
        tally: What became of the documents.
        share: The share that may go.
        meant: Rules that drop because they were told to, such as the mix's.
    """
    groups: list[tuple[_Where, str, Counts]] = [("all", "", tally.all)]
    groups.extend(("language", name, counts) for name, counts in tally.languages.items())
    groups.extend(("source", name, counts) for name, counts in tally.sources.items())
    return [
        LargeShare(rule, where, name, count, counts.total)
        for where, name, counts in groups
        if where == "all"
        or (counts.total >= MIN_DOCUMENTS and (where, name) != ("language", UNKNOWN_LANGUAGE))
        for rule, count in counts.by_rule()
        if count > share * counts.total and rule not in meant
    ]
