"""What becomes of every document, counted where it happens and added up to the whole.

A tally of the whole is the sum of the tallies of its parts, whatever the parts and their
order: counts and histograms add up, samples are those with the smallest hashes, and lists
are cut at a fixed length after they are sorted.

All sources are counted exactly: about 300 bytes each, 30 MB for a hundred thousand files.
Everything else is bounded by the rules and languages, not by the documents.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from llmctl.core.artifacts.corpus_counts import Counts, total_of
from llmctl.core.artifacts.documents import Document, Unreadable
from llmctl.core.artifacts.fair_draw import Drawn, FairDraw, FairDraws, digest_of
from llmctl.core.artifacts.first_change import first_change
from llmctl.core.artifacts.measure_histograms import MeasureHistograms
from llmctl.core.clean_plan import QualityRules

MAX_PLACES = 1000
MAX_CLUSTERS = 20
SAMPLES_OF_A_RULE = 5  # and language
SAMPLES_OF_A_CHANGE = 3  # of a kind, and language
DOCUMENTS_OF_AN_ITEM = 3
SAMPLE_CHARACTERS = 600
HIT_CHARACTERS = 200
PRIVACY = "privacy"

# The unreadable are counted by source alone.
_NO_LANGUAGE = ""
_LONGEST_REASON = 60
_NUMBER = re.compile(r"\d+")
_LETTER = re.compile(r"\w")
_UNMASKED = 2


@dataclass(frozen=True, slots=True)
class Cluster:
    """Documents that say the same.

    Attributes:
        id: The document that is kept of them.
        size: How many they are, that one included.
    """

    id: str
    size: int


@dataclass
class Hits:
    """Documents in which one evaluation item was found.

    Attributes:
        num_documents: How many.
        draw: A few of them, with what was found.
    """

    num_documents: int
    draw: FairDraw


class CorpusTally:
    """Counts and samples of a corpus or of a part of one.

    Attributes:
        histograms: The measures of the readable documents.
        num_changed: Documents changed, by kind and language.
        cluster_sizes: How many clusters of duplicates have a size.
        num_cut: Characters that the changes took away, by kind.
        reasons: Unreadable places by their reason, figures in it left out.
    """

    def __init__(self) -> None:
        self._groups: dict[tuple[str, str], Counts] = {}
        self._dropped = FairDraws(SAMPLES_OF_A_RULE)
        self._changed = FairDraws(SAMPLES_OF_A_CHANGE)
        self._clusters: list[Cluster] = []
        self._hits: dict[str, Hits] = {}
        self._places: list[Unreadable] = []
        self.histograms = MeasureHistograms()
        self.num_changed: Counter[tuple[str, str]] = Counter()
        self.cluster_sizes: Counter[int] = Counter()
        self.num_cut: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()

    # ------------------------------------------------------------------ counting

    def measured(self, language: str, measures: Mapping[str, float], rules: QualityRules) -> None:
        """Enter what was measured of a readable document into the histograms.

        Args:
            language: Its language.
            measures: Values by the rule's name; those that were not measured are left out.
            rules: The rules of that language, as the profile and the recipe have them.
        """
        self.histograms.add(language, measures, rules)

    def keep(self, document: Document, *, times: int = 1) -> None:
        """Count a kept document.

        Args:
            document: As it stands in the corpus.
            times: How often the mix writes it.
        """
        counts = self._group(document.language, document.source)
        length = len(document.text)
        counts.kept += 1
        counts.kept_characters += length
        if times > 1:
            counts.repeats += times - 1
            counts.repeated_characters += (times - 1) * length

    def drop(
        self, document: Document, rule: str, value: float, threshold: float, **more: Any
    ) -> None:
        """Count a dropped document, and perhaps keep its beginning as a sample.

        Args:
            document: The document.
            rule: Why it is dropped.
            value: What was measured.
            threshold: The bound that it breaks.
            more: What else there is to say, such as `duplicate_of`.
        """
        text, language = document.text, document.language
        self._group(language, document.source).drop(rule, 1, len(text))
        draw = self._dropped.of(rule, language)
        digest = digest_of(document.source, document.id)
        if draw.wants(digest):
            sample: dict[str, Any] = {
                "id": _written(document.id),
                "source": _written(document.source),
                "value": value,
                "threshold": threshold,
                **more,
                "characters": len(text),
                "text": _written(text[:SAMPLE_CHARACTERS]),
            }
            draw.add(digest, sample)

    def fail(self, source: str, mark: Unreadable) -> None:
        """Count something unreadable."""
        self._group(_NO_LANGUAGE, source).unreadable += 1
        self.reasons[_kind_of_reason(mark.reason)] += 1
        self._places.append(Unreadable(_written(mark.place), _written(mark.reason)))
        self._cut_places(2 * MAX_PLACES)

    def private(self, kind: str, language: str, source: str, count: int) -> None:
        """Count personal data or secrets found in a document."""
        self._group(language, source).add_private({kind: count})

    def changed(
        self, kind: str, identifier: str, before: str, after: str, *, language: str = ""
    ) -> None:
        """Count a document that was changed, and perhaps keep the first change as a sample.

        Args:
            kind: What changed it, such as `repair`; what `PRIVACY` took out is masked, or the
                report would tell it.
            identifier: The document's id.
            before: Its text.
            after: The same afterwards; where only blanks around it differ, nothing is counted.
            language: The document's, where it is known.
        """
        if before == after or before.strip() == after.strip():
            return
        self.num_changed[kind, language] += 1
        if len(after) < len(before):
            self.num_cut[kind] += len(before) - len(after)
        draw = self._changed.of(kind, language)
        digest = digest_of(identifier)
        if draw.wants(digest):
            change = asdict(first_change(before, after))
            if kind == PRIVACY:
                change["deleted"] = _masked(change["deleted"])
            shown = {name: _written(text) for name, text in change.items()}
            draw.add(digest, {"id": _written(identifier), **shown})

    def cluster(self, identifier: str, size: int) -> None:
        """Count a cluster of duplicates.

        Args:
            identifier: The document that is kept of it.
            size: Its documents, that one included.
        """
        self.cluster_sizes[size] += 1
        self._clusters.append(Cluster(_written(identifier), size))
        self._cut_clusters(2 * MAX_CLUSTERS)

    def hits(self, item: str, identifier: str, text: str = "") -> None:
        """Count a document in which an evaluation item was found.

        Args:
            item: The item, such as `file:line`.
            identifier: The document's id.
            text: What was found.
        """
        found = self._hits_of(item)
        found.num_documents += 1
        digest = digest_of(identifier)
        if found.draw.wants(digest):
            shown = {"id": _written(identifier), "text": _written(text[:HIT_CHARACTERS])}
            found.draw.add(digest, shown)

    # ------------------------------------------------------------------ reading

    @property
    def all(self) -> Counts:
        """Counts of everything."""
        return total_of(self._groups.values())

    @property
    def languages(self) -> dict[str, Counts]:
        """Counts by language, by name; the unreadable have none."""
        found = _summed(self._groups, lambda key: key[0])
        found.pop(_NO_LANGUAGE, None)
        return found

    @property
    def sources(self) -> dict[str, Counts]:
        """Counts by source, by name."""
        return _summed(self._groups, lambda key: key[1])

    def groups(self) -> list[tuple[str, str, Counts]]:
        """Language, source and counts of each pair that occurs; no language: unreadable."""
        return [(*key, self._groups[key]) for key in sorted(self._groups)]

    def dropped_samples(self) -> dict[str, dict[str, list[Drawn]]]:
        """Samples of what was dropped, by rule and language."""
        return self._dropped.drawn()

    def change_samples(self) -> dict[str, dict[str, list[Drawn]]]:
        """First changes of a few changed documents, by kind and language."""
        return self._changed.drawn()

    def largest_clusters(self) -> list[Cluster]:
        """The largest clusters of duplicates, the largest first."""
        self._cut_clusters(MAX_CLUSTERS)
        return list(self._clusters)

    def evaluation_hits(self) -> dict[str, Hits]:
        """Documents by the evaluation item found in them, the commonest item first."""
        pairs = sorted(self._hits.items(), key=lambda pair: (-pair[1].num_documents, pair[0]))
        return dict(pairs)

    def places(self) -> list[Unreadable]:
        """The first unreadable places."""
        self._cut_places(MAX_PLACES)
        return list(self._places)

    # ------------------------------------------------------------------ adding up

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON has it, the same for the same documents."""
        return {
            "groups": [[*key, self._groups[key].as_row()] for key in sorted(self._groups)],
            "histograms": self.histograms.as_json(),
            "dropped": self._dropped.as_json(),
            "changed": self._changed.as_json(),
            "num_changed": [[*key, self.num_changed[key]] for key in sorted(self.num_changed)],
            "cluster_sizes": sorted(self.cluster_sizes.items()),
            "clusters": [[cluster.id, cluster.size] for cluster in self.largest_clusters()],
            "hits": [
                [item, found.num_documents, found.draw.as_json()]
                for item, found in sorted(self._hits.items())
            ],
            "places": [[mark.place, mark.reason] for mark in self.places()],
            "num_cut": dict(sorted(self.num_cut.items())),
            "reasons": dict(sorted(self.reasons.items())),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> CorpusTally:
        """Return the tally whose `as_json` returned this."""
        tally = cls()
        tally.add_json(content)
        return tally

    def add_json(self, content: Mapping[str, Any]) -> None:
        """Add what another's `as_json` returned.

        Raises:
            ValueError: The two were measured by different rules.
        """
        self.histograms.add_json(content["histograms"])
        for language, source, row in content["groups"]:
            self._group(language, source).add_row(row)
        self._dropped.add_json(content["dropped"])
        self._changed.add_json(content["changed"])
        for kind, language, count in content["num_changed"]:
            self.num_changed[kind, language] += count
        self.cluster_sizes.update(dict(content["cluster_sizes"]))
        self._clusters += [Cluster(*pair) for pair in content["clusters"]]
        for item, count, rows in content["hits"]:
            found = self._hits_of(item)
            found.num_documents += count
            found.draw.add_json(rows)
        self._places += [Unreadable(*pair) for pair in content["places"]]
        self.num_cut.update(content["num_cut"])
        self.reasons.update(content["reasons"])
        self._cut_clusters(MAX_CLUSTERS)
        self._cut_places(MAX_PLACES)

    def _group(self, language: str, source: str) -> Counts:
        counts = self._groups.get((language, source))
        if counts is None:
            counts = self._groups.setdefault((language, _written(source)), Counts())
        return counts

    def _hits_of(self, item: str) -> Hits:
        found = self._hits.get(item)
        if found is None:
            found = Hits(0, FairDraw(DOCUMENTS_OF_AN_ITEM))
            found = self._hits.setdefault(_written(item), found)
        return found

    def _cut_clusters(self, most: int) -> None:
        if len(self._clusters) > most or most == MAX_CLUSTERS:
            self._clusters.sort(key=lambda cluster: (-cluster.size, cluster.id))
            del self._clusters[MAX_CLUSTERS:]

    def _cut_places(self, most: int) -> None:
        if len(self._places) > most or most == MAX_PLACES:
            self._places.sort(key=_order_of_place)
            del self._places[MAX_PLACES:]


def _summed(
    groups: Mapping[tuple[str, str], Counts], name_of: Callable[[tuple[str, str]], str]
) -> dict[str, Counts]:
    found: dict[str, Counts] = {}
    for key in sorted(groups):
        found.setdefault(name_of(key), Counts()).add(groups[key])
    return dict(sorted(found.items()))


def _order_of_place(mark: Unreadable) -> tuple[str, int, str]:
    """Order by file, and in a file by line."""
    name, _, line = mark.place.rpartition(":")
    if name and line.isdecimal():
        return name, int(line), mark.reason
    return mark.place, 0, mark.reason


def _kind_of_reason(reason: str) -> str:
    """Return a reason without what differs from one place to the next."""
    kind = reason.split(":")[0].split(" (")[0]
    return _written(_NUMBER.sub("…", kind)[:_LONGEST_REASON])


def _masked(text: str) -> str:
    return text[:_UNMASKED] + _LETTER.sub("•", text[_UNMASKED:])


def _written(text: str) -> str:
    """Return text as UTF-8 can hold it: lone surrogates, as in odd file names, become "?"."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
