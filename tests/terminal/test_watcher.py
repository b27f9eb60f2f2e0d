"""watcher: lines where nobody watches, bars where someone does, nothing with `quiet`."""

from __future__ import annotations

import io
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from llmctl.core.errors import OutOfTime
from llmctl.core.progress import Progress
from llmctl.core.stopping import Stop
from llmctl.terminal.watcher import LineProgress, TerminalProgress, shown, visible, watcher


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("你好, world é 🙂\n\t", "你好, world é 🙂\n\t", id="text stays"),
        pytest.param("\x1b[2J", r"\x1b[2J", id="an escape cannot clear the screen"),
        pytest.param("a\rb\x07\x00\x7f", r"a\x0db\x07\x00\x7f", id="control characters"),
        pytest.param("\x9b31m", r"\x9b31m", id="the 8-bit escape"),
        pytest.param("\u202eabc\u2066", r"\u202eabc\u2066", id="marks that turn the direction"),
    ],
)
def test_visible_by_hand(text, expected):
    assert visible(text) == expected


@given(st.text())
def test_visible_text_steers_no_terminal(text):
    found = visible(text)

    assert not any((ord(c) < 0x20 and c not in "\n\t") or 0x7F <= ord(c) < 0xA0 for c in found)
    assert visible(found) == found


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (2.34567, "2.346"),
        (0.000012345, "1.234e-05"),
        (999.4, "999.4"),
        (12345.6, "12,346"),
        (-12345.6, "-12,346"),
        (5, "5"),
        ("文本", "文本"),
    ],
)
def test_figures_in_as_many_digits_as_say_something(value, expected):
    assert shown(value) == expected


class Clock:
    now = 0.0


@pytest.fixture
def clock(monkeypatch):
    found = Clock()
    monkeypatch.setattr(time, "monotonic", lambda: found.now)
    return found


@pytest.fixture
def stream():
    return io.StringIO()


def test_an_activity_is_one_line_at_its_end(stream, clock):
    lines = LineProgress(stream=stream)
    lines.begin("train", 2000, "steps")
    lines.advance(1999, loss=2.5)
    clock.now = 29.9
    lines.advance(1, loss=2.34567, rate="快")
    lines.end()

    assert stream.getvalue() == "train: 2,000/2,000 steps, loss 2.346, rate 快, 29.9 s\n"


def test_a_long_activity_is_a_line_each_30_seconds(stream, clock):
    lines = LineProgress(stream=stream)
    lines.begin("clean", unit="documents")
    for _ in range(100):
        clock.now += 1
        lines.advance()

    assert stream.getvalue().splitlines() == [f"clean: {count} documents" for count in (30, 60, 90)]


def test_each_activity_counts_anew(stream, clock):
    lines = LineProgress(stream=stream)
    lines.begin("first", unit="units")
    lines.advance(5, loss=1.0)
    lines.end()
    clock.now = 100.0
    lines.begin("second", unit="units")
    lines.advance(1)
    lines.end()
    lines.begin("third", unit="units")
    lines.end()

    assert stream.getvalue().splitlines() == [
        "first: 5 units, loss 1, 0.0 s",
        "second: 1 units, 0.0 s",
    ]


def test_notes_and_warnings_are_lines_and_samples_are_not(stream):
    lines = LineProgress(stream=stream)
    lines.note("a note")
    lines.warn("小心")
    lines.sample(1, "The", " world")

    assert stream.getvalue() == "a note\nwarning: 小心\n"


def test_lines_go_to_stderr(capsys):
    LineProgress().note("a note")

    assert capsys.readouterr() == ("", "a note\n")


@pytest.mark.parametrize(
    ("is_terminal", "quiet", "expected"),
    [(True, False, TerminalProgress), (False, False, LineProgress), (True, True, Progress)],
)
def test_who_watches(monkeypatch, is_terminal, quiet, expected):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal, raising=False)
    stop = Stop(max_seconds=0)

    found = watcher(stop, quiet=quiet)

    assert type(found) is expected
    with pytest.raises(OutOfTime):
        found.check()


def test_quiet_says_nothing(capsys):
    silent = watcher(quiet=True)
    silent.begin("train", 1, "steps")
    silent.advance(1, loss=1.0)
    silent.end()
    silent.note("a")
    silent.warn("b")
    silent.sample(1, "a", "b")

    assert capsys.readouterr() == ("", "")


@pytest.fixture
def console(stream):
    return Console(file=stream, force_terminal=True, color_system=None, width=100, highlight=False)


def test_a_bar_leaves_one_line_in_its_place(console, stream, clock):
    bars = TerminalProgress(console=console)
    bars.begin("训练", 10, "steps")
    bars.advance(9, loss=2.5)
    bars.advance(1, loss=2.25)
    clock.now = 3.0
    bars.end()
    bars.end()

    assert "✓ 训练  10/10 steps  3.0 s  loss 2.25" in stream.getvalue()
    assert stream.getvalue().count("✓") == 1


def test_markup_in_names_and_figures_is_shown_as_it_is(console, stream):
    bars = TerminalProgress(console=console)
    bars.begin("[bold]read[/x]", None, "files")
    bars.advance(1, file="[/y] 甲")
    bars.end()

    assert "[bold]read[/x]" in stream.getvalue()
    assert "file [/y] 甲" in stream.getvalue()


def test_notes_and_warnings_are_marked(console, stream):
    bars = TerminalProgress(console=console)
    bars.note("一 [red]note[/z]")
    bars.warn("a warning")

    assert stream.getvalue() == "· 一 [red]note[/z]\n! a warning\n"


def test_samples_grow_under_their_step_and_steer_nothing(console, stream):
    bars = TerminalProgress(console=console)
    bars.sample(1000, "The world", " is\x1b[2J\n[b]new[/b]")
    bars.sample(1000, "世界", "很大")
    bars.sample(2000, "The", "")

    assert stream.getvalue().splitlines() == [
        r"  step  1,000  The world is\x1b[2J ⏎ [b]new[/b]",
        "               世界很大",
        "  step  2,000  The",
    ]
