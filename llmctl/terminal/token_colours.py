"""A text's tokens and their ids: in turns of colour on a terminal, a line each in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.text import Text

from llmctl.core.artifacts.html_text import shown_piece
from llmctl.core.tokens.text_tokens import TextToken, token_groups
from llmctl.terminal.tables import result_console
from llmctl.terminal.visible import visible

COLOURS = ("black on cyan", "black on yellow")
GAP = 2


def print_tokens(tokens: Sequence[TextToken], text: str) -> None:
    """Print ids and pieces; on a terminal, a character spread over tokens follows the last."""
    if not sys.stdout.isatty():
        sys.stdout.writelines(f"{token.token_id}\t{shown(token.piece)}\n" for token in tokens)
        return
    console = result_console()
    line = Text()
    num_printed = 0
    for group in token_groups(tokens, text):
        words = [
            Text.assemble((shown(token.piece), COLOURS[index % 2]), (f" {token.token_id}", "dim"))
            for index, token in enumerate(group.tokens, num_printed)
        ]
        num_printed += len(words)
        word = Text(" " * GAP).join(words)
        if group.characters:
            word.append(f" {shown(group.characters)}", "bold")
            word.stylize("underline")
        if line and line.cell_len + GAP + word.cell_len > console.width:
            console.print(line)
            line = Text()
        line = Text.assemble(line, " " * GAP if line else "", word)
    console.print(line)


def shown(piece: str) -> str:
    """Return a token for people: spaces and line ends in sight, nothing that steers a terminal."""
    return visible(shown_piece(piece))
