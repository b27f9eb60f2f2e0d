"""A conversation: at a terminal with a prompt and commands, in a pipe a message a line."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Protocol

from llmctl.core import atomic
from llmctl.core.artifacts.documents import json_bytes
from llmctl.core.errors import LlmctlError, OutputError, UsageError
from llmctl.core.tokens.chat_template import Message
from llmctl.terminal.visible import visible
from llmctl.terminal.writer import DIM, PLAIN, has_colours

QUOTES = '"""'
HINT = "Ctrl-D or /exit leaves; Ctrl-C while a reply is written stops it"
HELP = {
    "/help": "show this",
    "/regen": "reply to the last message again",
    "/clear": "forget all but the system prompt",
    "/save FILE": "write the conversation as JSON; /save! replaces a file that is there",
    "/set NAME VALUE": "change how replies are drawn: /set temperature 0.5",
    "/system TEXT": "change the system prompt; without TEXT, have none",
    "/history": "show the conversation",
    "/exit": "leave, as Ctrl-D does",
    "//text": "a message that begins with a slash",
    QUOTES: "begins and ends a message of several lines",
}

Write = Callable[[str], None]


class Speaker(Protocol):
    """Who replies."""

    def reply(self, messages: Sequence[Message], write: Write) -> str:
        """Reply to the last message.

        Args:
            messages: The conversation, oldest first.
            write: Takes the reply piece by piece. It raises KeyboardInterrupt where the
                person has heard enough: let it pass, or return what was written.

        Returns:
            The whole reply.

        Raises:
            LlmctlError: There can be none.
        """
        ...

    def change(self, setting: str, value: str) -> None:
        """Change a setting from now on.

        Raises:
            UsageError: There is no such setting, or it takes no such value.
        """
        ...


class Conversation:
    """What was said so far.

    Attributes:
        system: The system prompt, or None.
        turns: What user and assistant said, oldest first, ending with the assistant.
    """

    def __init__(self, system: str | None = None) -> None:
        self.system = system
        self.turns: list[Message] = []

    def messages(self, turns: Sequence[Message] | None = None) -> list[Message]:
        """Return the system prompt and the turns, or others in their place."""
        turns = self.turns if turns is None else turns
        return [*([] if self.system is None else [_said("system", self.system)]), *turns]

    def asked(self, content: str) -> list[Message]:
        """Return the turns with a new message of the user, which is not kept yet."""
        return [*self.turns, _said("user", content)]

    def keep(self, turns: Sequence[Message], reply: str) -> None:
        """Make the turns and the reply to them what was said."""
        self.turns = [*turns, _said("assistant", reply)]


def converse(speaker: Speaker, *, system: str | None = None) -> None:
    """Talk until the input ends.

    At a terminal a mistake costs a line on stderr. In a pipe each line that is not blank is
    a message, whatever it begins with; only the replies go to stdout, each with a newline.

    Args:
        speaker: Who replies.
        system: The system prompt.

    Raises:
        LlmctlError: In a pipe: there can be no reply.
    """
    conversation = Conversation(system)
    if sys.stdin.isatty() and sys.stdout.isatty():
        TerminalConversation(speaker, conversation).run()
        return
    for line in sys.stdin:
        if line.strip():
            turns = conversation.asked(line.removesuffix("\n"))
            conversation.keep(turns, speaker.reply(conversation.messages(turns), _write))
            _write("\n")


class TerminalConversation:
    """Prompt, commands, and what Ctrl-C means.

    Args:
        speaker: Who replies.
        conversation: What was said before.
    """

    def __init__(self, speaker: Speaker, conversation: Conversation) -> None:
        self._speaker = speaker
        self._conversation = conversation
        self._is_over = False
        self._has_hinted = False
        self._is_reading = False
        self._commands: dict[str, Callable[[str], None]] = {
            "/help": self._help,
            "/regen": self._reply_again,
            "/clear": self._clear,
            "/save": self._save,
            "/save!": self._replace,
            "/set": self._set,
            "/system": self._set_system,
            "/history": self._show,
            "/exit": self._exit,
        }

    def run(self) -> None:
        """Read and reply until Ctrl-D or /exit; SIGINT's handler is left as it was found."""
        with contextlib.suppress(ImportError):
            importlib.import_module("readline")  # lends `input` its arrow keys and history
        with _on_interrupt(self._interrupt):
            while not self._is_over:
                try:
                    self._turn()
                except KeyboardInterrupt:
                    _write("\n")
                    if not self._has_hinted:
                        _note(HINT)
                    self._has_hinted = True
                except EOFError:
                    _write("\n")
                    return

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        """Interrupt the reading of a line; a second Ctrl-C meanwhile changes nothing."""
        if self._is_reading:
            self._is_reading = False
            signal.default_int_handler(number, frame)

    def _read(self, mark: str) -> str:
        self._is_reading = True
        line = input(_prompt(mark))
        self._is_reading = False
        return line

    def _turn(self) -> None:
        line = self._read(">")
        try:
            if line.startswith(QUOTES):
                self._reply_to(self._quoted(line))
            elif line.startswith("/") and not line.startswith("//"):
                name, *rest = line.split(maxsplit=1)
                self._command(name)("".join(rest).strip())
            else:
                self._reply_to(line.removeprefix("/") if line.startswith("//") else line)
        except LlmctlError as error:
            _complain(str(error))
        except OSError as error:
            _complain(f"{error.filename}: {error.strerror}" if error.filename else str(error))

    def _quoted(self, line: str) -> str:
        """Read on to the closing quotes; return what is between, outermost newlines aside."""
        text = line.removeprefix(QUOTES)
        while not text.endswith(QUOTES):
            text += "\n" + self._read(".")
        return text.removesuffix(QUOTES).removeprefix("\n").removesuffix("\n")

    def _command(self, name: str) -> Callable[[str], None]:
        if name not in self._commands:
            raise UsageError(
                f"no command {name}; there are {' '.join(self._commands)}; "
                "a message that begins with a slash: //text"
            )
        return self._commands[name]

    def _reply_to(self, content: str) -> None:
        if content.strip():
            self._reply(self._conversation.asked(content))

    def _reply(self, turns: Sequence[Message]) -> None:
        """Reply; without a word said, the conversation stays as it was."""
        reply = self._spoken(self._conversation.messages(turns))
        if reply is None:
            _note("stopped before the first word; the conversation is as it was before")
        else:
            self._conversation.keep(turns, reply)

    def _spoken(self, messages: Sequence[Message]) -> str | None:
        """Let the speaker speak; None where it was stopped before its first word.

        The first Ctrl-C lets the speaker finish the piece it is at; the second does not.
        """
        pieces: list[str] = []
        is_stopped = False

        def stop(number: int, frame: FrameType | None) -> None:
            nonlocal is_stopped
            if is_stopped:
                signal.default_int_handler(number, frame)
            is_stopped = True

        def write(piece: str) -> None:
            if is_stopped:
                raise KeyboardInterrupt
            pieces.append(piece)
            _write(visible(piece))

        try:
            with _on_interrupt(stop):
                reply = self._speaker.reply(messages, write)
        except KeyboardInterrupt:
            reply = "".join(pieces)
        finally:
            _write("\n")
        return None if is_stopped and not reply else reply

    def _help(self, _: str) -> None:
        for name, effect in HELP.items():
            _note(f"{name:<16} {effect}")

    def _reply_again(self, _: str) -> None:
        if not self._conversation.turns:
            raise UsageError("there is no reply yet")
        self._reply(self._conversation.turns[:-1])

    def _clear(self, _: str) -> None:
        self._conversation.turns = []

    def _save(self, name: str) -> None:
        path = _file_named(name)
        if path.exists():
            raise UsageError(f"{path} is there already; /save! {name} replaces it")
        self._replace(name)

    def _replace(self, name: str) -> None:
        path = _file_named(name)
        if path.exists() and not path.is_file():
            raise OutputError(f"{path}: not a file")
        atomic.write_file(path, json_bytes({"messages": self._conversation.messages()}))
        _note(f"saved: {path}")

    def _set(self, text: str) -> None:
        match text.split(maxsplit=1):
            case [setting, value]:
                self._speaker.change(setting, value)
            case _:
                raise UsageError("what, and to which value? /set temperature 0.5")

    def _set_system(self, text: str) -> None:
        self._conversation.system = text or None

    def _show(self, _: str) -> None:
        for message in self._conversation.messages():
            _write(f"{_dim(message['role'] + ':')} {visible(message['content'])}\n")

    def _exit(self, _: str) -> None:
        self._is_over = True


def _said(role: str, content: str) -> Message:
    return {"role": role, "content": content}


def _file_named(name: str) -> Path:
    if not name:
        raise UsageError("where to? /save FILE")
    return Path(os.path.expanduser(name)).resolve()  # noqa: PTH111 - leaves ~nobody as it is


@contextmanager
def _on_interrupt(
    handler: Callable[[int, FrameType | None], object],
) -> Generator[None]:
    """Handle SIGINT so; what the caller made ignored stays ignored."""
    former = signal.getsignal(signal.SIGINT)
    if former is signal.SIG_IGN:
        yield
        return
    signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)


def _prompt(mark: str) -> str:
    if not has_colours():
        return f"{mark} "
    if "readline" not in sys.modules:
        return f"{_dim(mark)} "
    # Between \x01 and \x02 stands what takes no room on the line, which readline must know.
    return f"\x01{DIM}\x02{mark}\x01{PLAIN}\x02 "


def _dim(text: str) -> str:
    return f"{DIM}{text}{PLAIN}" if has_colours() else text


def _note(text: str) -> None:
    shown = visible(text)
    sys.stderr.write(f"{_dim(shown) if sys.stderr.isatty() else shown}\n")


def _complain(text: str) -> None:
    one_line = " ".join(text.splitlines())
    sys.stderr.write(f"! {visible(one_line)}\n")


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
