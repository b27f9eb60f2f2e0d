"""A report's directory: figures for programs, a page each for terminals and for browsers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from llmctl.core import atomic
from llmctl.core.artifacts.html_report import Page, render

JSON_NAME = "report.json"
MARKDOWN_NAME = "report.md"
HTML_NAME = "report.html"
SAMPLES_NAME = "samples.jsonl"
_MARKDOWN_SIGNS = str.maketrans({sign: f"\\{sign}" for sign in "\\`*_[]<>|#~"} | {"\n": " "})


def write_report(
    directory: Path,
    figures: Mapping[str, Any],
    *,
    markdown: str,
    page: Page,
    samples: Iterable[Mapping[str, Any]],
) -> None:
    """Write the four files of a report.

    Args:
        directory: Where; they replace files of their names.
        figures: Everything that the report states, as JSON.
        markdown: The page for terminals and code review.
        page: The page for browsers.
        samples: The texts that the report shows, a row each.

    Raises:
        OutputError: The files cannot be made.
        StorageError: The disk is full or failing.
    """
    rows = b"".join(orjson.dumps(dict(sample)) + b"\n" for sample in samples)
    files = {
        JSON_NAME: orjson.dumps(dict(figures), option=orjson.OPT_INDENT_2) + b"\n",
        MARKDOWN_NAME: markdown.encode(),
        HTML_NAME: render(page).encode(),
        SAMPLES_NAME: rows,
    }
    for name, content in files.items():
        atomic.write_file(directory / name, content)


def markdown_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, num_text_columns: int = 1
) -> str:
    """Return a Markdown table whose cells mean only themselves; numbers stand at the right.

    Raises:
        ValueError: A row does not have as many cells as there are columns.
    """
    rule = ["---" if index < num_text_columns else "---:" for index in range(len(columns))]
    for row in rows:
        if len(row) != len(columns):
            raise ValueError(f"a row of {len(row)} cells in a table of {len(columns)} columns")
    lines = [markdown_row(columns), markdown_row(rule, escape=False), *map(markdown_row, rows)]
    return "\n".join(lines) + "\n"


def markdown_row(cells: Sequence[str], *, escape: bool = True) -> str:
    """Return one row of a Markdown table."""
    return f"| {' | '.join(markdown_text(cell) if escape else cell for cell in cells)} |"


def markdown_text(text: str) -> str:
    """Return text without the meanings that Markdown gives to its signs."""
    return text.translate(_MARKDOWN_SIGNS)
