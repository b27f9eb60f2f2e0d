"""Progress of work that most commands turn out not to have, such as a download."""

from __future__ import annotations

from llmctl.core.progress import Progress
from llmctl.core.stopping import Stop


class LateProgress(Progress):
    """Shown from the first activity on: until then nothing is imported to show it with.

    Args:
        stop: Asked by `check`.
        quiet: Show nothing.
    """

    def __init__(self, stop: Stop, *, quiet: bool) -> None:
        super().__init__(stop)
        self._quiet = quiet
        self._shown: Progress | None = None

    @property
    def shown(self) -> Progress:
        """Who shows it."""
        from llmctl.terminal.watcher import watcher

        if self._shown is None:
            self._shown = watcher(self.stop, quiet=self._quiet)
        return self._shown

    def begin(self, activity: str, total: float | None = None, unit: str = "") -> None:
        """Start an activity."""
        self.shown.begin(activity, total, unit)

    def advance(self, amount: float = 1, **figures: float | str) -> None:
        """Count finished units."""
        self.shown.advance(amount, **figures)

    def end(self) -> None:
        """End the activity, if one was begun."""
        if self._shown is not None:
            self._shown.end()

    def note(self, message: str) -> None:
        """Tell a line."""
        self.shown.note(message)

    def warn(self, message: str) -> None:
        """Tell a line that should not be missed."""
        self.shown.warn(message)
