"""Text and numbers as they may stand in a page: escaped, visible, short."""

from __future__ import annotations

import html
import math
import unicodedata

_WRITTEN_OUT = {
    code: f"\\x{code:02x}" for code in (*range(32), *range(0x7F, 0xA0)) if chr(code) not in "\t\n"
}
_NO_CHARACTERS = dict.fromkeys((*range(0xD800, 0xE000), 0xFFFE, 0xFFFF), "\ufffd")
_MARKS = {ord(" "): "␣", ord("\n"): "⏎", ord("\t"): "⇥"}
_SHOWN = _WRITTEN_OUT | _NO_CHARACTERS


def escape(text: str) -> str:
    r"""Return text that means only itself in an element or a quoted attribute.

    Control characters, which no page may hold, are written out: ESC is \x1b.
    """
    return html.escape(text.translate(_SHOWN))


def invisible_written_out(text: str) -> str:
    r"""Return escaped text in which also what takes no room is seen: U+200B is \u200b.

    A line end is shown as ⏎ before it; text of blanks only is shown as marks.
    """
    shown = "".join(
        f"\\u{ord(character):04x}" if unicodedata.category(character) == "Cf" else character
        for character in text
    )
    if not shown.strip(" \t\n"):
        return escape(shown.translate(_MARKS))
    return escape(shown.replace("\n", "⏎\n"))


def number(value: float) -> str:
    """Return a number with about four digits: 1,234,567; 21.34; 0.0021; 3.1e-07."""
    if isinstance(value, int) or (math.isfinite(value) and abs(value) >= 1000):
        return f"{value:,.0f}"
    magnitude = abs(value)
    if magnitude == 0 or not math.isfinite(value):
        return f"{value:g}"
    if magnitude >= 100:
        return f"{value:.1f}"
    if magnitude >= 10:
        return f"{value:.2f}"
    return f"{value:.3f}" if magnitude >= 0.1 else f"{value:.2g}"


def share_text(share: float) -> str:
    """Return a share in percent, never rounded to nothing or to all: 12.3 %, 47 %, < 0.1 %."""
    percent = 100 * share
    if 0 < percent < 0.1:
        return "<\u00a00.1\u00a0%"
    if 99.9 < percent < 100:
        return ">\u00a099.9\u00a0%"
    return f"{percent:.3g}\u00a0%"


def shown_piece(piece: str) -> str:
    """Return a token with marks in place of its spaces, tabs and line ends."""
    return piece.translate(_MARKS)
