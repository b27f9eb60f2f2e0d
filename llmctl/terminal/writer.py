"""Generated text on stdout: exact in a pipe, harmless and with its prompt on a terminal."""

from __future__ import annotations

import os
import sys

from llmctl.terminal.visible import visible

DIM, PLAIN = "\x1b[2m", "\x1b[22m"


class TextWriter:
    """Writes a continuation piece by piece.

    Args:
        prompt: Shown dimmed before the text on a terminal; in a pipe only with `echo`.
        echo: Print the prompt in a pipe too.
        stream: Flush each piece; else all at the end. The bytes are the same.
        silent: Write nothing.
    """

    def __init__(self, prompt: str, *, echo: bool, stream: bool, silent: bool) -> None:
        self._stream = stream
        self._silent = silent
        self._is_terminal = sys.stdout.isatty()
        self._pieces: list[str] = []
        if self._is_terminal and not silent:
            self._emit(f"{DIM}{visible(prompt)}{PLAIN}" if has_colours() else visible(prompt))
        elif echo:
            self._emit(prompt)

    def write(self, piece: str) -> None:
        """Take the next piece."""
        self._emit(visible(piece) if self._is_terminal else piece)

    def finish(self) -> None:
        """End the line and give out what was held back."""
        self._emit("\n")
        if not self._silent:
            sys.stdout.write("".join(self._pieces))
            sys.stdout.flush()

    def _emit(self, text: str) -> None:
        if self._silent or not self._stream:
            self._pieces.append(text)
            return
        sys.stdout.write(text)
        sys.stdout.flush()


def has_colours() -> bool:
    """Tell whether the person at the terminal wants more than plain text."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
