"""What became of a corpus's text in shards: report.json, report.md, report.html.

Everything that the pages say stands in `report.json`; see `docs/formats.md`. The bytes
depend on the documents and the recipe only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from llmctl.core import atomic
from llmctl.core.artifacts.corpus_sentences import Figures, language_name
from llmctl.core.artifacts.html_report import render
from llmctl.core.artifacts.html_text import number
from llmctl.core.artifacts.report import (
    HTML_NAME,
    JSON_NAME,
    MARKDOWN_NAME,
    markdown_table,
    markdown_text,
)
from llmctl.core.artifacts.shards_facts import LengthFacts, ShardsFacts, TextCounts
from llmctl.core.artifacts.shards_page import shards_page
from llmctl.core.artifacts.shards_sentences import (
    COUNT_COLUMNS,
    by_tokens,
    count_cells,
    leak_sentence,
    ratio,
    shown_token,
    summary,
)
from llmctl.core.manifest import versions

MAX_SOURCES = 50
_SHOWN = 20
_SHOWN_TOKENS = 10


def write_shards_report(directory: Path, facts: ShardsFacts) -> None:
    """Write `report.json`, `report.md` and `report.html`.

    Args:
        directory: That of the shards.
        facts: Everything that they say.

    Raises:
        OutputError: A file cannot be made.
        StorageError: The disk is full or failing.
    """
    figures = shards_figures(facts)
    content = orjson.dumps(figures, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    for name, written in (
        (JSON_NAME, content),
        (MARKDOWN_NAME, shards_markdown(figures).encode("utf-8", "replace")),
        (HTML_NAME, render(shards_page(figures)).encode("utf-8", "replace")),
    ):
        atomic.write_file(directory / name, written)


def shards_figures(facts: ShardsFacts) -> dict[str, Any]:
    """Return everything that the report states, as JSON; an empty section is left out."""
    sections: dict[str, Any] = {
        "warnings": list(facts.warnings),
        "splits": {name: asdict(split) for name, split in facts.splits.items()},
        "document_tokens": _lengths(facts),
        "vocabulary_curve": [asdict(point) for point in facts.curve],
        "comparison": [
            {
                "name": compared.name,
                "vocab_size": compared.vocab_size,
                "languages": _all_counts(compared.languages),
            }
            for compared in facts.comparison
        ],
        "mix": [asdict(row) for row in facts.mix],
        "leaks": [asdict(leaks) for leaks in facts.leaks],
        "training": None if facts.training is None else asdict(facts.training),
        "special_tokens": [asdict(special) for special in facts.special_tokens],
    }
    return {
        "tokenizer": facts.tokenizer,
        **facts.total.as_json(),
        "languages": _all_counts(facts.languages),
        **_sources(facts.sources),
        "vocabulary": asdict(facts.vocabulary),
        **{name: section for name, section in sections.items() if section},
        "llmctl": versions().get("llmctl-toolkit", ""),
    }


def _all_counts(counts: Mapping[str, TextCounts]) -> dict[str, Any]:
    return {name: counts[name].as_json() for name in sorted(counts)}


def _sources(sources: Mapping[str, TextCounts]) -> dict[str, Any]:
    """The largest sources, and the sum of the rest."""
    largest = sorted(sources, key=lambda name: (-sources[name].tokens, name))
    rest = largest[MAX_SOURCES:]
    others = sum((sources[name] for name in rest), TextCounts())
    return {
        "num_sources": len(sources),
        "sources": _all_counts({name: sources[name] for name in largest[:MAX_SOURCES]}),
        **({"other_sources": {"sources": len(rest), **others.as_json()}} if rest else {}),
    }


def _lengths(facts: ShardsFacts) -> dict[str, Any]:
    if facts.all_lengths is None:
        return {}
    return {
        "all": _length(facts.all_lengths),
        "languages": {name: _length(facts.lengths[name]) for name in sorted(facts.lengths)},
    }


def _length(lengths: LengthFacts) -> dict[str, Any]:
    return {
        "documents": lengths.documents,
        "tokens": lengths.tokens,
        "mean": lengths.tokens / lengths.documents,
        "shortest": lengths.shortest,
        "longest": lengths.longest,
        "quantiles": {str(share): length for share, length in lengths.quantiles.items()},
        "edges": list(lengths.edges),
        "counts": list(lengths.counts),
    }


# ---------------------------------------------------------------------- report.md


def shards_markdown(figures: Figures) -> str:
    """Return the page for terminals and code review."""
    parts = ["# Shards\n"]
    parts += [f"> **Warning:** {markdown_text(text)}\n" for text in figures.get("warnings", ())]
    parts.append(f"{markdown_text(summary(figures))}\n")
    names = {name: language_name(name) for name in figures["languages"]}
    parts += _counts_table("language", figures["languages"], names)
    parts += _counts_table("source", figures["sources"], {})
    if figures["num_sources"] > _SHOWN:
        parts.append(f"… and {figures['num_sources'] - _SHOWN:,} more in report.json\n")
    for heading, text in _sections(figures):
        parts += [f"## {heading}\n", text]
    return "\n".join(parts)


def _counts_table(
    first: str, counts: Mapping[str, Figures], names: Mapping[str, str]
) -> Iterator[str]:
    rows = [
        (names.get(name, name), *count_cells(counts[name])) for name in by_tokens(counts)[:_SHOWN]
    ]
    if rows:
        yield markdown_table((first, *COUNT_COLUMNS), rows)


def _sections(figures: Figures) -> Iterator[tuple[str, str]]:
    if splits := figures.get("splits"):
        rows = [
            (name, f"{row['documents']:,}", f"{row['tokens']:,}") for name, row in splits.items()
        ]
        yield "Splits", markdown_table(("split", "documents", "tokens"), rows)
    yield "Vocabulary", _vocabulary(figures)
    if curve := figures.get("vocabulary_curve"):
        languages = sorted({name for point in curve for name in point["bytes_per_token"]})
        rows = [
            (
                f"{point['vocab_size']:,}",
                *(ratio(point["bytes_per_token"].get(x)) for x in languages),
            )
            for point in curve
        ]
        columns = ("entries", *(f"{language_name(x)}, bytes/token" for x in languages))
        yield "Size of the vocabulary", markdown_table(columns, rows)
    if compared := figures.get("comparison"):
        languages = sorted({name for row in compared for name in row["languages"]})
        rows = [
            (
                row["name"],
                f"{row['vocab_size']:,}",
                *(ratio(row["languages"].get(x, {}).get("bytes_per_token")) for x in languages),
                *(
                    ratio(row["languages"].get(x, {}).get("tokens_per_han_character"))
                    for x in _with_han(compared, languages)
                ),
            )
            for row in compared
        ]
        columns = [
            *("tokenizer", "entries"),
            *(f"{language_name(x)}, bytes/token" for x in languages),
            *(f"{language_name(x)}, tokens/Han" for x in _with_han(compared, languages)),
        ]
        yield "Beside other tokenizers", markdown_table(columns, rows)
    yield from _lists(figures)


def _vocabulary(figures: Figures) -> str:
    vocabulary = figures["vocabulary"]
    rows = [
        (row["kind"], f"{row['entries']:,}", f"{row['unused']:,}", f"{row['tokens']:,}")
        for row in vocabulary["kinds"]
    ]
    table = markdown_table(("kind", "entries", "unused", "tokens"), rows)
    lists = (
        ("longest", "Longest"),
        ("longest_han", "Longest of Han"),
        ("most_frequent", "Most frequent"),
        ("unused_entries", "Never used"),
    )
    lines = [
        f"- {title}: {tokens}\n"
        for name, title in lists
        if (tokens := _tokens(vocabulary[name][:_SHOWN_TOKENS]))
    ]
    return "\n".join([table, "".join(lines)])


def _tokens(entries: Sequence[Figures]) -> str:
    return " · ".join(markdown_text(shown_token(entry["text"])) for entry in entries)


def _with_han(compared: Sequence[Figures], languages: Sequence[str]) -> list[str]:
    return [
        name
        for name in languages
        if any("tokens_per_han_character" in row["languages"].get(name, {}) for row in compared)
    ]


def _lists(figures: Figures) -> Iterator[tuple[str, str]]:
    if lengths := figures.get("document_tokens"):
        found = lengths["all"]
        quantiles = found["quantiles"]
        yield (
            "Lengths of documents",
            f"Median {quantiles['0.5']:,} tokens, 99 % up to {quantiles['0.99']:,}, "
            f"longest {found['longest']:,}.\n",
        )
    if mix := figures.get("mix"):
        rows = [
            (
                f"{row['corpus']}/{row['source']}" if row["source"] else row["corpus"],
                f"{row['tokens']:,}",
                number(row["epochs"]),
                f"{row['used_tokens']:,}",
            )
            for row in mix[:_SHOWN]
        ]
        yield "Mix", markdown_table(("corpus or source", "tokens", "epochs", "used"), rows)
    if leaks := figures.get("leaks"):
        yield "Leaks", "".join(f"- {markdown_text(leak_sentence(row))}\n" for row in leaks)
    specials = [row for row in figures.get("special_tokens", ()) if row["found"]]
    if specials:
        lines = (
            f"- {markdown_text(row['text'])}: {row['found']:,} found, "
            f"{'read as the token' if row['is_allowed'] else 'left as text'}\n"
            for row in specials
        )
        yield "Special tokens in the text", "".join(lines)
    if training := figures.get("training"):
        text = ", ".join(
            f"{language_name(name)} {row['bytes']:,} bytes"
            for name, row in sorted(training["languages"].items())
        )
        yield (
            "Training of the tokenizer",
            f"{training['kind']}, {training['pretokenizer']}: {text}\n",
        )
