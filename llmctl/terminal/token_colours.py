"""A text's tokens and their ids: in turns of colour on a terminal, a line each in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.text import Text

from llmctl.core.artifacts.html_text import shown_piece
from llmctl.terminal.tables import result_console
from llmctl.terminal.visible import visible

COLOURS = ("black on cyan", "black on yellow")
GAP = 2


def print_tokens(tokens: Sequence[tuple[int, str]]) -> None:
    """Print ids and pieces."""
    if not sys.stdout.isatty():
        sys.stdout.writelines(f"{token_id}\t{shown(piece)}\n" for token_id, piece in tokens)
        return
    console = result_console()
    line = Text()
    for index, (token_id, piece) in enumerate(tokens):
        word = Text(shown(piece), COLOURS[index % 2])
        word = Text.assemble(word, (f" {token_id}", "dim"))
        if line and line.cell_len + GAP + word.cell_len > console.width:
            console.print(line)
            line = Text()
        line = Text.assemble(line, " " * GAP if line else "", word)
    console.print(line)


def shown(piece: str) -> str:
    """Return a token for people: spaces and line ends in sight, nothing that steers a terminal."""
    return visible(shown_piece(piece))
