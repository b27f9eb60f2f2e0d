"""A text as a model sees it: tokens, probabilities, attention, neighbours, on stdout."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from decimal import Decimal

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from llmctl.core.artifacts.html_text import shown_piece
from llmctl.core.language_model.inspection import AttentionMap, Inspection
from llmctl.core.language_model.neighbours import Neighbourhood
from llmctl.core.stages.inspect import Findings
from llmctl.terminal.tables import plain_table, result_console
from llmctl.terminal.token_colours import shown

LONGEST_LABEL = 16
LONGEST_HEAD = 8
CELL = 2  # columns of a terminal: the width of a Chinese character
SHADES = ((0.6, "██"), (0.3, "▓▓"), (0.1, "▒▒"), (0.01, "░░"))
NOTHING = "· "


def print_findings(findings: Findings) -> None:
    """Print what was found, one thing below the other."""
    console = result_console()
    if findings.inspection is not None:
        _print_inspection(console, findings.inspection)
    if findings.inspection is not None and findings.inspection.candidates:
        _print_candidates(console, findings.inspection)
    if findings.attention is not None:
        _print_attention(console, findings.attention)
    for neighbourhood in findings.neighbourhoods or ():
        _print_neighbours(console, neighbourhood)


def _print_inspection(console: Console, inspection: Inspection) -> None:
    table = plain_table("token")
    for column in ("id", "log p", "p", "rank", "entropy", "log P"):
        table.add_column(column, justify="right")
    for token in inspection.tokens:
        figures = ["", "", "", ""]
        if token.log_probability is not None:
            figures = [
                f"{token.log_probability:.3f}",
                _share(math.exp(token.log_probability)),
                f"{token.rank:,}",
                f"{token.entropy:.3f}",
            ]
        table.add_row(
            Text(shown(token.piece)), str(token.token_id), *figures, f"{token.running_sum:.3f}"
        )
    console.print(table)
    console.print(Text(summary(inspection)))


def summary(inspection: Inspection) -> str:
    """Return the figures of a whole text, and from where its first token was predicted."""
    begin = inspection.begin
    given = f"given {shown(begin)}" if begin else "the first token given, as nothing predicts it"
    line = f"log P = {inspection.log_probability:.3f} nats, P = {power(inspection)}, {given}"
    if inspection.perplexity is None or inspection.bits_per_byte is None:
        return line
    return (
        f"{line}\nperplexity {inspection.perplexity:,.2f}, "
        f"{inspection.bits_per_byte:.3f} bits per byte, "
        f"{inspection.num_predicted:,} tokens, {inspection.num_bytes:,} bytes"
    )


def power(inspection: Inspection) -> str:
    """Return the text's probability; no float is as small as that of a long text."""
    probability = Decimal(inspection.log_probability).exp()
    return f"{probability:.4f}" if probability >= Decimal("0.001") else f"{probability:.2e}"


def _share(probability: float) -> str:
    return f"{probability:.2%}" if probability >= 0.0001 else f"{probability:.0e}"


def _print_candidates(console: Console, inspection: Inspection) -> None:
    begin = [] if inspection.begin is None else [inspection.begin]
    pieces = [*begin, *(token.piece for token in inspection.tokens)]
    # The last step is what might come after the text.
    came = [*(token.token_id for token in inspection.tokens[1 - len(begin) :]), None]
    table = plain_table("after", "candidate")
    for column in ("id", "p", "p drawn"):
        table.add_column(column, justify="right")
    table.add_column("cut by")
    for piece, chosen, step in zip(pieces, came, inspection.candidates, strict=True):
        for place, token in enumerate(step):
            table.add_row(
                Text(shown(piece), "bold") if place == 0 else "",
                Text(shown(token.piece), "green" if token.token_id == chosen else ""),
                str(token.token_id),
                _share(token.before),
                "" if token.cut_by else _share(token.after),
                Text((token.cut_by or "").replace("_", "-"), "yellow"),
            )
    console.print()
    console.print(table)


def _print_attention(console: Console, attention: AttentionMap) -> None:
    num_heads = len(attention.heads)
    which = f"head {attention.heads[0]}" if num_heads == 1 else f"mean of {num_heads} heads"
    legend = "  ".join(f"{shade[0]} {least:.0%}" for least, shade in reversed(SHADES))
    console.print(Text(f"layer {attention.layer}, {which}; from: {legend}"))
    width = console.width if sys.stdout.isatty() else None
    weights = attention.weights_HTT.mean(axis=0).tolist()
    for line in map_lines([shown(piece) for piece in attention.pieces], weights, width):
        console.print(Text(line), no_wrap=True, soft_wrap=True)


def map_lines(
    pieces: Sequence[str], weights: Sequence[Sequence[float]], width: int | None
) -> Iterator[str]:
    """Yield the lines of a map: a row a token, its name at the left, the columns' above.

    Args:
        pieces: The tokens; the columns are headed by them, written downwards.
        weights: Row t is what token t looked at.
        width: Columns of the terminal; a wider map is cut into several, one below the other.
            None: never.
    """
    room = min(LONGEST_LABEL, max(map(cell_len, pieces)))
    num_columns = len(pieces) if width is None else max(1, (width - room - 1) // CELL)
    for first in range(0, len(pieces), num_columns):
        columns = range(first, min(first + num_columns, len(pieces)))
        if first:
            yield ""
        for line in _heads([pieces[column] for column in columns]):
            yield (" " * (room + 1) + line).rstrip()
        for row in range(first, len(pieces)):  # no earlier token sees these columns
            cells = "".join(_cell(weights[row][at]) for at in columns if at <= row)
            yield f"{_fitted(pieces[row], room)} {cells}"


def _heads(pieces: Sequence[str]) -> Iterator[str]:
    """Yield lines that have a piece in each column, one character below the other."""
    cut = [
        piece if len(piece) <= LONGEST_HEAD else f"{piece[: LONGEST_HEAD - 1]}…"
        for piece in (_without_marks(piece) for piece in pieces)
    ]
    height = max(map(len, cut))
    for line in range(height):
        # Flush with the map: a short piece begins further down.
        characters = (
            piece[line - height + len(piece)] if line >= height - len(piece) else " "
            for piece in cut
        )
        yield "".join(set_cell_size(character, CELL) for character in characters)


def _without_marks(piece: str) -> str:
    """Leave out what takes no column of its own, such as combining accents."""
    return "".join(character for character in piece if cell_len(character))


def _fitted(piece: str, room: int) -> str:
    return set_cell_size(
        piece if cell_len(piece) <= room else f"{set_cell_size(piece, room - 1).rstrip()}…", room
    )


def _cell(weight: float) -> str:
    return next((shade for least, shade in SHADES if weight >= least), NOTHING)


def _print_neighbours(console: Console, found: Neighbourhood) -> None:
    pieces = " ".join(f"{shown(piece)} ({token})" for piece, token in _named(found))
    mean = f", the mean of its {len(found.pieces)} tokens' embeddings" if found.is_mean else ""
    console.print(Text(f"{shown_piece(found.word)}: {pieces}{mean}"))
    table = plain_table("token")
    for column in ("id", "cosine"):
        table.add_column(column, justify="right")
    for neighbour in found.neighbours:
        table.add_row(
            Text(shown(neighbour.piece)), str(neighbour.token_id), f"{neighbour.cosine:.3f}"
        )
    console.print(table)


def _named(found: Neighbourhood) -> list[tuple[str, int]]:
    return list(zip(found.pieces, found.token_ids, strict=True))
