"""The ten lines at the end of a run."""

from __future__ import annotations

import json
import shlex
import sys

from rich.console import Console
from rich.text import Text

from llmctl.core.summary import Summary
from llmctl.terminal.visible import visible

SAMPLE_CHARACTERS = 160


def print_card(summary: Summary) -> None:
    """Print the card on stdout."""
    console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 200)
    for label, text in card_lines(summary):
        line = Text(f"{label:>14}  ", "cyan" if label else "")
        console.print(line.append(text))


def card_lines(summary: Summary) -> list[tuple[str, str]]:
    """The card's lines as labels and texts."""
    counts, report = summary.model_counts, summary.report_counts
    prompt, text = summary.samples[0]
    written = visible((prompt + text).replace("\n", " ⏎ "))
    model = _quoted(str(summary.model))
    if len(written) > SAMPLE_CHARACTERS:
        written = written[:SAMPLE_CHARACTERS] + "…"
    return [
        ("", f"{summary.name}: {counts['parameters']:,} parameters"),
        ("bits per byte", _bits(report)),
        ("sample", written),
        (
            "training",
            f"{counts['steps']:,} steps, {counts['tokens']:,} tokens, "
            f"{counts['tokens_per_second']:,} tokens/s",
        ),
        ("time", f"{summary.seconds:.0f} s in all"),
        ("model", f"{summary.model}   report: {summary.report / 'report.html'}"),
        ("next", f"llmctl generate {shlex.quote(prompt)} -m {shlex.quote(str(summary.model))}"),
        ("", f"llmctl eval -m {shlex.quote(str(summary.model))} --data YOUR_TEXT.txt"),
        ("", "from transformers import pipeline"),
        ("", f'print(pipeline("text-generation", {model})({_quoted(prompt)}, max_new_tokens=40))'),
    ]


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # also a string of Python's


def _bits(report: dict[str, object]) -> str:
    line = f"{report['bits_per_byte']:.3f} on the validation split"
    if report.get("xz_bits_per_byte"):
        line += (
            f"; xz -9 alone {report['xz_bits_per_byte']:.3f}, "
            f"primed with the training text {report['xz_primed_bits_per_byte']:.3f}"
        )
    return line
