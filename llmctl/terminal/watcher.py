"""Progress as a person sees it: bars on a terminal, a line each 30 s elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import (
    Progress as Bars,
)
from rich.text import Text

from llmctl.core.progress import Progress
from llmctl.core.stopping import Stop
from llmctl.terminal.visible import visible

HEARTBEAT_SECONDS = 30.0


def watcher(stop: Stop | None = None, *, quiet: bool = False) -> Progress:
    """Return who watches: a terminal's bars, a log's lines, or nobody with `quiet`."""
    if quiet:
        return Progress(stop)
    return TerminalProgress(stop) if sys.stderr.isatty() else LineProgress(stop)


class LineProgress(Progress):
    """One plain line for what matters, and a heartbeat each 30 s."""

    def __init__(self, stop: Stop | None = None, stream: TextIO | None = None) -> None:
        super().__init__(stop)
        self._stream = stream
        self._activity = self._unit = ""
        self._total: float | None = None
        self._done = 0.0
        self._begun = self._last_line = time.monotonic()
        self._figures: dict[str, float | str] = {}

    def begin(self, activity: str, total: float | None = None, unit: str = "") -> None:
        """Start an activity."""
        self._activity, self._total, self._unit = activity, total, unit
        self._done, self._figures = 0.0, {}
        self._begun = self._last_line = time.monotonic()

    def advance(self, amount: float = 1, **figures: float | str) -> None:
        """Count finished units."""
        self._done += amount
        self._figures |= figures
        if time.monotonic() - self._last_line >= HEARTBEAT_SECONDS:
            self._last_line = time.monotonic()
            self._write(self._line())

    def end(self) -> None:
        """Say how it ended, if there was anything to do."""
        if self._done:
            self._write(f"{self._line()}, {time.monotonic() - self._begun:.1f} s")

    def note(self, message: str) -> None:
        """One line."""
        self._write(message)

    def warn(self, message: str) -> None:
        """One line that stands out."""
        self._write(f"warning: {message}")

    def _line(self) -> str:
        total = "" if self._total is None else f"/{self._total:,.0f}"
        figures = "".join(f", {name} {shown(value)}" for name, value in self._figures.items())
        return f"{self._activity}: {self._done:,.0f}{total} {self._unit}{figures}"

    def _write(self, line: str) -> None:
        print(line, file=self._stream or sys.stderr, flush=True)


class TerminalProgress(Progress):
    """A bar with figures; notes and samples scroll above it."""

    def __init__(self, stop: Stop | None = None, console: Console | None = None) -> None:
        super().__init__(stop)
        self._console = console or Console(stderr=True, highlight=False)
        self._bars: Bars | None = None
        self._begun = time.monotonic()
        self._last_sampled_step = -1

    def begin(self, activity: str, total: float | None = None, unit: str = "") -> None:
        """Show a new bar."""
        self._bars = Bars(
            SpinnerColumn(style="cyan"),
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=24, complete_style="cyan", finished_style="green"),
            TextColumn("{task.fields[count]}"),
            TextColumn("[dim]{task.fields[figures]}"),
            TimeRemainingColumn(compact=True),
            console=self._console,
            transient=True,
        )
        self._begun = time.monotonic()
        self._activity, self._unit, self._done = activity, unit, 0.0
        self._total, self._figures = total, dict[str, float | str]()
        self._bars.start()
        self._task = self._bars.add_task(escape(activity), total=total, count="", figures="")

    def advance(self, amount: float = 1, **figures: float | str) -> None:
        """Move the bar."""
        self._done += amount
        self._figures |= figures
        if self._bars is not None:
            self._bars.update(
                self._task,
                advance=amount,
                count=self._count(),
                figures=escape(
                    "  ".join(f"{name} {shown(value)}" for name, value in figures.items())
                ),
            )

    def end(self) -> None:
        """Leave one line in the bar's place."""
        if self._bars is None:
            return
        self._bars.stop()
        self._bars = None
        figures = "  ".join(f"{name} {shown(value)}" for name, value in self._figures.items())
        seconds = time.monotonic() - self._begun
        line = Text.assemble(
            ("✓ ", "green"), (self._activity, "bold"), f"  {self._count()}  {seconds:.1f} s  "
        )
        self._console.print(line.append(figures, "dim"))

    def note(self, message: str) -> None:
        """A dim line."""
        self._console.print(Text(f"· {message}", "dim"))

    def warn(self, message: str) -> None:
        """A yellow line."""
        self._console.print(Text(f"! {message}", "yellow"))

    def sample(self, step: int, prompt: str, text: str) -> None:
        """The next instalment of the model's story."""
        line = Text(f"  step {step:>6,}  " if step != self._last_sampled_step else " " * 15, "cyan")
        self._last_sampled_step = step
        line.append(visible(prompt), "dim").append(visible(text.replace("\n", " ⏎ ")))
        self._console.print(line)

    def _count(self) -> str:
        total = "" if self._total is None else f"/{self._total:,.0f}"
        return f"{self._done:,.0f}{total} {self._unit}"


def shown(value: float | str) -> str:
    """A figure in as many digits as say something."""
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
