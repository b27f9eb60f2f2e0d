"""Small histograms side by side, each with the bounds that something must keep to.

As in the other charts, shapes are SVG that stretches, and words are HTML laid over them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from llmctl.core.artifacts.html_charts import log_ticks, round_ticks
from llmctl.core.artifacts.html_text import escape, number

_PLOT = 1000
_MOST_TICKS = 4
_MARGIN = 0.03
# A bound so many decades away from all bars would leave them no room.
_FARTHEST_DECADES = 2.0


@dataclass(frozen=True)
class Bound:
    """A line in a histogram.

    Attributes:
        label: Beside the line.
        value: Where it stands.
        is_least: Whether what is below it is out, else what is above.
    """

    label: str
    value: float
    is_least: bool


@dataclass(frozen=True)
class HistogramPlot:
    """How often which value occurs.

    Attributes:
        title: Above it.
        edges: Of the bins, one more than counts, ascending, from 0 on.
        counts: Of each bin.
        bounds: What is out is drawn in the colour of warnings.
        log_x: Whether the axis is logarithmic.
        detail: A line below the title.
    """

    title: str
    edges: Sequence[float]
    counts: Sequence[int]
    bounds: Sequence[Bound] = ()
    log_x: bool = False
    detail: str = ""


@dataclass(frozen=True)
class Histograms:
    """Histograms side by side, as many as fit.

    Attributes:
        caption: What to read from them.
    """

    plots: Sequence[HistogramPlot]
    caption: str = ""


def draw_histograms(block: Histograms) -> str:
    """Return the histograms as one figure element.

    Raises:
        ValueError: There are not one more edges than counts, or they do not ascend from 0
            on, or nothing was counted.
    """
    plots = "".join(map(_plot, block.plots))
    caption = f"<figcaption>{escape(block.caption)}</figcaption>" if block.caption else ""
    return f'<figure class="histograms"><div>{plots}</div>{caption}</figure>'


def _plot(plot: HistogramPlot) -> str:
    edges, counts = plot.edges, plot.counts
    ascends = bool(edges) and all(low < high for low, high in pairwise(edges))
    if len(edges) != len(counts) + 1 or not ascends or edges[0] < 0 or sum(counts) <= 0:
        raise ValueError(f"a histogram needs counts between ascending edges: {edges}, {counts}")
    axis = _Axis(plot)
    # Area, not height, is what stands for a count: bins differ in width.
    heights = [
        count / (axis.place(high) - axis.place(low))
        for (low, high), count in zip(pairwise(edges), counts, strict=True)
    ]
    tallest = max(heights)
    bars = "".join(
        _bar(axis, (low, high), height / tallest, count, plot.bounds)
        for (low, high), height, count in zip(pairwise(edges), heights, counts, strict=True)
        if count
    )
    lines = "".join(
        f'<line class="bound" x1="{axis.place(bound.value):.1f}" '
        f'x2="{axis.place(bound.value):.1f}" y1="0" y2="{_PLOT}"/>'
        for bound in axis.bounds
    )
    labels = "".join(_label(axis.place(bound.value), bound.label) for bound in axis.bounds)
    ticks = "".join(_label(place, text) for place, text in axis.ticks())
    detail = f"<p>{escape(plot.detail)}</p>" if plot.detail else ""
    return (
        f'<div><h4>{escape(plot.title)}</h4>{detail}<div class="bounds">{labels}</div>'
        f'<svg viewBox="0 0 {_PLOT} {_PLOT}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(plot.title)}">{bars}{lines}</svg>'
        f'<div class="ticks" aria-hidden="true">{ticks}</div></div>'
    )


class _Axis:
    """Values to places from 0 to `_PLOT`."""

    def __init__(self, plot: HistogramPlot) -> None:
        self._is_log = plot.log_x
        # The bin that begins at 0 has no left end on a logarithmic axis.
        self._least = plot.edges[0] or plot.edges[1] / 2 if plot.log_x else 0.0
        low, high = self._scaled(plot.edges[0]), self._scaled(plot.edges[-1])
        self.bounds = [
            bound
            for bound in plot.bounds
            if bound.value > 0
            and (
                not plot.log_x
                or low - _FARTHEST_DECADES < math.log10(bound.value) < high + _FARTHEST_DECADES
            )
        ]
        if self.bounds and self._is_log:
            self._least = min(self._least, *(bound.value for bound in self.bounds))
        places = [low, high, *(self._scaled(bound.value) for bound in self.bounds)]
        margin = _MARGIN * (max(places) - min(places))
        self._low, self._high = min(places), max(places)
        if any(bound.value >= plot.edges[-1] for bound in self.bounds):
            self._high += margin
        if self._is_log:
            self._low -= margin

    def _scaled(self, value: float) -> float:
        return math.log10(max(value, self._least)) if self._is_log else value

    def place(self, value: float) -> float:
        return _PLOT * (self._scaled(value) - self._low) / (self._high - self._low)

    def ticks(self) -> list[tuple[float, str]]:
        find = log_ticks if self._is_log else round_ticks
        found = find(self._low, self._high)
        step = max(1, math.ceil(len(found) / _MOST_TICKS))
        span = self._high - self._low
        return [(_PLOT * (place - self._low) / span, text) for place, text in found[::step]]


def _bar(
    axis: _Axis, ends: tuple[float, float], height: float, count: int, bounds: Sequence[Bound]
) -> str:
    low, high = ends
    left, right = axis.place(low), axis.place(high)
    is_out = any(high <= bound.value if bound.is_least else low >= bound.value for bound in bounds)
    # What was counted once must be seen beside what was counted a million times.
    shown = max(height * _PLOT, 12)
    kind = ' class="out"' if is_out else ""
    return (
        f'<rect{kind} x="{left:.1f}" y="{_PLOT - shown:.1f}" width="{right - left:.1f}" '
        f'height="{shown:.1f}"><title>{number(low)} – {number(high)}: {count:,}</title></rect>'
    )


def _label(place: float, text: str) -> str:
    """A word at a place, moved inwards the nearer it is to an end, so that it stays inside."""
    share = min(max(100 * place / _PLOT, 0), 100)
    return (
        f'<span style="left:{share:.1f}%;transform:translateX(-{share:.1f}%)">{escape(text)}</span>'
    )
