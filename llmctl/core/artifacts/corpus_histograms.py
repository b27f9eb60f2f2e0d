"""The part of a corpus's page that shows what the rules measured, language by language."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from llmctl.core.artifacts.corpus_sentences import (
    MAX_LANGUAGES,
    Figures,
    by_size,
    language_name,
    shown_value,
)
from llmctl.core.artifacts.html_histograms import Bound, HistogramPlot, Histograms
from llmctl.core.artifacts.html_report import Block, Fold, Heading, Paragraph
from llmctl.core.artifacts.html_text import share_text


def histogram_blocks(figures: Figures) -> Iterator[Block]:
    """Yield the section; nothing where nothing was measured."""
    found: Sequence[Figures] = figures["histograms"]
    bounded = [row for row in found if row["thresholds"] and row["counts"]]
    if not bounded:
        return
    yield Heading("What was measured")
    yield Paragraph(
        "Documents by what a rule measures, with its threshold; what is beyond it is orange. "
        "Areas, not heights, stand for numbers of documents. Values of exactly 0 are not drawn."
    )
    for place, language in enumerate(by_size(figures["languages"])[:MAX_LANGUAGES]):
        dropped = figures["languages"][language]["dropped"]
        rows = [row for row in bounded if row["language"] == language]
        rows.sort(key=lambda row: (-_dropped_by(row, dropped), row["measure"]))
        num_active = sum(_dropped_by(row, dropped) > 0 for row in rows)
        if not rows:
            continue
        active, idle = rows[:num_active], rows[num_active:]
        blocks: list[Block] = []
        if active:
            blocks.append(Histograms(tuple(_plot(row, dropped) for row in active)))
        if idle:
            plots = Histograms(tuple(_plot(row, dropped) for row in idle))
            blocks.append(Fold("Measures that dropped nothing", (plots,), f"{len(idle)}"))
        title = language_name(language)
        yield Fold(title[:1].upper() + title[1:], tuple(blocks), is_open=place == 0)


def _dropped_by(row: Figures, dropped: Mapping[str, int]) -> int:
    return sum(dropped.get(rule, 0) for rule in row["thresholds"])


def _plot(row: Figures, dropped: Mapping[str, int]) -> HistogramPlot:
    total = row["zeros"] + sum(row["counts"])
    count = _dropped_by(row, dropped)
    detail = f"{count:,} of {total:,} dropped" if count else f"{total:,} documents"
    if row["zeros"]:
        detail += f" · {share_text(row['zeros'] / total)} measure 0"
    measure = row["measure"]
    return HistogramPlot(
        measure,
        row["edges"],
        row["counts"],
        tuple(
            Bound(f"{rule[:3]} {shown_value(value)}", value, rule.startswith("min_"))
            for rule, value in row["thresholds"].items()
        ),
        log_x=row["scale"] == "count",
        detail=detail,
    )
