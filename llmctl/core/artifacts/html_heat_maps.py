"""Maps of what each token looks at, as inline SVG in pixels that scrolls where it is wide.

The names of the rows are HTML beside it, so that they stay in sight.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from llmctl.core.artifacts.html_text import escape

CELL_PIXELS = 18
LEAST_SHOWN = 0.01  # less is drawn as nothing: it would be seen by nobody, and a page has many
_HEAD_PIXELS = 84
_SLANT_DEGREES = 50
_LONGEST_LABEL = 12  # in Latin letters
_LEGEND = (0.01, 0.1, 0.25, 0.5, 1.0)


@dataclass(frozen=True)
class HeatMap:
    """How much each token looked at each.

    Attributes:
        title: Above it.
        labels: The tokens.
        weights: A row for each token, a weight in it for each token, 0 to 1.
    """

    title: str
    labels: Sequence[str]
    weights: Sequence[Sequence[float]]


@dataclass(frozen=True)
class HeatMaps:
    """Maps side by side, as many as fit.

    Attributes:
        caption: What to read from them.
    """

    maps: Sequence[HeatMap]
    caption: str = ""


def draw_heat_maps(block: HeatMaps) -> str:
    """Return the maps as one figure element.

    Raises:
        ValueError: A weight is not between 0 and 1, or there are not as many rows or weights
            as labels.
    """
    maps = "".join(map(_map, block.maps))
    swatches = "".join(
        f'<li><svg width="{CELL_PIXELS}" height="{CELL_PIXELS}" aria-hidden="true">'
        f'<rect width="{CELL_PIXELS}" height="{CELL_PIXELS}" fill-opacity="{_opacity(weight)}"/>'
        f"</svg>{weight:.0%}</li>"
        for weight in _LEGEND
    )
    caption = f"<figcaption>{escape(block.caption)}</figcaption>" if block.caption else ""
    return (
        f'<figure class="heat"><ul>{swatches}</ul><div class="maps">{maps}</div>{caption}</figure>'
    )


def _map(heat: HeatMap) -> str:
    size = len(heat.labels)
    if {len(heat.weights), *map(len, heat.weights)} != {size}:
        raise ValueError(f"a map of {size} labels needs as many rows of as many weights")
    labels = [_shortened(label) for label in heat.labels]
    names = "".join(f"<li>{escape(label)}</li>" for label in labels)
    heads = "".join(
        f'<text transform="translate({(column + 0.6) * CELL_PIXELS:.0f} {_HEAD_PIXELS - 6}) '
        f'rotate(-{_SLANT_DEGREES})">{escape(label)}</text>'
        for column, label in enumerate(labels)
    )
    cells = "".join(
        _cell(row, column, weight, heat.labels)
        for row, weights in enumerate(heat.weights)
        for column, weight in enumerate(weights)
        if _checked(weight) >= LEAST_SHOWN
    )
    steps = "".join(f"h{CELL_PIXELS}v{CELL_PIXELS}" for _ in labels)
    width = size * CELL_PIXELS + round(_HEAD_PIXELS / math.tan(math.radians(_SLANT_DEGREES)))
    height = _HEAD_PIXELS + size * CELL_PIXELS
    return (
        f"<div><h3>{escape(heat.title)}</h3>"
        f'<div class="map"><ol aria-hidden="true" style="padding-top:{_HEAD_PIXELS}px">{names}</ol>'
        f'<svg width="{width}" height="{height}" role="img" aria-label="{escape(heat.title)}">'
        f'{heads}<path class="seen" d="M0 {_HEAD_PIXELS}{steps}H0z"/>{cells}</svg></div></div>'
    )


def _cell(row: int, column: int, weight: float, labels: Sequence[str]) -> str:
    return (
        f'<rect x="{column * CELL_PIXELS}" y="{_HEAD_PIXELS + row * CELL_PIXELS}" '
        f'width="{CELL_PIXELS - 1}" height="{CELL_PIXELS - 1}" fill-opacity="{_opacity(weight)}">'
        f"<title>{escape(labels[row])} → {escape(labels[column])}: {weight:.1%}</title></rect>"
    )


def _opacity(weight: float) -> str:
    # The root, because most weights are small: a tenth must be seen beside a whole.
    return f"{math.sqrt(weight):.2f}"


def _checked(weight: float) -> float:
    if not 0 <= weight <= 1.001:
        raise ValueError(f"a weight of {weight}, expected 0 to 1")
    return min(weight, 1.0)


def _shortened(label: str) -> str:
    room = _LONGEST_LABEL
    for index, character in enumerate(label):
        room -= 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if room < 0:
            return label[: index - 1] + "…"
    return label
