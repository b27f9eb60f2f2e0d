"""What a corpus was made from: counts by rule, language and source, and samples."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from llmctl.core.artifacts.documents import Document, Unreadable

MAX_PLACES = 1000
MAX_SOURCES_SHOWN = 20
SAMPLES_OF_A_RULE = 3
SAMPLE_CHARACTERS = 160


@dataclass
class Tally:
    """Counts of one language, one source, or all.

    Attributes:
        kept: Documents kept.
        kept_characters: Their characters.
        dropped: Documents dropped, by rule.
        dropped_characters: Their characters.
        unreadable: What could not be read.
    """

    kept: int = 0
    kept_characters: int = 0
    dropped: Counter[str] = field(default_factory=Counter[str])
    dropped_characters: int = 0
    unreadable: int = 0

    @property
    def total(self) -> int:
        """Everything that came in."""
        return self.kept + self.dropped.total() + self.unreadable

    def as_json(self) -> dict[str, Any]:
        """Return the counts by name, the rules in the order of theirs."""
        return {
            "documents": self.total,
            "kept": self.kept,
            "dropped": dict(sorted(self.dropped.items())),
            "unreadable": self.unreadable,
            "kept_characters": self.kept_characters,
            "dropped_characters": self.dropped_characters,
        }


class CorpusReport:
    """Collects what happens to each document and writes report.json and report.md.

    Attributes:
        all: Counts of everything.
        languages: Counts by language; the unreadable have none.
        sources: Counts by source.
    """

    def __init__(self) -> None:
        self.all = Tally()
        self.languages: dict[str, Tally] = {}
        self.sources: dict[str, Tally] = {}
        self.places: list[Unreadable] = []
        self._samples: dict[str, list[tuple[bytes, dict[str, Any]]]] = {}

    def keep(self, document: Document) -> None:
        """Count a kept document."""
        for tally in self._tallies(document):
            tally.kept += 1
            tally.kept_characters += len(document.text)

    def drop(self, document: Document, rule: str, value: float) -> None:
        """Count a dropped document, and perhaps keep its beginning as a sample."""
        for tally in self._tallies(document):
            tally.dropped[rule] += 1
            tally.dropped_characters += len(document.text)
        # The smallest hashes are a fair draw, and the same one every time.
        digest = hashlib.blake2b(document.id.encode("utf-8", "replace"), digest_size=8).digest()
        samples = self._samples.setdefault(rule, [])
        if len(samples) < SAMPLES_OF_A_RULE or digest < samples[-1][0]:
            beginning = " ".join(document.text[: 2 * SAMPLE_CHARACTERS].split())
            shown = {"id": document.id, "value": value, "text": beginning[:SAMPLE_CHARACTERS]}
            samples.append((digest, shown))
            samples.sort(key=lambda sample: sample[0])
            del samples[SAMPLES_OF_A_RULE:]

    def fail(self, source: str, mark: Unreadable) -> None:
        """Count something unreadable."""
        self.all.unreadable += 1
        self.sources.setdefault(source, Tally()).unreadable += 1
        if len(self.places) < MAX_PLACES:
            self.places.append(mark)

    def _tallies(self, document: Document) -> tuple[Tally, Tally, Tally]:
        return (
            self.all,
            self.languages.setdefault(document.language, Tally()),
            self.sources.setdefault(document.source, Tally()),
        )

    def write(self, directory: Path) -> None:
        """Write report.json and report.md."""
        content = {
            **self.all.as_json(),
            "languages": {name: self.languages[name].as_json() for name in sorted(self.languages)},
            "sources": {name: tally.as_json() for name, tally in self.sources.items()},
            "unreadable_places": [
                {"place": mark.place, "reason": mark.reason} for mark in self.places
            ],
            "samples_of_dropped": {
                rule: [shown for _, shown in samples]
                for rule, samples in sorted(self._samples.items())
            },
        }
        options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
        (directory / "report.json").write_bytes(orjson.dumps(content, option=options))
        (directory / "report.md").write_text("\n".join(self._markdown()) + "\n", encoding="utf-8")

    def _markdown(self) -> list[str]:
        total = self.all
        lines = [
            "# Corpus",
            "",
            f"{total.total:,} documents in = {total.kept:,} kept + "
            f"{total.dropped.total():,} dropped + {total.unreadable:,} unreadable. "
            f"{total.kept_characters:,} characters kept, {total.dropped_characters:,} dropped.",
            "",
        ]
        if total.dropped:
            rows = [[rule, f"{count:,}"] for rule, count in total.dropped.most_common()]
            lines += _table(["dropped by", "documents"], rows)
        lines += _table(_headings("language"), _rows(self.languages))
        lines += _table(_headings("source"), _rows(self.sources))
        if len(self.sources) > MAX_SOURCES_SHOWN:
            lines += [f"… and {len(self.sources) - MAX_SOURCES_SHOWN:,} more in report.json", ""]
        if self.places:
            lines += ["## Unreadable", ""]
            lines += [f"- {mark.place}: {mark.reason}" for mark in self.places[:MAX_SOURCES_SHOWN]]
            lines += ["- …"] * (total.unreadable > MAX_SOURCES_SHOWN) + [""]
        if self._samples:
            lines += ["## Samples of what was dropped", ""]
        for rule, samples in sorted(self._samples.items()):
            lines += [
                f"- {rule} = {shown['value']:g}, {shown['id']}: {shown['text']}"
                for _, shown in samples
            ]
        return lines


def _headings(first: str) -> list[str]:
    return [first, "documents", "kept", "dropped", "unreadable", "characters kept"]


def _rows(tallies: dict[str, Tally]) -> list[list[str]]:
    largest = sorted(tallies.items(), key=lambda item: (-item[1].total, item[0]))
    return [
        [
            name,
            *(
                f"{count:,}"
                for count in (
                    tally.total,
                    tally.kept,
                    tally.dropped.total(),
                    tally.unreadable,
                    tally.kept_characters,
                )
            ),
        ]
        for name, tally in largest[:MAX_SOURCES_SHOWN]
    ]


def _table(headings: list[str], rows: list[list[str]]) -> list[str]:
    cells = [headings, ["---", *["---:"] * (len(headings) - 1)], *rows]
    return [
        *("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells),
        "",
    ]
