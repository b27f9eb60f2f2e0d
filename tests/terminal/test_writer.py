"""writer: exact text in a pipe; on a terminal harmless text behind its dimmed prompt."""

from __future__ import annotations

import io
from contextlib import redirect_stdout

import pytest

from llmctl.terminal.writer import TextWriter

PIECES = ["it", " is\x1b[2J", " 世界"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Pipe(io.StringIO):
    """Remembers what had been written at each flush."""

    def __init__(self) -> None:
        super().__init__()
        self.flushed: list[str] = []

    def flush(self) -> None:
        self.flushed.append(self.getvalue())


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    return Terminal()


@pytest.fixture
def pipe():
    return Pipe()


def write(output: io.StringIO, *, echo=False, stream=True, silent=False) -> None:
    with redirect_stdout(output):
        writer = TextWriter("The\x07", echo=echo, stream=stream, silent=silent)
        for piece in PIECES:
            writer.write(piece)
        writer.finish()


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("echo", "expected"),
    [
        pytest.param(False, "it is\x1b[2J 世界\n", id="only the continuation, exact"),
        pytest.param(True, "The\x07it is\x1b[2J 世界\n", id="with echo the prompt too"),
    ],
)
def test_in_a_pipe(pipe, echo, stream, expected):
    write(pipe, echo=echo, stream=stream)

    assert pipe.getvalue() == expected


def test_pieces_are_flushed_as_they_come_or_all_at_the_end(pipe):
    write(pipe, stream=True)
    assert pipe.flushed[:3] == ["it", "it is\x1b[2J", "it is\x1b[2J 世界"]

    pipe.flushed.clear()
    before = pipe.getvalue()
    write(pipe, stream=False)
    assert pipe.flushed == [before * 2]


def test_on_a_terminal_the_prompt_is_dim_and_control_characters_are_shown(terminal):
    write(terminal)

    assert terminal.getvalue() == "\x1b[2mThe\\x07\x1b[22mit is\\x1b[2J 世界\n"


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_on_a_terminal_without_colours_nothing_is_dimmed(terminal, monkeypatch, name, value):
    monkeypatch.setenv(name, value)

    write(terminal)

    assert terminal.getvalue() == "The\\x07it is\\x1b[2J 世界\n"


@pytest.mark.parametrize("where", ["terminal", "pipe"])
@pytest.mark.parametrize("stream", [True, False])
def test_silence_is_silent(request, where, stream):
    output = request.getfixturevalue(where)

    write(output, echo=True, stream=stream, silent=True)

    assert output.getvalue() == ""
