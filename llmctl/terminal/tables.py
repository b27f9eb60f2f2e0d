"""Tables on stdout: the states of stages and runs, scores."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from llmctl.core.pipeline import StageState
from llmctl.terminal.watcher import shown

PIPE_COLUMNS = 10_000  # a program reads the lines: never fold or cut them
STATUS_STYLES = {"up to date": "green", "damaged": "red bold", "unknown": "red"}


def print_states(states: Sequence[StageState], holder: str | None) -> None:
    """One row a stage: how it stands, and why."""
    table = plain_table("stage", "status", "why")
    for state in states:
        status = Text(state.status, STATUS_STYLES.get(state.status, "yellow"))
        table.add_row(state.stage, status, Text("; ".join(state.reasons)))
    result_console().print(table)
    if holder is not None:
        result_console().print(Text(f"in use by {holder}", "yellow"))


def print_runs(runs: Sequence[Mapping[str, Any]], directory: Path) -> None:
    """One row a run."""
    if not runs:
        result_console().print(Text(f"no runs in {directory}; begin with: llmctl run quickstart"))
        return
    table = plain_table("run", "has", "parameters", "bits/byte", "made", "now")
    for run in runs:
        bits = run["bits_per_byte"]
        now = "in use" if run["holder"] else ""
        if run["unfinished_step"]:
            now = f"{now} stopped at step {run['unfinished_step']}".strip()
        table.add_row(
            Text(run["run"], "bold"),
            " ".join(run["artifacts"]),
            f"{run['parameters']:,}" if run["parameters"] else "",
            f"{bits:.3f}" if bits else "",
            run["created"] or "",
            now,
        )
    result_console().print(table)


def print_scores(scores: Mapping[str, Any]) -> None:
    """Every figure on a row of its own, nested ones by their path."""
    table = plain_table("figure", "value")
    for name, value in _flat(scores):
        table.add_row(Text(name), Text(value))
    result_console().print(table)


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for name, inner in value.items():
        path = f"{prefix}{name}".replace("_", " ")
        if isinstance(inner, Mapping):
            yield from _flat(inner, f"{path} · ")
        elif isinstance(inner, list | tuple) and all(isinstance(x, int | float) for x in inner):
            yield path, " … ".join(shown(item) for item in inner)
        elif isinstance(inner, list):
            for index, item in enumerate(inner):
                if isinstance(item, Mapping):
                    yield from _flat(item, f"{path} {index + 1} · ")
        elif isinstance(inner, int | float) and not isinstance(inner, bool):
            yield path, shown(inner)
        elif inner not in (None, ""):
            yield path, str(inner)


def plain_table(*columns: str) -> Table:
    """Return an empty table without lines; on a terminal, long cells fold."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=not sys.stdout.isatty())
    return table


def result_console() -> Console:
    """Return what writes on stdout: as wide as the terminal, never folded in a pipe."""
    width = None if sys.stdout.isatty() else PIPE_COLUMNS
    return Console(highlight=False, width=width, soft_wrap=width is not None)
