"""Tokens on stdout: a line each in a pipe, in turns of colour on a terminal."""

from __future__ import annotations

import io
from contextlib import redirect_stdout

import pytest

from llmctl.terminal.token_colours import print_tokens, shown

TOKENS = [(12, "The"), (3, " 世界"), (0, "[b]\x1b[2J\n")]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def printed(output):
    with redirect_stdout(output):
        print_tokens(TOKENS)
    return output.getvalue()


def test_a_line_a_token_in_a_pipe():
    assert printed(io.StringIO()) == "12\tThe\n3\t␣世界\n0\t[b]\\x1b[2J⏎\n"


def test_in_turns_of_colour_on_a_terminal(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "18")

    first, second = printed(Terminal()).splitlines()

    assert (
        first == "\x1b[30;46mThe\x1b[0m\x1b[2m 12\x1b[0m  \x1b[30;43m␣世界\x1b[0m\x1b[2m 3\x1b[0m"
    )
    assert second == "\x1b[30;46m[b]\\x1b[2J⏎\x1b[0m\x1b[2m 0\x1b[0m"


@pytest.mark.parametrize(("piece", "expected"), [("\t \n", "⇥␣⏎"), ("a\u202eb", "a\\u202eb")])
def test_spaces_are_in_sight_and_nothing_steers(piece, expected):
    assert shown(piece) == expected
