"""Charts: ticks by hand, geometry read back from the drawing, refusals."""

from __future__ import annotations

import itertools
import math
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmctl.core.artifacts.html_charts import (
    MAX_POINTS,
    Bar,
    BarChart,
    LineChart,
    Part,
    PartsBar,
    Series,
    draw_bars,
    draw_lines,
    draw_parts,
    log_ticks,
    round_ticks,
)


@pytest.mark.parametrize(
    ("low", "high", "texts"),
    [
        pytest.param(0, 10, ["0", "2", "4", "6", "8", "10"], id="0 to 10"),
        pytest.param(2.1, 9.4, ["4", "6", "8"], id="inside only"),
        pytest.param(0, 0.02, ["0.000", "0.005", "0.010", "0.015", "0.020"], id="decimals"),
        pytest.param(0, 100_000, ["0", "20k", "40k", "60k", "80k", "100k"], id="thousands"),
        pytest.param(0, 5e6, ["0", "1M", "2M", "3M", "4M", "5M"], id="millions"),
        pytest.param(-1, 1, ["-1.0", "-0.5", "0.0", "0.5", "1.0"], id="through zero"),
        pytest.param(0, 1e-6, ["0", "2e-07", "4e-07", "6e-07", "8e-07", "1e-06"], id="very small"),
        pytest.param(1.0, 2.2, ["1.00", "1.25", "1.50", "1.75", "2.00"], id="quarters"),
    ],
)
def test_round_ticks_by_hand(low, high, texts):
    assert [text for _, text in round_ticks(low, high)] == texts


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
@settings(max_examples=60, deadline=None)
def test_ticks_lie_within_and_are_evenly_spaced(low, span):
    places = [place for place, _ in round_ticks(low, low + span)]

    assert 2 <= len(places) <= 6
    assert low - span * 1e-6 <= places[0] < places[-1] <= low + span * (1 + 1e-6)
    steps = [after - before for before, after in itertools.pairwise(places)]
    assert steps == pytest.approx([steps[0]] * len(steps), rel=1e-6)


def test_log_ticks_by_hand():
    assert [text for _, text in log_ticks(0, math.log10(120))] == [
        *("1", "2", "5", "10", "20", "50", "100"),
    ]
    assert [text for _, text in log_ticks(-1, 5)] == [
        *("0.1", "1", "10", "100", "1,000", "10k", "100k"),
    ]


def numbers(pattern, html):
    return [float(found) for found in re.findall(pattern, html)]


def test_bars_are_as_long_as_their_values():
    html = draw_bars(BarChart((Bar("a", 1.0), Bar("b", 4.0), Bar("c", 0.0))))

    assert numbers(r'<rect width="([\d.]+)%', html) == [25.0, 100.0, 0.0]


def test_whisker_spans_the_interval_and_fits():
    html = draw_bars(BarChart((Bar("a", 1.0, (0.5, 2.0)), Bar("b", 1.5))))

    assert numbers(r'<rect width="([\d.]+)%', html) == [50.0, 75.0]
    assert numbers(r'x1="([\d.]+)%" x2="[\d.]+%" y1="50%"', html) == [25.0]
    assert "0.500 – 2.000" in html


def polyline(html):
    points = re.findall(r'<polyline points="([^"]*)"', html)
    return [[tuple(map(float, p.split(","))) for p in line.split()] for line in points]


def test_line_runs_from_corner_to_corner():
    (line,) = polyline(draw_lines(LineChart((Series("a", ((0, 5), (5, 0), (10, 5))),))))

    assert [x for x, _ in line] == [0.0, 500.0, 1000.0]
    assert line[0][1] == line[2][1] < line[1][1]  # y grows downwards


def test_log_x_spaces_tenfold_steps_evenly():
    chart = LineChart((Series("a", ((0, 1), (1, 1), (10, 2), (100, 3))),), log_x=True)

    (line,) = polyline(draw_lines(chart))

    assert [x for x, _ in line] == [0.0, 500.0, 1000.0]


def test_long_lines_are_averaged_without_losing_their_ends():
    points = [(step, step % 2) for step in range(8000)]

    (line,) = polyline(draw_lines(LineChart((Series("a", points),))))

    assert len(line) == MAX_POINTS + 2
    assert (line[0][0], line[-1][0]) == (0.0, 1000.0)
    # The two kept ends apart, the jumping between 0 and 1 has become a flat line.
    assert len({y for _, y in line[1:-1]}) == 1


def test_what_is_not_finite_is_left_out():
    chart = LineChart((Series("a", ((1, 1), (2, math.nan), (3, math.inf), (4, 2))),))

    (line,) = polyline(draw_lines(chart))

    assert len(line) == 2


@pytest.mark.parametrize(
    "points", [((3, 7),), ((1, 0), (2, 0))], ids=["one point", "a flat line at zero"]
)
def test_draws_what_has_no_extent(points):
    html = draw_lines(LineChart((Series("a", points),)))

    assert "nan" not in html
    ElementTree.fromstring(html)


@pytest.mark.parametrize("height", ["tall", "short"])
def test_end_labels_stand_apart_and_inside(height):
    series = tuple(Series(f"s{value}", ((0, 9), (1, value / 10))) for value in range(4))

    html = draw_lines(LineChart(series, height=height))

    labels = html.split('class="ends"')[1].split('class="x-axis"')[0]
    tops = numbers(r"top:([-\d.]+)%", labels)
    gaps = [after - before for before, after in itertools.pairwise(tops)]
    assert min(gaps) >= (13.9 if height == "tall" else 27.9)
    assert 0 <= tops[0] < tops[-1] <= 100


def test_each_series_has_its_own_colour():
    html = draw_lines(
        LineChart(
            (Series("a", ((0, 1),)), Series("b", ((1, 2),)), Series("c", ((1, 3),), colour=4))
        )
    )

    assert re.findall(r'<g class="(series-\d)"', html) == ["series-1", "series-2", "series-4"]


@pytest.mark.parametrize(
    "bars",
    [(), (Bar("a", -1.0),), (Bar("a", math.nan),), (Bar("a", 1.0, (0.0, math.inf)),)],
    ids=["none", "negative", "not a number", "endless interval"],
)
def test_refuses_bars(bars):
    with pytest.raises(ValueError, match="finite values of at least 0"):
        draw_bars(BarChart(bars))


def test_refuses_lines_without_points():
    with pytest.raises(ValueError, match="at least one finite point"):
        draw_lines(LineChart((Series("a", ((1, math.nan),)), Series("b", ()))))


def test_parts_of_a_whole():
    html = draw_parts(PartsBar((Part("kept", 30, "main"), Part("lost", 0), Part("bad", 10))))

    tree = ElementTree.fromstring(html)
    assert [piece.get("style") for piece in tree.find("div")] == [
        "flex-grow:0.750000",
        "flex-grow:0.250000",
    ]
    assert ["".join(item.itertext()) for item in tree.iter("li")] == [
        "30 kept 75\u00a0%",
        "0 lost 0\u00a0%",
        "10 bad 25\u00a0%",
    ]


@pytest.mark.parametrize("values", [(), (0, 0), (3, -1), (1, math.inf)])
def test_refuses_parts_of_nothing(values):
    with pytest.raises(ValueError, match="a bar of parts needs finite values"):
        draw_parts(PartsBar(tuple(Part("x", value) for value in values)))
