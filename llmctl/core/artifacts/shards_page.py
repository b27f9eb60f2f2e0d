"""Shards as a page for browsers: what the tokenizer makes of the text, and of which text.

The figures are the dictionary that stands in `report.json`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from llmctl.core.artifacts.corpus_sentences import MAX_LANGUAGES, Figures, language_name
from llmctl.core.artifacts.html_charts import (
    NUM_COLOURS,
    Bar,
    BarChart,
    LineChart,
    Part,
    PartsBar,
    Series,
)
from llmctl.core.artifacts.html_histograms import HistogramPlot, Histograms
from llmctl.core.artifacts.html_report import (
    Block,
    Fold,
    Heading,
    KeyFigure,
    KeyFigures,
    Note,
    Page,
    Paragraph,
    Table,
)
from llmctl.core.artifacts.html_text import number, share_text
from llmctl.core.artifacts.shards_sentences import (
    COUNT_COLUMNS,
    by_tokens,
    count_cells,
    leak_sentence,
    ratio,
    ratio_cells,
    shown_token,
    summary,
)

MAX_ROWS = 20


def shards_page(figures: Figures) -> Page:
    """Return the page for browsers."""
    blocks: list[Block] = [
        *(Note(text, "warning") for text in figures.get("warnings", ())),
        *_overview(figures),
        *_languages(figures),
        *_curve(figures),
        *_comparison(figures),
        *_vocabulary(figures),
        *_lengths(figures),
        *_mix(figures),
        *_leaks(figures),
        *_special_tokens(figures),
        *_training(figures),
    ]
    return Page(
        title="Shards",
        eyebrow="Shards",
        subtitle=figures["tokenizer"],
        blocks=tuple(blocks),
        footer=f"llmctl {figures['llmctl']}".strip(),
    )


def _overview(figures: Figures) -> Iterator[Block]:
    yield Paragraph(summary(figures), is_lead=True)
    vocabulary = figures["vocabulary"]
    found = [
        KeyFigure("bytes per token", ratio(figures.get("bytes_per_token"))),
        KeyFigure("characters per token", ratio(figures.get("characters_per_token"))),
    ]
    if (cost := figures.get("tokens_per_han_character")) is not None:
        detail = f"{figures['han_characters']:,} of them"
        found.append(KeyFigure("tokens per Han character", number(cost), detail))
    if (share := figures.get("single_byte_share")) is not None:
        detail = "tokens that are a byte of a character of several"
        found.append(KeyFigure("single bytes", share_text(share), detail))
    unused = vocabulary["unused"]
    detail = f"of {vocabulary['entries']:,}, {share_text(unused / max(vocabulary['entries'], 1))}"
    found.append(KeyFigure("unused entries", f"{unused:,}", detail))
    yield KeyFigures(tuple(found))
    splits: Mapping[str, Figures] = figures.get("splits", {})
    if any(split["tokens"] for split in splits.values()):
        parts = [
            Part(f"tokens, {name}", split["tokens"], "main" if name == "train" else "other")
            for name, split in splits.items()
        ]
        documents = ", ".join(f"{split['documents']:,} {name}" for name, split in splits.items())
        yield PartsBar(tuple(parts), caption=f"Documents: {documents}.")


def _languages(figures: Figures) -> Iterator[Block]:
    languages: Mapping[str, Figures] = figures["languages"]
    names = [name for name in by_tokens(languages) if languages[name]["tokens"]]
    if names:
        yield Heading("Languages")
    if len(names) > 1:
        bars = [
            Bar(language_name(name), languages[name]["bytes_per_token"], is_main=True)
            for name in names[:MAX_LANGUAGES]
        ]
        yield BarChart(tuple(bars), unit="bytes per token")
    if names:
        yield Table(("language", *COUNT_COLUMNS), _count_rows(languages, is_language=True))
    sources: Mapping[str, Figures] = figures["sources"]
    if sources:
        yield Heading("Sources")
        num_all = figures["num_sources"]
        more = "more" if num_all > len(sources) else "all"
        caption = (
            f"The largest of {num_all:,}; {more} in report.json." if num_all > MAX_ROWS else ""
        )
        yield Table(("source", *COUNT_COLUMNS), _count_rows(sources), caption=caption)


def _count_rows(
    counts: Mapping[str, Figures], *, is_language: bool = False
) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (language_name(name) if is_language else name, *count_cells(counts[name]))
        for name in by_tokens(counts)[:MAX_ROWS]
    )


def _curve(figures: Figures) -> Iterator[Block]:
    curve: Sequence[Figures] = figures.get("vocabulary_curve", ())
    if not curve:
        return
    yield Heading("Size of the vocabulary")
    yield Paragraph("What each size makes of a sample, from one training.")
    found = {name for point in curve for name in point["bytes_per_token"]}
    languages = figures["languages"]
    names = [*(x for x in by_tokens(languages) if x in found), *sorted(found - {*languages})]
    series = [
        Series(
            language_name(name),
            tuple(
                (point["vocab_size"], point["bytes_per_token"][name])
                for point in curve
                if name in point["bytes_per_token"]
            ),
            has_markers=True,
        )
        for name in names[:NUM_COLOURS]
    ]
    if series:
        yield LineChart(tuple(series), "entries", "bytes per token", log_x=True)
    rows = [
        (
            f"{point['vocab_size']:,}",
            *(ratio(point["bytes_per_token"].get(name)) for name in names[:MAX_LANGUAGES]),
        )
        for point in curve
    ]
    columns = ("entries", *map(language_name, names[:MAX_LANGUAGES]))
    yield Fold("As numbers", (Table(columns, tuple(rows)),), f"{len(rows)} sizes")


def _comparison(figures: Figures) -> Iterator[Block]:
    compared: Sequence[Figures] = figures.get("comparison", ())
    if not compared:
        return
    yield Heading("Beside other tokenizers")
    yield Paragraph("The same sample for all; more bytes per token are fewer tokens to train on.")
    own: Mapping[str, Figures] = compared[0]["languages"]
    for language in by_tokens(own)[:MAX_LANGUAGES]:
        rows: list[tuple[str, ...]] = []
        for row in compared:
            counts = row["languages"].get(language, {})
            tokens = own[language]["tokens"]
            times = counts["tokens"] / tokens if counts and tokens else None
            cells = ratio_cells(counts)
            rows.append((row["name"], f"{row['vocab_size']:,}", ratio(times), *cells))
        columns = ("tokenizer", "entries", "tokens, relative", *COUNT_COLUMNS[2:])
        documents = own[language]["documents"]
        title = language_name(language)
        caption = f"{title[:1].upper() + title[1:]}, {documents:,} documents."
        yield Table(columns, tuple(rows), caption=caption)


def _vocabulary(figures: Figures) -> Iterator[Block]:
    vocabulary = figures["vocabulary"]
    yield Heading("Vocabulary")
    kinds = [
        (row["kind"], f"{row['entries']:,}", _count(row["unused"]), _count(row["tokens"]))
        for row in vocabulary["kinds"]
    ]
    yield Table(("entries", "in all", "unused", "tokens"), tuple(kinds))
    lists = (
        ("longest", "The longest tokens but for runs of signs"),
        ("longest_han", "The longest of Han characters"),
        ("most_frequent", "The most frequent tokens"),
        ("unused_entries", "Entries that are never used"),
    )
    is_open = True
    for name, title in lists:
        if vocabulary[name]:
            table, detail = _tokens(vocabulary[name]), f"{len(vocabulary[name])}"
            yield Fold(title, (table,), detail, is_open=is_open)
            is_open = False


def _tokens(entries: Sequence[Figures]) -> Table:
    rows = [
        (
            shown_token(entry["text"]),
            f"{entry['id']:,}",
            f"{entry['bytes']:,}",
            _count(entry["count"]),
        )
        for entry in entries
    ]
    return Table(("token", "id", "bytes", "tokens"), tuple(rows))


def _lengths(figures: Figures) -> Iterator[Block]:
    found = figures.get("document_tokens")
    if not found:
        return
    yield Heading("Lengths of documents")
    languages: Mapping[str, Figures] = found["languages"]
    names = by_tokens(languages)[:MAX_LANGUAGES]
    groups = [(language_name(name), languages[name]) for name in names]
    if len(groups) != 1:
        groups.insert(0, ("all", found["all"]))
    plots = [
        HistogramPlot(
            title,
            row["edges"],
            row["counts"],
            log_x=True,
            detail=f"{row['documents']:,} documents",
        )
        for title, row in groups
    ]
    yield Histograms(tuple(plots), caption="Documents by their tokens. Areas stand for numbers.")
    rows = [
        (
            title,
            number(row["mean"]),
            *(f"{row['quantiles'][share]:,}" for share in ("0.1", "0.5", "0.9", "0.99")),
            f"{row['longest']:,}",
        )
        for title, row in groups
    ]
    columns = ("tokens", "mean", "10\u00a0%", "median", "90\u00a0%", "99\u00a0%", "longest")
    yield Table(columns, tuple(rows))


def _mix(figures: Figures) -> Iterator[Block]:
    mix: Sequence[Figures] = figures.get("mix", ())
    if not mix:
        return
    yield Heading("Mix")
    yield Paragraph("How often the training split holds the documents of a corpus or source.")
    used = sum(row["used_tokens"] for row in mix)
    rows = [
        (
            row["corpus"],
            row["source"],
            f"{row['documents']:,}",
            f"{row['tokens']:,}",
            ratio(row["weight"]),
            number(row["epochs"]),
            f"{row['used_tokens']:,}",
            share_text(row["used_tokens"] / used) if used else "–",
        )
        for row in mix[:MAX_ROWS]
    ]
    columns = ("corpus", "source", "documents", "tokens", "weight", "epochs", "used", "share")
    caption = f"The first of {len(mix):,}; all in report.json." if len(mix) > MAX_ROWS else ""
    yield Table(columns, tuple(rows), num_text_columns=2, caption=caption)


def _leaks(figures: Figures) -> Iterator[Block]:
    leaks: Sequence[Figures] = figures.get("leaks", ())
    if not leaks:
        return
    yield Heading("Leaks")
    for row in leaks:
        yield Note(leak_sentence(row), "warning" if row["found"] else "note")
        if samples := row["samples"][:MAX_ROWS]:
            cells = [
                (sample["other"], sample["id"], sample["source"], share_text(sample["share"]))
                for sample in samples
            ]
            other = "held out" if row["against"] == "validation" else "item"
            columns = (other, "in training", "source", "share of it")
            table = Table(columns, tuple(cells), num_text_columns=3)
            yield Fold("Samples", (table,), f"{len(cells)} of {row['found']:,}")


def _special_tokens(figures: Figures) -> Iterator[Block]:
    specials: Sequence[Figures] = figures.get("special_tokens", ())
    if not specials:
        return
    yield Heading("Special tokens")
    # Those that stand in the text first: a public tokenizer has hundreds.
    order = sorted(specials, key=lambda row: (not row["found"], row["id"]))
    rows = [
        (
            row["text"],
            "read as the token" if row["is_allowed"] else "left as text" if row["found"] else "",
            f"{row['id']:,}",
            _count(row["found"]),
        )
        for row in order[:MAX_ROWS]
    ]
    caption = f"{MAX_ROWS} of {len(specials):,}; all in report.json." * (len(specials) > MAX_ROWS)
    columns = ("token", "in the text", "id", "found")
    yield Table(columns, tuple(rows), num_text_columns=2, caption=caption)


def _training(figures: Figures) -> Iterator[Block]:
    training = figures.get("training")
    if training is None:
        return
    yield Heading("Training of the tokenizer")
    yield Paragraph(
        f"Kind {training['kind']}, text cut by {training['pretokenizer']}, nothing learnt that "
        f"occurs less than {training['min_frequency']:,} times."
    )
    languages: Mapping[str, Figures] = training["languages"]
    whole = sum(row["bytes"] for row in languages.values())
    rows = [
        (
            language_name(name),
            f"{row['documents']:,}",
            f"{row['bytes']:,}",
            share_text(row["bytes"] / whole) if whole else "–",
        )
        for name, row in sorted(languages.items(), key=lambda pair: (-pair[1]["bytes"], pair[0]))
    ]
    if rows:
        yield Table(("language", "documents", "bytes", "share"), tuple(rows))


def _count(count: int) -> str:
    return f"{count:,}" if count else "–"
