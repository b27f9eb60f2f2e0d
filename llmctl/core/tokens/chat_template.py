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
import unicodedata
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

from llmctl.core.child_process import broken_pipe_as_error, start_module
from llmctl.core.errors import DataError, LlmctlError, UsageError

Message = Mapping[str, Any]
"""`role`, `content`, and what else a template reads, as JSON values."""

TEMPLATE_NAME = "chat_template.jinja"
CONFIG_NAME = "tokenizer_config.json"
SPECIAL_TOKENS_NAME = "special_tokens_map.json"

MAX_TEMPLATE_BYTES = 2**20  # the longest in use have some 30,000
MAX_JSON_BYTES = 2**24
MAX_TEXT_CHARACTERS = 2**22
MAX_MEMORY_BYTES = 2**29
START_LIMIT_SECONDS = 60.0
_MAX_ANSWER_BYTES = 12 * MAX_TEXT_CHARACTERS + 4096  # JSON writes a character in at most 12
_MAX_QUOTED_CHARACTERS = 500
_TOKEN_NAMES = (
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
)
_GIVEN_NAMES = frozenset({"messages", "add_generation_prompt"})


@dataclass(frozen=True)
class ChatTemplate:
    """A template and the special tokens it may name.

    Attributes:
        source: Jinja.
        special_tokens: bos_token, eos_token and their like → the token's text.
    """

    source: str
    special_tokens: Mapping[str, str]


def read_chat_template(directory: Path) -> ChatTemplate | None:
    """Return a model directory's chat template, or None where it has none.

    As transformers does: chat_template.jinja goes before tokenizer_config.json, in which the
    template named "default" is taken of several; special_tokens_map.json is read only where
    tokenizer_config.json does not list the added tokens, and then has the last word.

    Raises:
        DataError: A file is damaged, or larger than any sensible one.
    """
    config = _read_json(directory / CONFIG_NAME)
    source = _read_source(directory / TEMPLATE_NAME)
    if source is None:
        source = _configured_source(config.get("chat_template"), directory / CONFIG_NAME)
    if source is None:
        return None
    special_tokens = _token_texts(config)
    if "added_tokens_decoder" not in config:
        special_tokens |= _token_texts(_read_json(directory / SPECIAL_TOKENS_NAME))
    return ChatTemplate(source, special_tokens)


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
            raise DataError(f"the chat template {_too_large(num_bytes, MAX_TEMPLATE_BYTES)}")
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
        if not messages:
            raise ValueError("a conversation of no messages")
        variables = variables or {}
        taken = sorted(_GIVEN_NAMES & variables.keys())
        if taken:
            raise UsageError(f"the template variable {taken[0]} is set by the conversation itself")
        request = {
            "source": self._template.source,
            "variables": {
                "tools": None,
                "documents": None,
                **self._template.special_tokens,
                **variables,
                "messages": [dict(message) for message in messages],
                "add_generation_prompt": add_generation_prompt,
            },
        }
        answer = self._answer(json.dumps(request).encode() + b"\n")
        if "text" in answer:
            return answer["text"]
        if "refusal" in answer:
            refusal = _quoted(answer["refusal"])
            raise DataError(f"the chat template refuses the conversation: {refusal}")
        where = "" if answer["line"] is None else f" in line {answer['line']}"
        raise DataError(f"the chat template fails{where}: {_quoted(answer['fault'])}")

    def _answer(self, request: bytes) -> dict[str, Any]:
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

    def answer(self, request: bytes) -> dict[str, Any]:
        """Return the answer to a line; after an error the process is of no more use."""
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
        return _quoted(next((line for line in reversed(lines) if line.strip()), "it said nothing"))

    @staticmethod
    def _stream(stream: IO[bytes] | None) -> IO[bytes]:
        assert stream is not None  # each is a pipe
        return stream


def _configured_source(found: object, path: Path) -> str | None:
    if isinstance(found, list):
        named = {
            entry["name"]: entry["template"]
            for entry in found
            if isinstance(entry, dict) and {"name", "template"} <= entry.keys()
        }
        if "default" not in named:
            names = ", ".join(map(str, named)) or "none"
            raise DataError(f"{path}: no chat template named default (names: {_quoted(names)})")
        found = named["default"]
    if found is None or isinstance(found, str):
        return found
    raise DataError(
        f"{path}: chat_template: expected a string, or a list of objects with name and template"
    )


def _token_texts(config: Mapping[str, Any]) -> dict[str, str]:
    texts: dict[str, str] = {}
    for name in _TOKEN_NAMES:
        token = config.get(name)
        if isinstance(token, dict):
            token = token.get("content")
        if isinstance(token, str):
            texts[name] = token
    return texts


def _read_source(path: Path) -> str | None:
    content = _read(path, MAX_TEMPLATE_BYTES)
    if content is None:
        return None
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: damaged: not UTF-8 at byte {error.start:,}") from error


def _read_json(path: Path) -> dict[str, Any]:
    content = _read(path, MAX_JSON_BYTES)
    if content is None:
        return {}
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON: {error}") from error
    if not isinstance(found, dict):
        raise DataError(f"{path}: expected a JSON object, found a {type(found).__name__}")
    return found


def _read(path: Path, max_bytes: int) -> bytes | None:
    try:
        with path.open("rb") as handle:
            content = handle.read(max_bytes + 1)
            if len(content) > max_bytes:
                raise DataError(f"{path}: {_too_large(path.stat().st_size, max_bytes)}")
            return content
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error


def _too_large(num_bytes: int, max_bytes: int) -> str:
    return f"has {num_bytes:,} bytes; at most {max_bytes:,} are read"


def _quoted(text: str) -> str:
    """Return a template's words on one line, short, and without a say over the terminal."""
    steering = ("Cc", "Cf", "Cs", "Zl", "Zp")
    shown = "".join(
        character.encode("unicode_escape").decode()
        if unicodedata.category(character) in steering
        else character
        for character in text[:_MAX_QUOTED_CHARACTERS]
    )
    return shown + "…" if len(text) > _MAX_QUOTED_CHARACTERS else shown
