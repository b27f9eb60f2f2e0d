"""A corpus as a page for browsers: what came in, what went out, and whether that was right.

The figures are the dictionary that stands in `report.json`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llmctl.core.artifacts.corpus_histograms import histogram_blocks
from llmctl.core.artifacts.corpus_sentences import (
    MAX_LANGUAGES,
    Figures,
    by_size,
    conservation,
    language_name,
    sample_note,
    shown_value,
    warning_sentences,
)
from llmctl.core.artifacts.documents import UNKNOWN_LANGUAGE
from llmctl.core.artifacts.html_charts import Bar, BarChart, Part, PartsBar
from llmctl.core.artifacts.html_report import (
    Block,
    Change,
    Changes,
    Fold,
    Heading,
    KeyFigure,
    KeyFigures,
    Note,
    Page,
    Paragraph,
    Sample,
    Samples,
    Table,
)
from llmctl.core.artifacts.html_text import number, share_text

MAX_RULES_DRAWN = 12
MAX_ROWS = 20
SAMPLES_OF_A_RULE = 6
SHOWN_CHARACTERS = 240
SHOWN_LINES = 8
_FEW = 5
_SIZES = ((2, 2), (3, 3), (4, 4), (5, 9), (10, 99), (100, 999), (1000, None))


def corpus_page(figures: Figures) -> Page:
    """Return the page for browsers."""
    blocks: list[Block] = [
        *(Note(text, "warning") for text in warning_sentences(figures)),
        *(Note(text) for text in sample_note(figures)),
        *_overview(figures),
        *_rules(figures),
        *_languages(figures),
        *_sources(figures),
        *_dropped_samples(figures),
        *histogram_blocks(figures),
        *_changes(figures),
        *_duplicates(figures),
        *_private(figures),
        *_contamination(figures),
        *_unreadable(figures),
        Heading("How this was made"),
        Table((), tuple(_made(figures)), num_text_columns=2),
    ]
    return Page(
        title="Corpus",
        eyebrow="Corpus",
        subtitle=_subtitle(figures),
        blocks=tuple(blocks),
        footer=f"llmctl {figures['made']['llmctl']}".strip(),
    )


def _subtitle(figures: Figures) -> str:
    sources = figures["num_sources"]
    languages = [name for name in by_size(figures["languages"]) if name != UNKNOWN_LANGUAGE]
    named = " and ".join(
        [", ".join(map(language_name, languages[:-1]))] * (len(languages) > 1)
        + [language_name(name) for name in languages[-1:]]
    )
    if len(languages) > _FEW:
        named = f"{len(languages)} languages"
    from_sources = f"{sources:,} source{'s' if sources != 1 else ''}"
    return f"From {from_sources}, in {named}" if named else f"From {from_sources}"


def _overview(figures: Figures) -> Iterator[Block]:
    dropped = sum(figures["dropped"].values())
    yield Paragraph(conservation(figures), is_lead=True)
    if figures["documents"]:
        yield PartsBar(
            (
                Part("kept", figures["kept"], "main"),
                Part("dropped", dropped),
                Part("unreadable", figures["unreadable"], "warning"),
            )
        )
    characters = figures["kept_characters"] + figures["dropped_characters"]
    kept = figures["kept_characters"] / characters if characters else 0.0
    found = [KeyFigure("characters kept", _short(figures["kept_characters"]), share_text(kept))]
    found.append(KeyFigure("characters dropped", _short(figures["dropped_characters"])))
    if cut := figures["cut_characters"]:
        found.append(KeyFigure("characters cut out", _short(sum(cut.values())), ", ".join(cut)))
    if clusters := figures["duplicates"]["clusters"]:
        detail = f"of {figures['duplicates']['documents']:,} documents"
        found.append(KeyFigure("clusters of duplicates", f"{clusters:,}", detail))
    if private := figures.get("private"):
        found.append(KeyFigure("personal data", f"{sum(private.values()):,}", ", ".join(private)))
    if repeats := figures.get("repeats"):
        detail = f"{_short(figures['repeated_characters'])} characters"
        found.append(KeyFigure("repeats by the mix", f"{repeats:,}", detail))
    yield KeyFigures(tuple(found))


def _rules(figures: Figures) -> Iterator[Block]:
    rules = sorted(figures["dropped"].items(), key=lambda pair: (-pair[1], pair[0]))
    if not rules:
        return
    yield Heading("What dropped documents")
    yield Paragraph("Each document counts for the first rule that it breaks.")
    drawn = [Bar(rule, count) for rule, count in rules[:MAX_RULES_DRAWN]]
    if rest := sum(count for _, count in rules[MAX_RULES_DRAWN:]):
        drawn.append(Bar(f"{len(rules) - MAX_RULES_DRAWN} more rules", rest))
    yield BarChart(tuple(drawn), unit="documents")
    languages = by_size(figures["languages"])[:MAX_LANGUAGES]
    rows = [
        (
            rule,
            *(_count(figures["languages"][name]["dropped"].get(rule, 0)) for name in languages),
            _count(count),
            _count(figures["dropped_characters_by_rule"][rule]),
        )
        for rule, count in rules
    ]
    columns = ("rule", *map(language_name, languages), "documents", "characters")
    yield Fold(
        "By rule and language",
        (Table(columns, tuple(rows)),),
        f"{len(rules)} rule{'s' if len(rules) != 1 else ''}",
    )


def _languages(figures: Figures) -> Iterator[Block]:
    yield Heading("Languages")
    languages = figures["languages"]
    yield _counts_table("language", languages, len(languages), is_language=True)


def _sources(figures: Figures) -> Iterator[Block]:
    yield Heading("Sources")
    yield _counts_table("source", figures["sources"], figures["num_sources"])


def _counts_table(
    first: str, tallies: Mapping[str, Figures], num_all: int, *, is_language: bool = False
) -> Block:
    rows: list[tuple[str, ...]] = []
    for name in by_size(tallies)[:MAX_ROWS]:
        counts = tallies[name]
        rules = sorted(counts["dropped"].items(), key=lambda pair: (-pair[1], pair[0]))
        rows.append(
            (
                language_name(name) if is_language else name,
                f"{counts['documents']:,}",
                f"{counts['kept']:,}",
                share_text(counts["kept"] / counts["documents"]),
                _count(counts["unreadable"]),
                _short(counts["kept_characters"]),
                f"{rules[0][0]} {rules[0][1]:,}" if rules else "",
            )
        )
    columns = ("documents", "kept", "", "unreadable", "characters kept", "dropped most")
    more = "more" if num_all > len(tallies) else "all"
    caption = f"The largest of {num_all:,}; {more} in report.json." if num_all > MAX_ROWS else ""
    if is_language:  # what cannot be read has no language
        rows = [(*row[:4], *row[5:]) for row in rows]
        columns = (*columns[:3], *columns[4:])
    return Table((first, *columns), tuple(rows), caption=caption)


def _dropped_samples(figures: Figures) -> Iterator[Block]:
    found: Mapping[str, Sequence[Figures]] = figures["samples_of_dropped"]
    if not found:
        return
    yield Heading("Samples of what was dropped")
    yield Paragraph("Drawn by chance, the same ones every time. More of each in report.json.")
    counts = figures["dropped"]
    for place, rule in enumerate(sorted(found, key=lambda rule: (-counts[rule], rule))):
        shown = tuple(map(_sample, _of_all_languages(found[rule])))
        detail = f"{counts[rule]:,} dropped"
        yield Fold(rule, (Samples(shown),), detail, is_open=place == 0)


def _of_all_languages(samples: Sequence[Figures]) -> list[Figures]:
    """Return a few samples, one of each language before a second of any."""
    seen: dict[str, int] = {}
    turns: list[tuple[int, int]] = []
    for place, sample in enumerate(samples):
        turns.append((seen.setdefault(sample["language"], 0), place))
        seen[sample["language"]] += 1
    return [samples[place] for _, place in sorted(turns)[:SAMPLES_OF_A_RULE]]


def _sample(sample: Figures) -> Sample:
    what = f"{shown_value(sample['value'])}, threshold {shown_value(sample['threshold'])}"
    detail = [what, language_name(sample["language"]), f"{sample['characters']:,} characters"]
    if "duplicate_of" in sample:
        detail.insert(1, f"like {sample['duplicate_of']}")
    text = sample["text"]
    shown = "\n".join(text[:SHOWN_CHARACTERS].split("\n")[:SHOWN_LINES])
    cut = "…" if len(shown) < sample["characters"] else ""
    return Sample(
        sample["id"],
        shown + cut,
        detail=" · ".join(detail),
        language=_lang(sample["language"]),
    )


def _changes(figures: Figures) -> Iterator[Block]:
    changes: Mapping[str, Figures] = figures["changes"]
    if not changes:
        return
    yield Heading("Before and after")
    yield Paragraph("The first change of a few documents, of all that were changed.")
    for kind, change in changes.items():
        shown = tuple(
            Change(
                sample["id"],
                sample["before"],
                sample["deleted"],
                sample["inserted"],
                sample["after"],
                detail=language_name(sample["language"]),
                language=_lang(sample["language"]),
            )
            for sample in _of_all_languages(change["samples"])
        )
        yield Fold(kind, (Changes(shown),), f"{change['documents']:,} documents", is_open=True)


def _duplicates(figures: Figures) -> Iterator[Block]:
    duplicates = figures["duplicates"]
    if not duplicates["clusters"]:
        return
    yield Heading("Duplicates")
    sizes = {int(size): count for size, count in duplicates["sizes"].items()}
    bars = [
        Bar(_size_label(low, high), count)
        for low, high in _SIZES
        if (count := sum(n for size, n in sizes.items() if low <= size <= (high or size)))
    ]
    yield BarChart(tuple(bars), unit="clusters, by the documents in them")
    rows = [(row["id"], f"{row['size']:,}") for row in duplicates["largest"][:MAX_ROWS]]
    yield Fold(
        "The largest clusters", (Table(("kept of it", "documents"), tuple(rows)),), f"{len(rows)}"
    )


def _size_label(low: int, high: int | None) -> str:
    if high is None:
        return f"{low:,} and more documents"
    return f"{low} documents" if low == high else f"{low} – {high} documents"


def _private(figures: Figures) -> Iterator[Block]:
    private: Mapping[str, int] | None = figures.get("private")
    if not private:
        return
    action = figures["made"]["privacy"]["action"]
    done = {"report": "counted and left", "replace": "replaced", "drop": "dropped"}
    yield Heading("Personal data and secrets")
    yield Paragraph(f"Found in all readable documents, and {done.get(action, action)}.")
    languages = by_size(figures["languages"])[:MAX_LANGUAGES]
    rows = [
        (
            kind,
            *(
                _count(figures["languages"][name].get("private", {}).get(kind, 0))
                for name in languages
            ),
            _count(count),
        )
        for kind, count in private.items()
    ]
    yield Table(("kind", *map(language_name, languages), "all"), tuple(rows))


def _contamination(figures: Figures) -> Iterator[Block]:
    hits: Sequence[Figures] = figures["evaluation_hits"]
    if not hits:
        return
    yield Heading("Evaluation data found")
    total = figures["num_evaluation_items_hit"]
    rows = [
        (
            row["item"],
            row["samples"][0]["text"] if row["samples"] else "",
            f"{row['documents']:,}",
        )
        for row in hits[:MAX_ROWS]
    ]
    caption = f"The commonest of {total:,}; the others in report.json." if total > MAX_ROWS else ""
    columns = ("item", "found", "documents")
    yield Table(columns, tuple(rows), num_text_columns=2, caption=caption)


def _unreadable(figures: Figures) -> Iterator[Block]:
    if not figures["unreadable"]:
        return
    yield Heading("Unreadable")
    reasons = [(reason, f"{count:,}") for reason, count in figures["unreadable_reasons"].items()]
    yield Table(("reason", "places"), tuple(reasons[:MAX_ROWS]))
    places = figures["unreadable_places"][:MAX_ROWS]
    rows = tuple((mark["place"], mark["reason"]) for mark in places)
    yield Fold("Places", (Table((), rows, num_text_columns=2),), f"the first {len(rows)}")


def _made(figures: Figures) -> Iterator[tuple[str, str]]:
    made = dict(figures["made"])
    if not made["decontaminate"]["files"]:
        made["decontaminate"] = None
    if not made["mix"]["weights"] and not made["mix"]["max_characters"]:
        made["mix"] = None
    for name, value in made.items():
        if name != "llmctl" and value not in (None, [], {}):
            yield name, _setting(value)


def _setting(value: Any) -> str:
    if isinstance(value, Mapping):
        parts = (f"{key}: {_setting(inner)}" for key, inner in value.items() if inner or inner == 0)
        return "; ".join(parts)
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return shown_value(value) if not isinstance(value, str) else value


def _lang(language: str) -> str:
    return "" if language == UNKNOWN_LANGUAGE else language


def _count(count: int) -> str:
    return f"{count:,}" if count else "–"


def _short(count: int) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M")):
        if count >= size:
            return f"{number(count / size)}\u00a0{letter}"
    return f"{count:,}"
