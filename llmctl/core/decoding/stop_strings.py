"""Ending a text before given strings, however the text arrives in pieces."""

from __future__ import annotations

from collections.abc import Sequence

from llmctl.core.errors import UsageError


class StopStrings:
    """Lets text through up to the first stop string, never any part of one.

    Which string comes first is decided as if the text arrived character by character:
    the one completed first, and of two completed together the longer. So the result
    does not depend on where the pieces were cut.

    Args:
        stops: The strings; none lets everything through at once.

    Raises:
        UsageError: A stop string is empty.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        if "" in stops:
            raise UsageError("a stop string is empty, which would end every text at once")
        self._stops = tuple(stops)
        self._held = ""
        self.found: str | None = None

    def push(self, piece: str) -> str:
        """Take the next piece of text; return what is certain to come before any stop."""
        if self.found is not None:
            return ""
        text = self._held + piece
        ends = [
            (start + len(stop), start, stop)
            for stop in self._stops
            if (start := text.find(stop)) >= 0
        ]
        if ends:
            _, start, self.found = min(ends)
            self._held = ""
            return text[:start]
        num_held = self._num_held(text)
        self._held = text[len(text) - num_held :]
        return text[: len(text) - num_held]

    def finish(self) -> str:
        """Return what was held back because a stop string might have begun there."""
        held, self._held = self._held, ""
        return held

    def _num_held(self, text: str) -> int:
        """Length of the longest end of the text that begins a stop string."""
        longest = max((len(stop) - 1 for stop in self._stops), default=0)
        for length in range(min(longest, len(text)), 0, -1):
            if any(stop.startswith(text[-length:]) for stop in self._stops):
                return length
        return 0
