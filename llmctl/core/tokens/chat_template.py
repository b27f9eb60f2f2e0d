"""A checkpoint's chat template: a conversation → the one string that the model reads.

A template is a program that came with the weights. It runs in a sandbox in a process of its
own, with limits of time, memory and length; this process never loads the template language.
"""

from __future__ import annotations

import json
import signal
import subprocess
import tempfile
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, Self

from llmctl.core.child_process import broken_pipe_as_error, start_module
from llmctl.core.errors import DataError, LlmctlError, UsageError
from llmctl.core.tokens.chat_template_files import (
    MAX_TEMPLATE_BYTES,
    ChatTemplate,
    quoted,
    read_chat_template,
    too_large,
)

__all__ = [
    "MAX_TEMPLATE_BYTES",
    "ChatTemplate",
    "Message",
    "RenderRequest",
    "Rendered",
    "TemplateRenderer",
    "read_chat_template",
]

Message = Mapping[str, Any]
"""`role`, `content`, and what else a template reads, as JSON values."""

MAX_TEXT_CHARACTERS = 2**22
MAX_MEMORY_BYTES = 2**29
START_LIMIT_SECONDS = 60.0
_MAX_ANSWER_BYTES = 12 * MAX_TEXT_CHARACTERS + 4096  # JSON writes a character in at most 12
_BATCH_CONVERSATIONS = 64
_GIVEN_NAMES = frozenset({"messages", "add_generation_prompt"})


@dataclass(frozen=True, slots=True)
class RenderRequest:
    """A conversation to be rendered, and what is asked of it.

    Attributes:
        messages: Oldest first.
        beginnings: So many first messages, with or without a generation prompt: how much of
            the text their own rendering is.
    """

    messages: Sequence[Message]
    beginnings: Sequence[tuple[int, bool]] = ()


@dataclass(frozen=True, slots=True)
class Rendered:
    """A conversation as its template writes it.

    Attributes:
        text: Special tokens in plain text.
        beginnings: Characters of each beginning asked for; -1 where the text does not begin
            so, or the template refuses it.
    """

    text: str
    beginnings: tuple[int, ...]


class TemplateRenderer:
    """Renders conversations with one template; a context manager, which owns a process.

    The process starts at once and serves every rendering. After one that broke a limit, the
    next starts another.

    Args:
        template: What to render with.
        time_limit_seconds: For each rendering.

    Raises:
        DataError: The template is longer than any sensible one.
    """

    def __init__(self, template: ChatTemplate, *, time_limit_seconds: float = 5.0) -> None:
        num_bytes = len(template.source.encode("utf-8", "replace"))
        if num_bytes > MAX_TEMPLATE_BYTES:
            raise DataError(f"the chat template {too_large(num_bytes, MAX_TEMPLATE_BYTES)}")
        self._template = template
        self._time_limit_seconds = time_limit_seconds
        self._process: _Process | None = None

    def __enter__(self) -> Self:
        self._process = _Process(self._time_limit_seconds)
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def render(
        self,
        messages: Sequence[Message],
        *,
        add_generation_prompt: bool = True,
        variables: Mapping[str, Any] | None = None,
    ) -> str:
        """Return the conversation as the template writes it, special tokens in plain text.

        The text is what transformers' `apply_chat_template(..., tokenize=False)` returns.

        Args:
            messages: The conversation, oldest first.
            add_generation_prompt: End with what comes before a reply.
            variables: More for the template to read, such as enable_thinking, tools and
                documents, as JSON values; they go before special tokens of their name.

        Raises:
            ValueError: There is no message.
            UsageError: A variable has the name of one of the other arguments.
            DataError: The template refuses the conversation, is faulty, reaches for what is
                not its own, or takes too much time, memory or length.
            LlmctlError: The process does not start.
        """
        rendered = self.render_batch(
            [RenderRequest(messages)],
            add_generation_prompt=add_generation_prompt,
            variables=variables,
        )[0]
        if isinstance(rendered, DataError):
            raise rendered
        return rendered.text

    def render_batch(
        self,
        requests: Sequence[RenderRequest],
        *,
        add_generation_prompt: bool = False,
        variables: Mapping[str, Any] | None = None,
        marks: tuple[str, str] = ("", ""),
    ) -> list[Rendered | DataError]:
        """Return what `render` returns for each of many conversations, at less cost.

        Args:
            requests: The conversations.
            add_generation_prompt: As in `render`.
            variables: As in `render`.
            marks: Written before and after the text of each `{% generation %}` block.

        Returns:
            Each one's text, or what is wrong with it.

        Raises:
            ValueError: A conversation has no message.
            UsageError: As in `render`.
            LlmctlError: The process does not start.
        """
        if not all(request.messages for request in requests):
            raise ValueError("a conversation of no messages")
        variables = variables or {}
        taken = sorted(_GIVEN_NAMES & variables.keys())
        if taken:
            raise UsageError(f"the template variable {taken[0]} is set by the conversation itself")
        common = {
            "source": self._template.source,
            "marks": marks,
            "variables": {
                "tools": None,
                "documents": None,
                **self._template.special_tokens,
                **variables,
                "add_generation_prompt": add_generation_prompt,
            },
        }
        rendered: list[Rendered | DataError] = []
        for start in range(0, len(requests), _BATCH_CONVERSATIONS):
            rendered += self._rendered(common, requests[start : start + _BATCH_CONVERSATIONS])
        return rendered

    def _rendered(
        self, common: dict[str, Any], requests: Sequence[RenderRequest]
    ) -> list[Rendered | DataError]:
        conversations = [
            {
                "messages": [dict(message) for message in request.messages],
                "beginnings": request.beginnings,
            }
            for request in requests
        ]
        line = json.dumps({**common, "conversations": conversations}).encode() + b"\n"
        try:
            answers = self._answer(line)
        except DataError as error:
            if len(requests) == 1:
                return [error]
            # One of them broke a limit, or all did together; the others are not to suffer.
            return [self._rendered(common, [request])[0] for request in requests]
        return [_from_answer(answer) for answer in answers]

    def _answer(self, request: bytes) -> list[dict[str, Any]]:
        process = self._process = self._process or _Process(self._time_limit_seconds)
        try:
            return process.answer(request)
        except BaseException:  # after Ctrl-C, too, an answer may be on its way
            self._end()
            raise

    def _end(self) -> None:
        if self._process is not None:
            self._process.end()
            self._process = None


class _Process:
    """The child and its two pipes."""

    def __init__(self, time_limit_seconds: float) -> None:
        limits = (MAX_MEMORY_BYTES, MAX_TEXT_CHARACTERS, time_limit_seconds)
        self._time_limit_seconds = time_limit_seconds
        self._is_ready = False
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child
        self._child = start_module(
            f"{__name__}_process",
            *limits,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )

    def answer(self, request: bytes) -> list[dict[str, Any]]:
        """Return the answers to a line; after an error the process is of no more use."""
        if not self._is_ready:
            with self._killed_after(START_LIMIT_SECONDS):
                started = self._stream(self._child.stdout).readline(1) == b"\n"
            if not started:
                raise LlmctlError(
                    f"the process for the chat template does not start: {self._why()}"
                )
            self._is_ready = True
        with self._killed_after(self._time_limit_seconds) as expired:
            line = self._exchange(request)
        if line.endswith(b"\n"):
            return json.loads(line)
        if expired.is_set():
            raise DataError(f"the chat template takes more than {self._time_limit_seconds:g} s")
        raise DataError(f"the chat template breaks its process: {self._why()}")

    def end(self) -> None:
        """End the child, whatever it is doing."""
        self._child.kill()
        self._child.wait()
        for stream in (self._child.stdin, self._child.stdout, self._log):
            try:
                self._stream(stream).close()
            except BrokenPipeError:  # half a request was left in the buffer
                continue

    def _exchange(self, request: bytes) -> bytes:
        try:
            with broken_pipe_as_error():
                stdin = self._stream(self._child.stdin)
                stdin.write(request)
                stdin.flush()
        except BrokenPipeError:
            return b""
        return self._stream(self._child.stdout).readline(_MAX_ANSWER_BYTES)

    @contextmanager
    def _killed_after(self, seconds: float) -> Generator[threading.Event]:
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            self._child.kill()

        timer = threading.Timer(seconds, expire)
        timer.daemon = True
        timer.start()
        try:
            yield expired
        finally:
            timer.cancel()
            timer.join()

    def _why(self) -> str:
        try:
            code = self._child.wait(1)
        except subprocess.TimeoutExpired:
            return "it answers with nonsense"
        if code < 0:
            return f"ended by {signal.Signals(-code).name}"
        self._log.seek(0)
        lines = self._log.read(MAX_TEMPLATE_BYTES).decode("utf-8", "replace").splitlines()
        return quoted(next((line for line in reversed(lines) if line.strip()), "it said nothing"))

    @staticmethod
    def _stream(stream: IO[bytes] | None) -> IO[bytes]:
        assert stream is not None  # each is a pipe
        return stream


def _from_answer(answer: dict[str, Any]) -> Rendered | DataError:
    if "text" in answer:
        return Rendered(answer["text"], tuple(answer["beginnings"]))
    if "refusal" in answer:
        refusal = quoted(answer["refusal"])
        return DataError(f"the chat template refuses the conversation: {refusal}")
    where = "" if answer["line"] is None else f" in line {answer['line']}"
    return DataError(f"the chat template fails{where}: {quoted(answer['fault'])}")
