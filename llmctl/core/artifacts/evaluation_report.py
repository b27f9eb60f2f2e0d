"""An evaluation as pages: what its figures say, how the model learned, how all was made.

The figures are the dictionary that stands in `report.json`; see `docs/formats.md`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmctl.core.artifacts.html_charts import Bar, BarChart, LineChart, Series
from llmctl.core.artifacts.html_report import (
    Block,
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
from llmctl.core.artifacts.html_text import number
from llmctl.core.artifacts.report import markdown_table, markdown_text

Figures = Mapping[str, Any]
Rows = Sequence[Mapping[str, Any]]

FEW_DOCUMENTS = 30
LANGUAGE_NAMES = {"en": "English", "zh": "Chinese", "ja": "Japanese", "ko": "Korean"}
_FILE_COLUMNS = ("text", "bits per byte", "95 %", "token perplexity", "documents", "bytes")
_XZ_LABELS = (
    ("xz_primed_bits_per_byte", "xz -9 that has seen the training text"),
    ("xz_bits_per_byte", "xz -9 alone"),
)
_HEADINGS = {"hardest": "Hardest to predict", "easiest": "Easiest to predict"}


@dataclass(frozen=True)
class Training:
    """What the model's training left behind; empty where it left nothing.

    Attributes:
        metrics: Rows with `step` and `loss`, or with `step` and `validation_loss`.
        samples: Rows with `step`, `prompt` and `text`, and `language` where it is known.
    """

    metrics: Rows = ()
    samples: Rows = ()


def evaluation_page(report: Figures, samples: Rows, training: Training) -> Page:
    """Return the page for browsers."""
    blocks: list[Block] = [
        Paragraph(verdict(report["validation"]), is_lead=True),
        KeyFigures(tuple(_key_figures(report))),
        *_few_documents(report["validation"]),
        *_against_compressors(report),
        *_texts(report),
        *_learning(training),
        *_written(training),
    ]
    for kind, heading in _HEADINGS.items():
        chosen = tuple(_read_sample(row) for row in samples if row["kind"] == kind)
        if chosen:
            blocks += [Heading(heading), Samples(chosen)]
    blocks += [
        Heading("How this was made"),
        Table((), tuple(_made(report)), num_text_columns=2),
    ]
    model = report["model"]
    return Page(
        title=report["name"],
        eyebrow="Evaluation",
        subtitle=f"A language model of {model['parameters']:,} parameters, scored on text that "
        "was kept from its training",
        blocks=tuple(blocks),
        footer=f"llmctl {report['made']['llmctl']}",
    )


def evaluation_markdown(report: Figures) -> str:
    """Return the page for terminals and code review."""
    scored = report["validation"]
    rows = [(figure.label, figure.value, figure.detail) for figure in _key_figures(report)]
    rows += [
        (label, number(scored[name]), "bits per byte")
        for name, label in _XZ_LABELS
        if name in scored
    ]
    parts = [
        f"# {markdown_text(report['name'])}\n",
        f"{verdict(scored)}\n",
        markdown_table(("figure", "value", ""), rows),
    ]
    if len(texts := list(_text_rows(report))) > 1:
        parts += ["## Texts\n", markdown_table(_FILE_COLUMNS, texts)]
    made = tuple(_made(report))
    parts += ["## How this was made\n", markdown_table(("", ""), made, num_text_columns=2)]
    return "\n".join(parts)


def verdict(scored: Figures) -> str:
    """Say in a sentence what the figures come to."""
    bits = scored["bits_per_byte"]
    first = f"This model needs {number(bits)} bits for a byte of text that it has not seen"
    rival = scored.get("xz_primed_bits_per_byte")
    if rival is None:
        return f"{first}, {100 * bits / 8:.0f}\u00a0% of the text's plain size."
    return (
        f"{first}: {_compared(bits / rival)} the {number(rival)} that xz -9 needs once it has seen "
        "the same training text."
    )


def _compared(ratio: float) -> str:
    difference = round(100 * (ratio - 1))
    if difference >= 100:
        return f"{ratio:.1f} times"
    if difference == 0:
        return "as much as"
    return f"{abs(difference)}\u00a0% {'more' if difference > 0 else 'less'} than"


def _key_figures(report: Figures) -> Iterator[KeyFigure]:
    scored = report["validation"]
    for name, label in (
        ("bits_per_byte", "bits per byte"),
        ("bits_per_character", "bits per character"),
        ("token_perplexity", "token perplexity"),
    ):
        yield KeyFigure(label, number(scored[name]), _spread(scored[f"{name}_interval"], "95 %: "))
    size = f"{scored['bytes']:,} bytes"
    yield KeyFigure("documents", f"{scored['documents']:,}", size)
    vocabulary = f"vocabulary of {report['model']['vocab_size']:,}"
    yield KeyFigure("tokens", f"{scored['tokens']:,}", vocabulary)


def _spread(interval: Sequence[float] | None, prefix: str = "") -> str:
    return f"{prefix}{number(interval[0])} – {number(interval[1])}" if interval else ""


def _few_documents(scored: Figures) -> Iterator[Block]:
    if scored["documents"] < FEW_DOCUMENTS:
        noun = "document" if scored["documents"] == 1 else "documents"
        yield Note(
            f"Only {scored['documents']} {noun}: other documents may give quite different "
            "figures, by more than an interval over so few can tell."
        )


def _against_compressors(report: Figures) -> Iterator[Block]:
    scored = report["validation"]
    if "xz_bits_per_byte" not in scored:
        return
    interval = scored["bits_per_byte_interval"]
    bars = [Bar("this model", scored["bits_per_byte"], interval, is_main=True)]
    bars += [Bar(label, scored[name]) for name, label in _XZ_LABELS]
    yield Heading("Against a compressor")
    yield Paragraph(
        "A model that needs b bits for a byte could store the text in b / 8 of its size, so it "
        "compares with any compressor. Shorter is better."
    )
    yield BarChart(
        tuple(bars),
        unit="bits per byte",
        caption="The whisker spans the 95 % interval over documents." if interval else "",
    )


def _texts(report: Figures) -> Iterator[Block]:
    rows = list(_text_rows(report))
    if len(rows) > 1:
        yield Heading("Text by text")
        yield Table(_FILE_COLUMNS, tuple(rows))


def _text_rows(report: Figures) -> Iterator[tuple[str, ...]]:
    yield _text_row("validation split", report["validation"])
    for language, scored in report["languages"].items():
        yield _text_row(f"of it {LANGUAGE_NAMES.get(language, 'other')}", scored)
    for scored in report["data"]:
        yield _text_row(scored["path"], scored)


def _text_row(label: str, scored: Figures) -> tuple[str, ...]:
    return (
        label,
        number(scored["bits_per_byte"]),
        _spread(scored["bits_per_byte_interval"]),
        number(scored["token_perplexity"]),
        f"{scored['documents']:,}",
        f"{scored['bytes']:,}",
    )


def _learning(training: Training) -> Iterator[Block]:
    losses = _points(training.metrics, "loss")
    if not losses:
        return
    last = max((row for row in training.metrics if "tokens" in row), key=lambda row: row["step"])
    validation = Series(
        "validation", _points(training.metrics, "validation_loss"), has_markers=True
    )
    yield Heading("How it learned")
    yield Paragraph(
        f"{last['step']:,} steps, {last['tokens']:,} tokens, {_duration(last['seconds'])}. The "
        "validation loss here is of a part of the split, read in windows that run across "
        "documents; the figures above are of all of it, document by document."
    )
    yield LineChart(
        (Series("training", losses), validation), x_label="steps", y_label="nats per token"
    )
    rates = _points(training.metrics, "learning_rate")
    if rates:
        yield LineChart(
            (Series("learning rate", rates, colour=3),),
            x_label="steps",
            y_label="learning rate",
            height="short",
        )


def _points(rows: Rows, name: str) -> tuple[tuple[float, float], ...]:
    return tuple(
        (float(row["step"]), float(row[name])) for row in rows if row.get(name) is not None
    )


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _written(training: Training) -> Iterator[Block]:
    prompts = dict.fromkeys(str(row["prompt"]) for row in training.samples)
    if prompts:
        yield Heading("What it wrote on the way")
        yield Paragraph("The same beginnings, continued again and again during training.")
    for prompt in prompts:
        yield Samples(
            tuple(
                Sample(
                    f"step {row['step']:,}",
                    row["text"],
                    prompt=prompt,
                    language=row.get("language", ""),
                )
                for row in training.samples
                if row["prompt"] == prompt
            ),
            is_story=True,
        )


def _read_sample(row: Mapping[str, Any]) -> Sample:
    detail = f"{number(row['bits_per_byte'])} bits per byte · {row['bytes']:,} bytes"
    text = row["text"] + ("…" if row["is_cut"] else "")
    return Sample(f"document {row['document']:,}", text, detail=detail, language=row["language"])


def _made(report: Figures) -> Iterator[tuple[str, str]]:
    made = report["made"]
    yield "unit", made["unit"]
    yield "scored", made["scored"]
    yield "window", made["window"]
    yield "prefix", made["prefix"]
    yield "interval", made["interval"]
    if made["compression"]:
        yield "xz", made["compression"]
    yield "arithmetic", f"{made['dtype']} on {made['device']}"
    yield "model", made["model"]
