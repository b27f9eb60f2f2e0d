"""Text and numbers as they may stand in a page: escaped, visible, short."""

from __future__ import annotations

import html
import math

_NULL_PICTURE = 0x2400
_CONTROLS = {code: chr(_NULL_PICTURE + code) for code in range(32) if chr(code) not in "\t\n"}
_CONTROLS |= {0x7F: "\u2421", 0xFFFE: "\ufffd", 0xFFFF: "\ufffd"}
_CONTROLS |= dict.fromkeys(range(0x80, 0xA0), "\ufffd")
_CONTROLS |= dict.fromkeys(range(0xD800, 0xE000), "\ufffd")


def escape(text: str) -> str:
    """Return text that means only itself in an element or a quoted attribute.

    Control characters, which no page may hold, become their pictures: ESC is ␛.
    """
    return html.escape(text.translate(_CONTROLS))


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
