"""What a stage tells whoever watches. Core speaks through this; `terminal` shows it."""

from __future__ import annotations

from llmctl.core.stopping import Stop


class Progress:
    """A silent watcher, and the interface of every other one.

    A stage calls `begin`, then `advance` for each unit of work, then `end`; between
    units it calls `check`, which raises when the work should end early.

    Args:
        stop: Asked by `check`; by default nothing ever asks for an early end.
    """

    def __init__(self, stop: Stop | None = None) -> None:
        self.stop = stop or Stop()

    def check(self) -> None:
        """Raise if the work should end early; see `Stop.check`."""
        self.stop.check()

    def begin(self, activity: str, total: float | None = None, unit: str = "") -> None:
        """Start an activity of `total` units (None: unknown), e.g. ("train", 400, "steps")."""

    def advance(self, amount: float = 1, **figures: float | str) -> None:
        """Count finished units; `figures` are shown beside them, e.g. loss=2.31."""

    def end(self) -> None:
        """The activity is over."""

    def note(self, message: str) -> None:
        """One line that a person may want to know."""

    def warn(self, message: str) -> None:
        """One line that a person should not miss."""

    def sample(self, step: int, prompt: str, text: str) -> None:
        """What the model in training wrote after `prompt` at `step`."""
