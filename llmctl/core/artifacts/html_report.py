"""Every HTML report: blocks in, one self-contained page out.

No script, no image, no font and no address outside: the page reads the same in ten years
and without a network. `html_report.css` beside this file is its look.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal

from llmctl.core.artifacts.html_charts import (
    BarChart,
    LineChart,
    PartsBar,
    draw_bars,
    draw_lines,
    draw_parts,
)
from llmctl.core.artifacts.html_heat_maps import HeatMaps, draw_heat_maps
from llmctl.core.artifacts.html_histograms import Histograms, draw_histograms
from llmctl.core.artifacts.html_text import escape, invisible_written_out

# Even a page that was tampered with loads nothing and runs nothing.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


@dataclass(frozen=True)
class Heading:
    """Begins a section."""

    text: str


@dataclass(frozen=True)
class Paragraph:
    """Prose; a lead is the sentence to remember, set larger."""

    text: str
    is_lead: bool = False


@dataclass(frozen=True)
class KeyFigure:
    """One number that matters.

    Attributes:
        label: What it is.
        value: As it is shown.
        detail: A line below: an interval, a unit.
    """

    label: str
    value: str
    detail: str = ""


@dataclass(frozen=True)
class KeyFigures:
    """Numbers beside each other; the first is the one to look at."""

    figures: Sequence[KeyFigure]


@dataclass(frozen=True)
class Table:
    """Rows of cells.

    Attributes:
        columns: The header; empty for none.
        rows: As many cells as columns, as they are shown.
        num_text_columns: So many columns at the left are words, the others numbers.
        caption: What to read from it.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    num_text_columns: int = 1
    caption: str = ""


@dataclass(frozen=True)
class Sample:
    """A text as a model read or wrote it.

    Attributes:
        label: Where it comes from: a step, a document.
        text: The text; kept as it is, line by line.
        prompt: What stood before it, shown dimmed.
        detail: A figure beside the label.
        language: "zh", "ja", "ko", "en": chooses the font; empty where not known.
    """

    label: str
    text: str
    prompt: str = ""
    detail: str = ""
    language: str = ""


@dataclass(frozen=True)
class Samples:
    """Texts one below the other.

    Attributes:
        title: Above them.
        is_monospace: For code and logs; else set as prose.
        is_story: Whether they follow each other in time, drawn along a line.
    """

    samples: Sequence[Sample]
    title: str = ""
    is_monospace: bool = False
    is_story: bool = False


@dataclass(frozen=True)
class Change:
    """A stretch of a text before and after it was changed.

    Attributes:
        label: Where it comes from.
        before: What stands in front of the change.
        deleted: What was there.
        inserted: What is there now.
        after: What follows.
        detail: A figure beside the label.
        language: As in a sample.
    """

    label: str
    before: str
    deleted: str
    inserted: str
    after: str
    detail: str = ""
    language: str = ""


@dataclass(frozen=True)
class Changes:
    """Changes one below the other; characters that nobody sees are written out in them.

    Attributes:
        title: Above them.
    """

    changes: Sequence[Change]
    title: str = ""


@dataclass(frozen=True)
class Note:
    """Something to know before trusting the rest."""

    text: str
    kind: Literal["note", "warning"] = "note"


@dataclass(frozen=True)
class Fold:
    """Blocks behind their title until a reader opens it: for what is long and rarely read.

    Attributes:
        title: What is behind it.
        detail: A figure beside it.
        is_open: Whether it is open from the start.
    """

    title: str
    blocks: Sequence[Block]
    detail: str = ""
    is_open: bool = False


Block = (
    Heading
    | Paragraph
    | KeyFigures
    | Table
    | BarChart
    | PartsBar
    | LineChart
    | HeatMaps
    | Histograms
    | Samples
    | Changes
    | Note
    | Fold
)


@dataclass(frozen=True)
class Page:
    """A whole report.

    Attributes:
        title: Its name, in the window too.
        eyebrow: What kind of page it is, above the title.
        subtitle: One line below the title.
        footer: The last line.
        language: Of the page's own words.
    """

    title: str
    blocks: Sequence[Block] = field(default_factory=tuple)
    eyebrow: str = ""
    subtitle: str = ""
    footer: str = ""
    language: str = "en"


def render(page: Page) -> str:
    """Return the page as HTML that is XML too, but for its first line.

    Raises:
        ValueError: A table's rows do not fit its columns, or a chart has nothing to draw.
    """
    sections: list[list[str]] = [[]]
    for block in page.blocks:
        if isinstance(block, Heading):
            sections.append([])
        sections[-1].append(_draw(block))
    body = "".join(f"<section>{''.join(parts)}</section>" for parts in sections if parts)
    eyebrow = f'<p class="eyebrow">{escape(page.eyebrow)}</p>' if page.eyebrow else ""
    subtitle = f'<p class="subtitle">{escape(page.subtitle)}</p>' if page.subtitle else ""
    footer = f"<footer><p>{escape(page.footer)}</p></footer>" if page.footer else ""
    return (
        "<!DOCTYPE html>\n"
        f'<html lang="{escape(page.language)}"><head><meta charset="utf-8"/>'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}"/>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        '<meta name="color-scheme" content="light dark"/>'
        f"<title>{escape(page.title)}</title><style>{_style()}</style></head>\n"
        f"<body><main><header>{eyebrow}<h1>{escape(page.title)}</h1>{subtitle}</header>"
        f"{body}{footer}</main></body></html>\n"
    )


@cache
def _style() -> str:
    return Path(__file__).with_suffix(".css").read_text(encoding="utf-8")


def _draw(block: Block) -> str:
    match block:
        case Heading():
            return f"<h2>{escape(block.text)}</h2>"
        case Paragraph():
            lead = ' class="lead"' if block.is_lead else ""
            return f"<p{lead}>{escape(block.text)}</p>"
        case KeyFigures():
            return f'<dl class="key-figures">{"".join(map(_key_figure, block.figures))}</dl>'
        case Table():
            return _table(block)
        case BarChart():
            return draw_bars(block)
        case PartsBar():
            return draw_parts(block)
        case LineChart():
            return draw_lines(block)
        case HeatMaps():
            return draw_heat_maps(block)
        case Histograms():
            return draw_histograms(block)
        case Samples():
            return _samples(block)
        case Changes():
            title = f"<h3>{escape(block.title)}</h3>" if block.title else ""
            items = "".join(f"<li>{_change(change)}</li>" for change in block.changes)
            return f'<div class="samples changes">{title}<ul>{items}</ul></div>'
        case Note():
            return f'<p class="{block.kind}" role="note">{escape(block.text)}</p>'
        case Fold():
            return _fold(block)


def _key_figure(figure: KeyFigure) -> str:
    detail = f'<dd class="detail">{escape(figure.detail)}</dd>' if figure.detail else ""
    return f"<div><dt>{escape(figure.label)}</dt><dd>{escape(figure.value)}</dd>{detail}</div>"


def _table(table: Table) -> str:
    width = len(table.columns) or len(table.rows[0]) if table.rows else len(table.columns)
    for row in table.rows:
        if len(row) != width:
            raise ValueError(f"a row of {len(row)} cells in a table of {width} columns: {row}")
    words = table.num_text_columns

    def cell(text: str, index: int, tag: str, scope: str = "") -> str:
        kind = "" if index < words else ' class="number"'
        # In a narrow column a name like max_words is broken where its words end.
        shown = escape(text).replace("_", "_<wbr/>") if tag == "th" else escape(text)
        return f"<{tag}{scope}{kind}>{shown}</{tag}>"

    head = "".join(
        cell(text, index, "th", ' scope="col"') for index, text in enumerate(table.columns)
    )
    rows = "".join(
        "<tr>"
        + cell(row[0], 0, "th", ' scope="row"')
        + "".join(cell(text, index, "td") for index, text in enumerate(row[1:], 1))
        + "</tr>"
        for row in table.rows
    )
    thead = f"<thead><tr>{head}</tr></thead>" if head else ""
    caption = f"<caption>{escape(table.caption)}</caption>" if table.caption else ""
    return f'<div class="table"><table>{caption}{thead}<tbody>{rows}</tbody></table></div>'


def _samples(block: Samples) -> str:
    classes = ["samples", *(["monospace"] if block.is_monospace else [])]
    title = f"<h3>{escape(block.title)}</h3>" if block.title else ""
    tag = "ol" if block.is_story else "ul"
    items = "".join(f"<li>{_sample(sample)}</li>" for sample in block.samples)
    if block.is_story:
        classes.append("story")
    return f'<div class="{" ".join(classes)}">{title}<{tag}>{items}</{tag}></div>'


def _sample(sample: Sample) -> str:
    prompt = f"<em>{escape(sample.prompt)}</em>" if sample.prompt else ""
    return _labelled(sample, prompt + escape(sample.text))


def _change(change: Change) -> str:
    deleted, inserted = (
        f"<{tag}>{invisible_written_out(text)}</{tag}>" if text else ""
        for tag, text in (("del", change.deleted), ("ins", change.inserted))
    )
    return _labelled(change, f"{escape(change.before)}{deleted}{inserted}{escape(change.after)}")


def _labelled(shown: Sample | Change, text: str) -> str:
    language = f' lang="{escape(shown.language)}"' if shown.language else ""
    detail = f"<span>{escape(shown.detail)}</span>" if shown.detail else ""
    return (
        f'<p class="label"><b>{escape(shown.label)}</b>{detail}</p>'
        f'<p class="text" dir="auto"{language}>{text}</p>'
    )


def _fold(fold: Fold) -> str:
    detail = f"<span>{escape(fold.detail)}</span>" if fold.detail else ""
    is_open = ' open="open"' if fold.is_open else ""
    blocks = "".join(map(_draw, fold.blocks))
    return (
        f"<details{is_open}><summary><b>{escape(fold.title)}</b>{detail}</summary>"
        f"{blocks}</details>"
    )
