"""What a corpus was made from and what became of it: report.json, report.md, report.html.

Everything that the pages say stands in `report.json`; see `docs/formats.md`. The bytes
depend on the documents and the recipe only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from llmctl.core import atomic
from llmctl.core.artifacts.corpus_counts import total_of
from llmctl.core.artifacts.corpus_page import corpus_page
from llmctl.core.artifacts.corpus_sentences import (
    conservation,
    language_name,
    sample_note,
    shown_value,
    warning_sentences,
)
from llmctl.core.artifacts.corpus_tally import CorpusTally
from llmctl.core.artifacts.documents import json_bytes
from llmctl.core.artifacts.html_report import render
from llmctl.core.artifacts.html_text import share_text
from llmctl.core.artifacts.large_shares import large_shares
from llmctl.core.artifacts.report import (
    HTML_NAME,
    JSON_NAME,
    MARKDOWN_NAME,
    markdown_table,
    markdown_text,
)
from llmctl.core.clean_plan import CleanPlan
from llmctl.core.manifest import versions

MAX_SOURCES_LISTED = 10_000
MAX_ITEMS_LISTED = 10_000
MAX_SHOWN = 20
SAMPLES_SHOWN = 3
SAMPLE_CHARACTERS = 160
WARNED_SHARE = 0.5

_SETTINGS = (
    "inputs",
    "profile",
    "repair",
    "cut_wire_format",
    "languages",
    "privacy",
    "duplicates",
    "decontaminate",
    "mix",
    "sample",
    "max_unreadable",
    "max_drop",
)


@dataclass(frozen=True, slots=True)
class CorpusOrigin:
    """What a report says of a corpus beside what was counted.

    Attributes:
        plan: The recipe's section.
        sampled_from: How many documents a sample was drawn from; None where all were taken,
            or where their number is not known.
        meant: Rules that drop because they were told to, such as the mix's: no warning.
    """

    plan: CleanPlan
    sampled_from: int | None = None
    meant: frozenset[str] = frozenset()


def write_corpus_report(directory: Path, tally: CorpusTally, origin: CorpusOrigin) -> None:
    """Write `report.json`, `report.md` and `report.html`.

    Args:
        directory: The corpus's.
        tally: What became of all documents.
        origin: What they were made by.

    Raises:
        OutputError: A file cannot be made.
        StorageError: The disk is full or failing.
    """
    figures = corpus_figures(tally, origin)
    for name, content in (
        (JSON_NAME, _indented(figures)),
        (MARKDOWN_NAME, corpus_markdown(figures).encode("utf-8", "replace")),
        (HTML_NAME, render(corpus_page(figures)).encode("utf-8", "replace")),
    ):
        atomic.write_file(directory / name, content)


def corpus_figures(tally: CorpusTally, origin: CorpusOrigin) -> dict[str, Any]:
    """Return everything that the report states, as JSON."""
    plan = origin.plan
    warnings = large_shares(tally, WARNED_SHARE, meant=origin.meant)
    hits = tally.evaluation_hits()
    written = plan.model_dump(mode="json")
    return {
        **tally.all.as_json(),
        "sample": (
            None
            if plan.sample is None
            else {"documents": plan.sample, "drawn_from": origin.sampled_from}
        ),
        "warnings": [asdict(warning) for warning in warnings],
        "languages": {name: counts.as_json() for name, counts in tally.languages.items()},
        **_sources(tally),
        "histograms": [histogram.as_json() for histogram in tally.histograms.histograms()],
        "samples_of_dropped": {
            rule: [
                {"language": language, **sample}
                for language, samples in by_language.items()
                for sample in samples
            ]
            for rule, by_language in tally.dropped_samples().items()
        },
        "changes": _changes(tally),
        "cut_characters": dict(sorted(tally.num_cut.items())),
        "duplicates": {
            "clusters": tally.cluster_sizes.total(),
            "documents": sum(size * count for size, count in tally.cluster_sizes.items()),
            "sizes": {str(size): count for size, count in sorted(tally.cluster_sizes.items())},
            "largest": [asdict(cluster) for cluster in tally.largest_clusters()],
        },
        "num_evaluation_items_hit": len(hits),
        "evaluation_hits": [
            {"item": item, "documents": found.num_documents, "samples": found.draw.drawn()}
            for item, found in list(hits.items())[:MAX_ITEMS_LISTED]
        ],
        "unreadable_reasons": dict(tally.reasons.most_common()),
        "unreadable_places": [asdict(mark) for mark in tally.places()],
        "made": {
            "llmctl": versions().get("llmctl-toolkit", ""),
            **{name: written[name] for name in _SETTINGS},
        },
    }


def _indented(figures: Mapping[str, Any]) -> bytes:
    # What the samples carry of a duplicate or an item may hold what UTF-8 cannot.
    content = orjson.loads(json_bytes(figures))
    return orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _sources(tally: CorpusTally) -> dict[str, Any]:
    """The largest sources, each with its languages, and the sum of the rest."""
    by_source = tally.sources
    largest = sorted(by_source, key=lambda name: (-by_source[name].total, name))
    listed = sorted(largest[:MAX_SOURCES_LISTED])
    content: dict[str, Any] = {
        name: {**by_source[name].as_json(), "languages": {}} for name in listed
    }
    for language, source, counts in tally.groups():
        if language and source in content:
            content[source]["languages"][language] = counts.as_json()
    rest = largest[MAX_SOURCES_LISTED:]
    sums = total_of(by_source[name] for name in rest).as_json()
    return {
        "num_sources": len(by_source),
        "sources": content,
        **({"other_sources": {"sources": len(rest), **sums}} if rest else {}),
    }


def _changes(tally: CorpusTally) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    samples = tally.change_samples()
    for (kind, language), count in sorted(tally.num_changed.items()):
        change = changes.setdefault(kind, {"documents": 0, "samples": []})
        change["documents"] += count
        drawn = samples[kind][language]
        change["samples"] += [{"language": language, **sample} for sample in drawn]
    return changes


# ---------------------------------------------------------------------- report.md


def corpus_markdown(figures: Mapping[str, Any]) -> str:
    """Return the page for terminals and code review."""
    parts = ["# Corpus\n"]
    parts += [f"> {markdown_text(note)}\n" for note in sample_note(figures)]
    parts += [f"> **Warning:** {markdown_text(text)}\n" for text in warning_sentences(figures)]
    parts.append(
        f"{conservation(figures)} {figures['kept_characters']:,} characters kept, "
        f"{figures['dropped_characters']:,} dropped.\n"
    )
    if figures["dropped"]:
        rows = sorted(figures["dropped"].items(), key=lambda pair: (-pair[1], pair[0]))
        characters = figures["dropped_characters_by_rule"]
        table = [
            (rule, f"{count:,}", share_text(count / figures["documents"]), f"{characters[rule]:,}")
            for rule, count in rows
        ]
        parts.append(markdown_table(("dropped by", "documents", "share", "characters"), table))
    names = {name: language_name(name) for name in figures["languages"]}
    parts += _counts_table("language", figures["languages"], names)
    parts += _counts_table("source", figures["sources"], {})
    if figures["num_sources"] > MAX_SHOWN:
        parts.append(f"… and {figures['num_sources'] - MAX_SHOWN:,} more in report.json\n")
    for heading, lines in _lists(figures):
        if lines:
            parts += [f"## {heading}\n", "\n".join(f"- {line}" for line in lines) + "\n"]
    # An underscore inside a word means nothing to Markdown, and rules are full of them.
    return re.sub(r"(?<=\w)\\_(?=\w)", "_", "\n".join(parts))


def _counts_table(
    first: str, tallies: Mapping[str, Mapping[str, Any]], names: Mapping[str, str]
) -> list[str]:
    largest = sorted(tallies.items(), key=lambda pair: (-pair[1]["documents"], pair[0]))
    rows = [
        (
            names.get(name, name),
            *(
                f"{count:,}"
                for count in (
                    counts["documents"],
                    counts["kept"],
                    sum(counts["dropped"].values()),
                    counts["unreadable"],
                    counts["kept_characters"],
                )
            ),
        )
        for name, counts in largest[:MAX_SHOWN]
    ]
    columns = (first, "documents", "kept", "dropped", "unreadable", "characters kept")
    return [markdown_table(columns, rows)] if rows else []


def _lists(figures: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    found = figures.get("private", {})
    yield "Personal data and secrets", [f"{kind}: {count:,}" for kind, count in found.items()]
    found = figures["duplicates"]["largest"][:MAX_SHOWN]
    yield (
        "Largest clusters of duplicates",
        [f"{row['size']:,} documents like {markdown_text(row['id'])}" for row in found],
    )
    found = figures["evaluation_hits"][:MAX_SHOWN]
    yield (
        "Evaluation items found",
        [f"{markdown_text(row['item'])}: {row['documents']:,} documents" for row in found],
    )
    found = figures["changes"].items()
    yield (
        "Documents changed",
        [
            f"{kind}: {change['documents']:,} documents, "
            f"{figures['cut_characters'].get(kind, 0):,} characters taken away"
            for kind, change in found
        ],
    )
    places = figures["unreadable_places"]
    lines = [
        f"{markdown_text(mark['place'])}: {markdown_text(mark['reason'])}"
        for mark in places[:MAX_SHOWN]
    ]
    yield "Unreadable", lines + ["…"] * (figures["unreadable"] > MAX_SHOWN)
    yield (
        "Samples of what was dropped",
        [
            f"{rule} = {shown_value(sample['value'])} (threshold "
            f"{shown_value(sample['threshold'])}), {sample['language']}, "
            f"{markdown_text(sample['id'])}: {_beginning(sample)}"
            for rule, samples in figures["samples_of_dropped"].items()
            for sample in samples[:SAMPLES_SHOWN]
        ],
    )


def _beginning(sample: Mapping[str, Any]) -> str:
    text = " ".join(sample["text"].split())
    cut = "…" if len(text) > SAMPLE_CHARACTERS or sample["characters"] > len(sample["text"]) else ""
    return markdown_text(text[:SAMPLE_CHARACTERS]) + cut
