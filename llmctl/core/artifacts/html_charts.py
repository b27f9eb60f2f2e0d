"""Bars and lines as inline SVG that keeps its text readable at any width.

Shapes stretch with the page; words are HTML laid over them by percentages, because text
inside a scaled SVG shrinks with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from llmctl.core.artifacts.html_text import escape, number, share_text

MAX_POINTS = 400
NUM_TICKS = 5
NUM_COLOURS = 4
# Height of a line of end label in percent of a chart of either height.
_LABEL_HEIGHT = {"tall": 7.0, "short": 14.0}
_PLOT = 1000
_ROUND_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)

Point = tuple[float, float]


@dataclass(frozen=True)
class Bar:
    """One bar, from zero.

    Attributes:
        label: What it is.
        value: How long it is; not negative.
        interval: The two ends of a whisker.
        is_main: Whether it is the one that the chart is about.
    """

    label: str
    value: float
    interval: tuple[float, float] | None = None
    is_main: bool = False


@dataclass(frozen=True)
class BarChart:
    """Horizontal bars with their values.

    Attributes:
        unit: Shown once, above the values.
        caption: What to read from it.
    """

    bars: Sequence[Bar]
    unit: str = ""
    caption: str = ""


@dataclass(frozen=True)
class Part:
    """One part of a whole.

    Attributes:
        label: What it is.
        value: How large it is; not negative.
        kind: The colour: of what the chart is about, of the rest, or of what needs attention.
    """

    label: str
    value: float
    kind: Literal["main", "other", "warning"] = "other"


@dataclass(frozen=True)
class PartsBar:
    """A whole as one bar of its parts, with their values and shares.

    Attributes:
        caption: What to read from it.
    """

    parts: Sequence[Part]
    caption: str = ""


@dataclass(frozen=True)
class Series:
    """One line.

    Attributes:
        points: x and y; what is not finite is left out.
        has_markers: Whether each point is marked, for few and sparse ones.
        colour: 1 to `NUM_COLOURS`; 0 takes the next.
    """

    name: str
    points: Sequence[Point]
    has_markers: bool = False
    colour: int = 0


@dataclass(frozen=True)
class LineChart:
    """One or several series over a common axis.

    Attributes:
        x_label: Named at the axis' end.
        y_label: Named above the axis.
        log_x: Whether x is logarithmic; points with x not above 0 are left out.
        height: "short" beside a "tall" one it explains.
        caption: What to read from it.
    """

    series: Sequence[Series]
    x_label: str = ""
    y_label: str = ""
    log_x: bool = False
    height: Literal["tall", "short"] = "tall"
    caption: str = ""


def draw_bars(chart: BarChart) -> str:
    """Return the chart as a figure element.

    Raises:
        ValueError: A value is negative or not finite, or there are no bars.
    """
    ends = [bar.interval[1] if bar.interval else bar.value for bar in chart.bars]
    values = [bar.value for bar in chart.bars]
    if not values or min(values) < 0 or not all(map(math.isfinite, values + ends)):
        raise ValueError(f"a bar chart needs finite values of at least 0, got {values}")
    longest = max(*values, *ends, 1e-12)
    rows = "".join(_bar(bar, longest) for bar in chart.bars)
    unit = f'<p class="axis-title">{escape(chart.unit)}</p>' if chart.unit else ""
    return f'<figure class="bars">{unit}<dl>{rows}</dl>{_caption(chart.caption)}</figure>'


def _bar(bar: Bar, longest: float) -> str:
    share = 100 / longest
    whisker = ""
    spread = ""
    if bar.interval is not None:
        low, high = (end * share for end in bar.interval)
        whisker = (
            f'<line class="whisker" x1="{low:.2f}%" x2="{high:.2f}%" y1="50%" y2="50%"/>'
            f'<line class="whisker" x1="{low:.2f}%" x2="{low:.2f}%" y1="30%" y2="70%"/>'
            f'<line class="whisker" x1="{high:.2f}%" x2="{high:.2f}%" y1="30%" y2="70%"/>'
        )
        spread = f" <small>{number(bar.interval[0])} – {number(bar.interval[1])}</small>"
    main = ' class="main"' if bar.is_main else ""
    return (
        f"<div{main}><dt>{escape(bar.label)}</dt>"
        f'<dd><svg aria-hidden="true"><rect width="{bar.value * share:.2f}%" height="100%" '
        f'rx="3"/>{whisker}</svg><span><b>{number(bar.value)}</b>{spread}</span></dd></div>'
    )


def draw_parts(bar: PartsBar) -> str:
    """Return the bar as a figure element.

    Raises:
        ValueError: A value is negative or not finite, or all are 0.
    """
    values = [part.value for part in bar.parts]
    whole = sum(values)
    if not math.isfinite(whole) or whole <= 0 or min(values) < 0:
        raise ValueError(f"a bar of parts needs finite values of at least 0, got {values}")
    pieces = "".join(
        f'<span class="{part.kind}" style="flex-grow:{part.value / whole:.6f}"></span>'
        for part in bar.parts
        if part.value
    )
    items = "".join(
        f'<li class="{part.kind}"><b>{number(part.value)}</b> {escape(part.label)} '
        f"<small>{share_text(part.value / whole)}</small></li>"
        for part in bar.parts
    )
    return (
        f'<figure class="parts"><div aria-hidden="true">{pieces}</div><ul>{items}</ul>'
        f"{_caption(bar.caption)}</figure>"
    )


def draw_lines(chart: LineChart) -> str:
    """Return the chart as a figure element.

    Raises:
        ValueError: No series has a point that can be drawn.
    """
    drawn = [
        Series(series.name, points, series.has_markers, series.colour or index % NUM_COLOURS + 1)
        for index, series in enumerate(chart.series)
        if (points := _drawable(series, log_x=chart.log_x))
    ]
    if not drawn:
        raise ValueError("a line chart needs at least one finite point")
    xs = [_scaled(x, log=chart.log_x) for series in drawn for x, _ in series.points]
    ys = [y for series in drawn for _, y in series.points]
    frame = _Frame(_span(xs, 0.0), _span(ys, 0.05), log_x=chart.log_x)
    y_ticks = round_ticks(*frame.y)
    x_ticks = (log_ticks if chart.log_x else round_ticks)(*frame.x)
    grid = "".join(
        f'<line class="grid" x1="0" x2="{_PLOT}" y1="{frame.top(y) * 10:.1f}" '
        f'y2="{frame.top(y) * 10:.1f}"/>'
        for y, _ in y_ticks
    )
    lines = "".join(_line(series, frame) for series in drawn)
    y_labels = "".join(
        f'<span style="top:{frame.top(y):.2f}%">{text}</span>' for y, text in y_ticks
    )
    x_labels = "".join(
        f'<span style="left:{frame.left(x):.2f}%">{text}</span>' for x, text in x_ticks
    )
    summary = "; ".join(
        f"{series.name}: {number(series.points[0][1])} to {number(series.points[-1][1])}"
        for series in drawn
    )
    return (
        f'<figure class="lines {chart.height}">'
        f'<p class="axis-title">{escape(chart.y_label)}</p>{_legend(drawn)}'
        f'<div class="plot"><div class="y-axis" aria-hidden="true">{y_labels}</div>'
        f'<svg viewBox="0 0 {_PLOT} {_PLOT}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(summary)}">{grid}{lines}</svg>'
        f'<div class="ends" aria-hidden="true">{_end_labels(drawn, frame, chart.height)}</div>'
        f'<div class="x-axis" aria-hidden="true">{x_labels}</div>'
        f'<p class="axis-title x">{escape(chart.x_label)}</p></div>'
        f"{_caption(chart.caption)}</figure>"
    )


class _Frame:
    def __init__(self, x: tuple[float, float], y: tuple[float, float], *, log_x: bool) -> None:
        self.x = x
        self.y = y
        self.log_x = log_x

    def left(self, scaled_x: float) -> float:
        return 100 * (scaled_x - self.x[0]) / (self.x[1] - self.x[0])

    def top(self, y: float) -> float:
        return 100 * (self.y[1] - y) / (self.y[1] - self.y[0])

    def place(self, point: Point) -> tuple[float, float]:
        """Return a point's place in the plot's own units."""
        return 10 * self.left(_scaled(point[0], log=self.log_x)), 10 * self.top(point[1])


def round_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Return about five round numbers within a range, each with its text."""
    rough = (high - low) / NUM_TICKS
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = magnitude * next(size for size in _ROUND_STEPS if size * magnitude >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9)) + (step / magnitude == 2.5)
    ticks = [index * step for index in range(first, last + 1)]
    return [(tick, _tick_text(tick, decimals)) for tick in ticks]


def log_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Return round numbers within a range of decimal logarithms, each with its text."""
    factors = (1,) if high - low > 3 else (1, 2, 5)
    ticks: list[tuple[float, str]] = []
    for power in range(math.floor(low), math.ceil(high) + 1):
        for factor in factors:
            place = power + math.log10(factor)
            if low - 1e-9 <= place <= high + 1e-9:
                ticks.append((place, _tick_text(factor * 10.0**power, max(0, -power))))
    return ticks


def _tick_text(value: float, decimals: int) -> str:
    value += 0.0  # no minus before a zero
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            divisor = 1e3 if letter == "k" else size
            return f"{value / divisor:,.10g}{letter}"
    return f"{value:g}" if decimals > 4 else f"{value:,.{decimals}f}"


def _drawable(series: Series, *, log_x: bool) -> list[Point]:
    points = [
        (x, y)
        for x, y in series.points
        if math.isfinite(x) and math.isfinite(y) and (x > 0 or not log_x)
    ]
    if len(points) <= MAX_POINTS:
        return points
    # Means of neighbours: a line of thousands of points is a smear, and slow to draw.
    bounds = [round(index * len(points) / MAX_POINTS) for index in range(MAX_POINTS + 1)]
    groups = [points[start:stop] for start, stop in pairwise(bounds)]
    means = [
        (sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group))
        for group in groups
    ]
    return [points[0], *means, points[-1]]


def _scaled(x: float, *, log: bool) -> float:
    return math.log10(x) if log else x


def _span(values: Sequence[float], padding: float) -> tuple[float, float]:
    low, high = min(values), max(values)
    if high - low <= abs(high) * 1e-9:
        half = abs(high) * 0.1 or 0.5
        return low - half, high + half
    margin = padding * (high - low)
    return low - margin, high + margin


def _line(series: Series, frame: _Frame) -> str:
    places = [frame.place(point) for point in series.points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    # A line without length and with round ends stays a dot however the plot is stretched.
    markers = "".join(
        f'<path class="marker" d="M{x:.1f} {y:.1f}h0"><title>'
        f"{escape(series.name)}: {number(point[1])} at {number(point[0])}</title></path>"
        for (x, y), point in zip(places, series.points, strict=True)
        if series.has_markers or len(places) == 1
    )
    return f'<g class="series-{series.colour}"><polyline points="{path}"/>{markers}</g>'


def _legend(drawn: Sequence[Series]) -> str:
    """The names and last values for a page too narrow for labels at the lines' ends."""
    items = "".join(
        f'<li class="series-{series.colour}">{escape(series.name)} '
        f"<b>{number(series.points[-1][1])}</b></li>"
        for series in drawn
    )
    return f'<ul class="legend">{items}</ul>'


def _end_labels(drawn: Sequence[Series], frame: _Frame, height: str) -> str:
    """Labels at the height of each line's end, moved apart where they would overlap."""
    gap = 2 * _LABEL_HEIGHT[height]  # a value and, below it, a name
    wanted = sorted((frame.top(series.points[-1][1]), index) for index, series in enumerate(drawn))
    tops: list[float] = []
    for top, _ in wanted:
        tops.append(max(top, tops[-1] + gap) if tops else top)
    lowest = 100.0
    for place in reversed(range(len(tops))):
        tops[place] = min(tops[place], lowest)
        lowest = tops[place] - gap
    return "".join(
        f'<span class="series-{drawn[index].colour}" style="top:{top:.2f}%">'
        f"<b>{number(drawn[index].points[-1][1])}</b>{escape(drawn[index].name)}</span>"
        for top, (_, index) in zip(tops, wanted, strict=True)
    )


def _caption(text: str) -> str:
    return f"<figcaption>{escape(text)}</figcaption>" if text else ""
