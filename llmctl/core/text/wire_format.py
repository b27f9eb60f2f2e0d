"""Lines of a program's messages that stayed in a text when it was saved from a stream.

A chat service sends its answer as events, and who saves them may save the last one with the
text: `{"msg_type":"generate_answer_finish","data":""}`, `data: [DONE]`, `event: done`.
"""

from __future__ import annotations

import re
from typing import cast

import orjson

# Only so much of either end is looked at, and so many messages there: more is a log, or the
# document's subject.
_END_CHARACTERS = 20_000
_MAX_MESSAGES = 20
_MIN_LETTERS = 8

# Fields by which streams number, type and end their messages: OpenAI's and Anthropic's chat
# APIs, Coze and others of their kind in China.
_PROTOCOL_KEY = re.compile(
    r"(?:msg|message|event)_type|(?:finish|stop)_reason|is_(?:finish|finished|end)|"
    r"(?:conversation|message|msg|chat|reply|request|trace|log)_id|logid|delta|choices"
)
# Fields that other records have too, and what they say in a message of a stream.
_TYPE_KEYS = ("event", "type", "object", "status", "msg", "message")
_TYPE_VALUE = re.compile(
    r"(?:chat\.completion|message|content_block|response|thread|conversation)[._][a-z_.]+|"
    r"(?:[a-z_]+[_.-])?(?:done|finish|finished|end|ended|stop|complete|completed|delta)|"
    r"ping|heartbeat|keep-?alive|success|ok",
    re.IGNORECASE,
)
# Server-sent events: WHATWG HTML, section 9.2.
_FIELD = re.compile(r"(data|event|id|retry):[ \t]?(.*)", re.DOTALL)
_EVENT_NAME = re.compile(r"[A-Za-z][\w.-]{0,40}")
_DONE = "[DONE]"
# Where a message begins that no line end parts from the last sentence.
_GLUED = re.compile(r"(?<=[。！？!?.…”’」』）)}\]])[ \t]*(?=\{|data:|event:|\[DONE\])")
_INTRODUCTION = re.compile(
    r"^(?!:).*[:：,，=(（]$|(?:如下|例如|示例|格式|example|following)\W*$", re.IGNORECASE
)
_FENCE = re.compile(r"^[ \t]*(?:```|~~~)", re.MULTILINE)
_LETTER = re.compile(r"[^\W\d_]")


def cut_wire_format(text: str) -> tuple[str, int]:
    """Return a text without the messages of a program at its ends, and how much was cut.

    A message is an object of JSON in one line with the fields of a protocol, or a line of
    server-sent events (`data: …`, `event: …`), or `[DONE]`: alone on a line that is not
    indented, or right after the last sentence. It is cut only from what is prose without it:
    not where nothing but messages is left, inside a code fence, after a line that introduces
    an example, or where the rest of the text has objects of JSON or names the message's
    fields, as a document about them does.

    Returns:
        The text, without the blanks beside what was cut; the number of characters cut.
    """
    end, last = _before_messages(text)
    start, first = _after_messages(text, end)
    messages = first + last
    if not messages or not any(_is_decisive(message) for message in messages):
        return text, 0
    rest = text[start:end]
    if not _is_other_prose(rest, messages, at_end=bool(last)):
        return text, 0
    return rest, len(text) - len(rest)


def _before_messages(text: str) -> tuple[int, list[str]]:
    """Return the end of what comes before the messages at the end of a text, and these."""
    messages: list[str] = []
    end = len(text)
    while len(messages) < _MAX_MESSAGES:
        tail = text[max(0, end - _END_CHARACTERS) : end].rstrip()
        line = tail[tail.rfind("\n") + 1 :]
        if not _is_message(line):
            starts = (match.end() for match in _GLUED.finditer(line))
            line = next((line[at:] for at in starts if _is_message(line[at:])), "")
        if not line:
            break
        messages.append(line)
        end -= len(text[max(0, end - _END_CHARACTERS) : end]) - len(tail) + len(line)
    return (len(text[:end].rstrip()) if messages else end), messages


def _after_messages(text: str, end: int) -> tuple[int, list[str]]:
    """Return the start of what comes after the messages at the start of a text, and these."""
    messages: list[str] = []
    start = 0
    while len(messages) < _MAX_MESSAGES:
        head = text[start : min(end, start + _END_CHARACTERS)]
        line, newline, _ = head.lstrip("\r\n").partition("\n")
        if not newline or not _is_message(line.rstrip()):
            break
        messages.append(line.rstrip())
        start += len(head) - len(head.lstrip("\r\n")) + len(line) + 1
    if messages:
        start += len(text[start:end]) - len(text[start:end].lstrip("\r\n"))
    return start, messages


def _is_message(line: str) -> bool:
    if line.startswith("{"):
        return _is_protocol(line)
    if line == _DONE:
        return True
    field = _FIELD.fullmatch(line)
    if field is None:
        return False
    name, value = field[1], field[2].strip()
    if name == "data":
        return value == _DONE or (value.startswith("{") and _object(value) is not None)
    return bool(_EVENT_NAME.fullmatch(value) if name == "event" else re.fullmatch(r"\S+", value))


def _is_decisive(message: str) -> bool:
    """Return whether a message shows what it is without others beside it."""
    if message.startswith("event:"):
        return _TYPE_VALUE.fullmatch(message.removeprefix("event:").strip()) is not None
    return message.endswith(_DONE) or _is_protocol(message.removeprefix("data:").strip())


def _is_protocol(text: str) -> bool:
    message = _object(text)
    if message is None:
        return False
    if any(map(_PROTOCOL_KEY.fullmatch, message)):
        return True
    values = [message.get(key) for key in _TYPE_KEYS]
    return any(isinstance(value, str) and _TYPE_VALUE.fullmatch(value) for value in values)


def _object(text: str) -> dict[str, object] | None:
    if not text.endswith("}"):
        return None
    try:
        value = orjson.loads(text)
    except ValueError:
        return None
    return cast("dict[str, object]", value) if isinstance(value, dict) else None


def _is_other_prose(rest: str, messages: list[str], *, at_end: bool) -> bool:
    if len(_LETTER.findall(rest[:1000])) < _MIN_LETTERS or rest[0] in "{[<":
        return False
    if at_end and _INTRODUCTION.search(rest[rest.rfind("\n") + 1 :][-200:]):
        return False
    if '{"' in rest or _DONE in rest or "\ndata:" in rest or len(_FENCE.findall(rest)) % 2:
        return False
    return not any(name in rest for name in _names(messages))


def _names(messages: list[str]) -> set[str]:
    """Return the names of the messages' fields that prose about anything else lacks."""
    names: set[str] = set()
    for message in messages:
        fields = _object(message.removeprefix("data:").strip()) or {}
        names.update(name for name in fields if "_" in name and _PROTOCOL_KEY.fullmatch(name))
    return names
