"""Tokens on stdout: a line each in a pipe, in turns of colour on a terminal."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stdout

import pytest

from llmctl.core.tokens.text_tokens import TextToken
from llmctl.terminal.token_colours import print_tokens, shown

TEXT = "The 世界[b]\x1b[2J\n"
TOKENS = [
    TextToken(12, "The", b"The", 0, 3),
    TextToken(3, " 世界", " 世界".encode(), 3, 6),
    TextToken(0, "[b]\x1b[2J\n", b"[b]\x1b[2J\n", 6, 14),
]
SPREAD = [
    TextToken(228, "<0xE4>", b"\xe4", 0, 1),
    TextToken(184, "<0xB8><0x96>", b"\xb8\x96", 0, 1),
    TextToken(7, "a", b"a", 1, 2),
]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def printed(output, tokens=TOKENS, text=TEXT):
    with redirect_stdout(output):
        print_tokens(tokens, text)
    return output.getvalue()


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "18")
    return Terminal()


def test_a_line_a_token_in_a_pipe():
    assert printed(io.StringIO()) == "12\tThe\n3\t␣世界\n0\t[b]\\x1b[2J⏎\n"
    assert printed(io.StringIO(), SPREAD, "世a") == "228\t<0xE4>\n184\t<0xB8><0x96>\n7\ta\n"


def test_in_turns_of_colour_on_a_terminal(terminal):
    first, second = printed(terminal).splitlines()

    assert (
        first == "\x1b[30;46mThe\x1b[0m\x1b[2m 12\x1b[0m  \x1b[30;43m␣世界\x1b[0m\x1b[2m 3\x1b[0m"
    )
    assert second == "\x1b[30;46m[b]\\x1b[2J⏎\x1b[0m\x1b[2m 0\x1b[0m"


def test_a_spread_character_follows_its_tokens_underlined(terminal, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")

    assert printed(terminal, SPREAD, "世a") == (
        "\x1b[4;30;46m<0xE4>\x1b[0m\x1b[2;4m 228\x1b[0m\x1b[4m  \x1b[0m"
        "\x1b[4;30;43m<0xB8><0x96>\x1b[0m\x1b[2;4m 184\x1b[0m\x1b[1;4m 世\x1b[0m  "
        "\x1b[30;46ma\x1b[0m\x1b[2m 7\x1b[0m\n"
    )


def test_a_group_is_not_torn_apart(terminal, monkeypatch):
    monkeypatch.setenv("COLUMNS", "35")
    word = TextToken(5, "words", b"words", 0, 5)
    spread = [TextToken(t.token_id, t.piece, t.content, t.start + 5, t.end + 5) for t in SPREAD]
    shown_text = re.sub("\x1b\\[[0-9;]*m", "", printed(terminal, [word, *spread], "words世a"))
    lines = shown_text.splitlines()

    assert lines == ["words 5", "<0xE4> 228  <0xB8><0x96> 184 世", "a 7"]


@pytest.mark.parametrize(("piece", "expected"), [("\t \n", "⇥␣⏎"), ("a\u202eb", "a\\u202eb")])
def test_spaces_are_in_sight_and_nothing_steers(piece, expected):
    assert shown(piece) == expected
