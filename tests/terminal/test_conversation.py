"""A conversation: every command, what Ctrl-C keeps, a pipe, and once a real terminal."""

from __future__ import annotations

import io
import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from contextlib import redirect_stderr, redirect_stdout

import pytest

from llmctl.core.errors import DataError, UsageError
from llmctl.terminal.conversation import HELP, HINT, converse

INTERRUPT = object()


class Keyboard(io.StringIO):
    """Lines that somebody types; INTERRUPT among them is a Ctrl-C."""

    def __init__(self, *lines):
        super().__init__()
        self.lines = list(lines)

    def isatty(self):
        return True

    def readline(self, _=-1, /):
        line = self.lines.pop(0) if self.lines else ""
        if line is INTERRUPT:
            signal.raise_signal(signal.SIGINT)
        return f"{line}\n" if self.lines or line else line


class Screen(io.StringIO):
    def isatty(self):
        return True


class Echo:
    """Replies with what it was told, word by word; does what some words say."""

    def __init__(self):
        self.heard = []
        self.settings = {}

    def reply(self, messages, write):
        self.heard.append([dict(message) for message in messages])
        said = ""
        for word in f"{messages[-1]['content']} #{len(self.heard)}".split(" "):
            if word == "STOP":
                signal.raise_signal(signal.SIGINT)
                continue
            if word == "REFUSE":
                raise DataError("too long:\nby far\x1b[2J")
            write(word + " ")
            said += word + " "
        return said

    def change(self, setting, value):
        if setting != "temperature":
            raise UsageError(f"no setting {setting!r}")
        self.settings[setting] = value


@pytest.fixture
def echo():
    return Echo()


@pytest.fixture
def talk(echo, monkeypatch):
    """Type lines at a terminal without colours; returns what stdout and stderr show."""
    monkeypatch.setenv("NO_COLOR", "1")

    def run(*lines, system=None):
        screen, errors = Screen(), io.StringIO()
        monkeypatch.setattr(sys, "stdin", Keyboard(*lines, ""))
        before = signal.getsignal(signal.SIGINT)
        with redirect_stdout(screen), redirect_stderr(errors):
            converse(echo, system=system)
        assert signal.getsignal(signal.SIGINT) is before
        return screen.getvalue(), errors.getvalue()

    return run


def contents(messages):
    return [message["content"] for message in messages]


def test_conversation_goes_back_and_forth(talk, echo):
    screen, errors = talk("你好", "  and  ", "", "   ", system="Be brief.")

    assert screen == "> 你好 #1 \n>   and   #2 \n> > > \n"
    assert errors == ""
    assert echo.heard == [
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "你好"}],
        [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "你好"},
            {"role": "assistant", "content": "你好 #1 "},
            {"role": "user", "content": "  and  "},
        ],
    ]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        pytest.param(['"""a', "", '/b"""'], "a\n\n/b", id="quotes on the lines"),
        pytest.param(['"""', " a", "世界", '"""'], " a\n世界", id="quotes on lines of their own"),
        pytest.param(['"""one"""'], "one", id="one line"),
        pytest.param(['"""', "", "", '"""'], None, id="nothing but newlines"),
        pytest.param(["//etc"], "/etc", id="a slash"),
        pytest.param(["///etc"], "//etc", id="two slashes"),
        pytest.param([" /etc"], " /etc", id="a slash later on"),
        pytest.param(['say """'], 'say """', id="quotes later on"),
    ],
)
def test_message_of_several_lines_or_with_a_slash(talk, echo, lines, message):
    screen, errors = talk(*lines)

    assert [heard[-1]["content"] for heard in echo.heard] == [message] * (message is not None)
    assert screen.count(". ") == len(lines) - 1
    assert errors == ""


def test_prompt_is_dim_and_readline_knows_what_takes_no_room(talk, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "")
    monkeypatch.setenv("TERM", "xterm")

    screen, _ = talk()

    assert screen == "\x01\x1b[2m\x02>\x01\x1b[22m\x02 \n"


def test_control_characters_of_a_reply_are_shown(talk, echo):
    screen, _ = talk("a\x1b[2J", "b")

    assert "> a\\x1b[2J #1" in screen
    assert echo.heard[1][1]["content"] == "a\x1b[2J #1 "


# Commands


def test_regen_replies_to_the_last_message_again(talk, echo):
    _, errors = talk("/regen", "a", "/regen", "b")

    assert errors == "! there is no reply yet\n"
    assert [contents(heard) for heard in echo.heard] == [["a"], ["a"], ["a", "a #2 ", "b"]]


def test_clear_keeps_the_system_prompt(talk, echo):
    talk("a", "/clear", "b", system="S")

    assert contents(echo.heard[-1]) == ["S", "b"]


def test_system_prompt_is_changed_and_taken_away(talk, echo):
    talk("a", "/system  新的 one ", "b", "/system", "c", system="S")

    assert [heard[0]["content"] for heard in echo.heard] == ["S", "新的 one", "a"]


def test_settings_go_to_the_speaker(talk, echo):
    _, errors = talk("/set temperature 0.5 ", "/set", "/set temperature", "/set heat 1")

    assert echo.settings == {"temperature": "0.5"}
    assert errors == (
        "! what, and to which value? /set temperature 0.5\n" * 2 + "! no setting 'heat'\n"
    )


def test_save_writes_json_and_replaces_only_when_told(talk, tmp_path):
    path = tmp_path / "对话 1.json"

    _, errors = talk("世界", f"/save {path}", "b", f"/save {path}", system="S")

    assert json.loads(path.read_text(encoding="utf-8")) == {
        "messages": [
            {"role": "system", "content": "S"},
            {"role": "user", "content": "世界"},
            {"role": "assistant", "content": "世界 #1 "},
        ]
    }
    assert "世界" in path.read_text(encoding="utf-8")
    assert errors == f"saved: {path}\n! {path} is there already; /save! {path} replaces it\n"

    talk("c", f"/save! {path}")
    assert contents(json.loads(path.read_text(encoding="utf-8"))["messages"]) == ["c", "c #3 "]
    assert list(tmp_path.iterdir()) == [path]


def test_save_knows_the_home_directory(talk, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))

    talk("a", "/save ~/a.json")

    assert (tmp_path / "a.json").is_file()


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        pytest.param("/save", "! where to? /save FILE\n", id="no name"),
        pytest.param("/save {}/none/a", "! {}/none/.a.tmp: No such file or directory\n", id="none"),
        pytest.param("/save! {}", "! {}: not a file\n", id="a directory"),
        pytest.param("/save! /dev/null", "! /dev/null: not a file\n", id="a device"),
        pytest.param("/save {}/f/a", "! {}/f/a: cannot be created: Not a directory\n", id="below"),
        pytest.param("/saev x", "! no command /saev; there are /help /regen", id="unknown"),
        pytest.param("/", "! no command /; there are /help", id="a slash alone"),
    ],
)
def test_mistake_costs_one_line_and_the_talk_goes_on(talk, echo, tmp_path, command, complaint):
    (tmp_path / "f").touch()

    _, errors = talk(command.format(tmp_path), "still here")

    assert errors.startswith(complaint.format(tmp_path))
    assert errors.count("\n") == 1
    assert len(echo.heard) == 1


def test_history_shows_what_was_said(talk):
    screen, _ = talk("a\x07", "/history", system="世")

    assert screen.endswith("> system: 世\nuser: a\\x07\nassistant: a\\x07 #1 \n> \n")


def test_help_names_every_command(talk):
    _, errors = talk("/help", "/unknown")

    *shown, unknown = errors.splitlines()
    assert len(shown) == len(HELP)
    names = unknown.partition("there are ")[2].partition(";")[0].split()
    assert "/regen" in names
    assert all(name in "\n".join(shown) for name in names)
    assert unknown.endswith("//text")


def test_exit_leaves_at_once(talk, echo):
    screen, _ = talk("/exit", "never said")

    assert screen == "> "
    assert echo.heard == []


# Stopping


def test_stopped_reply_keeps_what_was_written(talk, echo):
    screen, errors = talk("one STOP two", "next")

    assert screen == "> one \n> next #2 \n> \n"
    assert contents(echo.heard[1]) == ["one STOP two", "one ", "next"]
    assert errors == ""


def test_second_interrupt_does_not_wait_for_the_next_piece(talk, echo):
    def reply(messages, write):
        write("so far")
        signal.raise_signal(signal.SIGINT)
        echo.heard.append("is at its piece")
        signal.raise_signal(signal.SIGINT)
        echo.heard.append("never")

    echo.reply = reply
    screen, _ = talk("one", "/history")

    assert echo.heard == ["is at its piece"]
    assert screen == "> so far\n> user: one\nassistant: so far\n> \n"


@pytest.mark.parametrize("message", ["STOP", "STOP STOP"])
def test_reply_without_a_word_takes_the_message_back(talk, echo, message):
    _, errors = talk(message, "next", f"/regen {message}")

    assert errors == "stopped before the first word; the conversation is as it was before\n"
    assert contents(echo.heard[1]) == ["next"]


def test_speaker_may_keep_the_reply_itself(talk, echo):
    def reply(messages, write):
        echo.heard.append(messages)
        try:
            write("a")
            signal.raise_signal(signal.SIGINT)
            write("b")
        except KeyboardInterrupt:
            return "kept"
        raise AssertionError

    echo.reply = reply
    talk("one", "two")

    assert contents(echo.heard[1]) == ["one", "kept", "two"]


def test_refused_reply_takes_the_message_back(talk, echo):
    screen, errors = talk("first", "some REFUSE", "next")

    assert errors == "! too long: by far\\x1b[2J\n"
    assert screen == "> first #1 \n> some \n> next #3 \n> \n"
    assert contents(echo.heard[2]) == ["first", "first #1 ", "next"]


def test_failed_regen_keeps_the_former_reply(talk, echo):
    def once(messages, write, reply=echo.reply):
        echo.reply = refuse
        return reply(messages, write)

    def refuse(messages, write):
        echo.heard.append(list(messages))
        raise DataError("no")

    echo.reply = once
    talk("a", "/regen", "b")

    assert contents(echo.heard[-1]) == ["a", "a #1 ", "b"]


def test_interrupt_at_the_prompt_hints_once(talk, echo):
    screen, errors = talk(INTERRUPT, '"""half', INTERRUPT, "a")

    assert errors == f"{HINT}\n"
    assert screen == "> \n> . \n> a #1 \n> \n"
    assert [heard[-1]["content"] for heard in echo.heard] == ["a"]


def test_ignored_interrupt_stays_ignored(talk, echo):
    former = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        talk("one STOP two", "next")
    finally:
        signal.signal(signal.SIGINT, former)

    assert contents(echo.heard[1])[1] == "one two #1 "


# A pipe


@pytest.mark.parametrize(
    ("typed", "output"),
    [
        pytest.param(io.StringIO, Screen, id="from a pipe"),
        pytest.param(lambda text: Keyboard(*text.split("\n")), io.StringIO, id="into a pipe"),
    ],
)
def test_in_a_pipe_only_replies_reach_stdout(echo, monkeypatch, typed, output):
    monkeypatch.setattr(sys, "stdin", typed('世界\x1b\n\n/exit\n"""\n'))
    replies, errors = output(), io.StringIO()

    with redirect_stdout(replies), redirect_stderr(errors):
        converse(echo, system="S")

    assert replies.getvalue() == '世界\x1b #1 \n/exit #2 \n""" #3 \n'
    assert errors.getvalue() == ""
    assert contents(echo.heard[1]) == ["S", "世界\x1b", "世界\x1b #1 ", "/exit"]


def test_in_a_pipe_a_refusal_ends_it(echo, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("REFUSE\nnext\n"))

    with redirect_stdout(io.StringIO()), pytest.raises(DataError, match="too long"):
        converse(echo)
    assert len(echo.heard) == 1


# A terminal

PROMPT = "\x1b[2m>\x1b[22m "
SPEAKING = """
import fcntl, signal, sys, termios, time
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGINT, signal.SIG_DFL)  # as llmctl has it
from llmctl.terminal.conversation import converse

class Speaker:
    def reply(self, messages, write):
        said = ""
        while len(said) < 3 or messages[-1]["content"] == "endless":
            write("字")
            said += "字"
            time.sleep(0.01)
        return said

converse(Speaker())
assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
print("left", "torch" in sys.modules)
"""


class Terminal:
    """A process on a pseudo-terminal of its own."""

    def __init__(self, script, environment):
        self.controller, terminal = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", script],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm", "LC_ALL": "C.UTF-8", "NO_COLOR": "", **environment},
        )
        os.close(terminal)
        self.seen = ""

    def type(self, text):
        os.write(self.controller, text.encode())

    def answer(self, text):
        """Type at a prompt, once the keys are read one by one and not by the line."""
        deadline = time.monotonic() + 30
        while termios.tcgetattr(self.controller)[3] & termios.ICANON:
            assert time.monotonic() < deadline, self.seen
            time.sleep(0.01)
        self.type(text)

    def wait_for(self, text, typing=""):
        """Return what was shown up to and with `text`, typing something until it comes.

        Python forgets a Ctrl-C that comes after the prompt and before it waits for a key, and
        a terminal forgets what it was about to show when one is typed: so typing is repeated
        only where nothing more is shown.
        """
        deadline = time.monotonic() + 30
        self.type(typing)
        while text not in self.seen:
            assert time.monotonic() < deadline, self.seen
            if not select.select([self.controller], [], [], 0.3)[0]:
                self.type(typing)
            else:
                try:
                    self.seen += os.read(self.controller, 65536).decode("utf-8", "replace")
                except OSError:  # the other end is closed
                    raise AssertionError(self.seen) from None
        shown, _, self.seen = self.seen.partition(text)
        return shown + text

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.controller)


def test_at_a_terminal(tmp_path):
    """Ctrl-C, Ctrl-D, arrow keys, backspace over a wide character, and no file of history."""
    terminal = Terminal(SPEAKING, {"HOME": str(tmp_path)})
    try:
        terminal.wait_for(PROMPT)
        terminal.wait_for(HINT, typing="\x03")
        terminal.wait_for(PROMPT)
        terminal.answer("世界X\x7f\x7f人\r")
        terminal.wait_for("字字字\r\n")
        terminal.wait_for(PROMPT)
        terminal.answer("endless\r")
        terminal.wait_for("字字字字字")
        terminal.type("\x03")
        assert HINT not in terminal.wait_for(PROMPT)
        terminal.answer("\x1b[A\x1b[A\r")  # the message before the last one
        terminal.wait_for("字字字\r\n")
        terminal.wait_for(PROMPT)
        terminal.answer("/history\r")
        history = terminal.wait_for(PROMPT)
        assert history.count("user:\x1b[22m 世人\r\n") == 2
        assert "assistant:\x1b[22m 字字字字字" in history
        terminal.answer("\x04")
        terminal.wait_for("left False")
        assert terminal.process.wait(30) == 0
    finally:
        terminal.close()
    assert list(tmp_path.iterdir()) == []
