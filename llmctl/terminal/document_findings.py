"""What became of a document, on stdout."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from llmctl.core.artifacts.corpus_sentences import shown_value
from llmctl.core.stages.inspect_document import DocumentFindings
from llmctl.terminal.tables import plain_table, result_console
from llmctl.terminal.visible import visible

TEXT_CHARACTERS = 600
_OF_A_DOCUMENT = {"id", "source", "language", "text", "meta", "rule", "value", "threshold"}
_LABEL = 14


def print_documents(found: Sequence[DocumentFindings]) -> None:
    """Print each document's fate, its text's beginning and what every rule finds."""
    console = result_console()
    for number, findings in enumerate(found):
        if number:
            console.print()
        _print_document(console, findings)


def _print_document(console: Console, findings: DocumentFindings) -> None:
    record = findings.line.record
    for label, text in _lines(findings):
        style = "" if label != "dropped by" else "yellow"
        console.print(Text(f"{label:<{_LABEL}}", "dim").append(Text(visible(text), style)))
    text = record["text"]
    cut = "…" if len(text) > TEXT_CHARACTERS else ""
    console.print()
    console.print(Text(visible(text[:TEXT_CHARACTERS]) + cut))
    if not findings.rules:
        return
    table = plain_table("rule")
    for column in ("value", "threshold"):
        table.add_column(column, justify="right")
    table.add_column("")
    for figure in findings.rules:
        table.add_row(
            figure.rule,
            shown_value(figure.value),
            shown_value(figure.threshold),
            Text("passed", "green") if figure.passed else Text("dropped", "red"),
        )
    console.print()
    console.print(table)


def _lines(findings: DocumentFindings) -> Iterator[tuple[str, str]]:
    record = findings.line.record
    yield "id", record["id"]
    if findings.line.is_kept:
        yield "kept", findings.line.file
    else:
        measured = f"{shown_value(record['value'])}, threshold {shown_value(record['threshold'])}"
        yield "dropped by", f"{record['rule']}: {measured}"
        yield "lies in", findings.line.file
    for name, value in record.items():
        if name not in _OF_A_DOCUMENT:
            yield name.replace("_", " "), _shown(value)
    yield "source", record["source"]
    yield "language", record["language"]
    yield "characters", f"{len(record['text']):,}"
    if record["meta"]:
        yield "meta", _shown(record["meta"])


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
