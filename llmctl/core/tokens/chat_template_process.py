"""The process in which a checkpoint's chat template runs: a sandbox with little memory.

Run by `TemplateRenderer`, never imported by it. One line of JSON on standard input holds
conversations, one on standard output an answer for each: `text`, and of each of the
`beginnings` asked for how many characters of the text it is (-1: it is none); or `refusal`,
the template's own words; or `fault`, with the `line` where it is known. When the parent dies,
standard input ends; a rendering that goes on without a parent is ended by an alarm. The
environment is that of transformers' `apply_chat_template`, with attributes that begin with an
underscore refused at once instead of when they are used.
"""

from __future__ import annotations

import contextlib
import functools
import json
import resource
import signal
import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

_GRACE_SECONDS = 1.0  # the parent, which explains, comes first
_REASONING_NAMES = ("reasoning_content", "thinking", "reasoning")

Answer = dict[str, Any]


class Refusal(jinja2.TemplateError):
    """What a template says by `raise_exception`."""


class TooLong(Exception):
    """The text is longer than allowed."""


class Sandbox(ImmutableSandboxedEnvironment):
    """Neither changes what it is given nor reaches what lies behind it."""

    def unsafe_undefined(self, obj: Any, attribute: str) -> NoReturn:
        """Refuse an attribute, where the library would first give something empty."""
        raise jinja2.exceptions.SecurityError(
            f"the attribute {attribute!r} of {type(obj).__name__!r} is not for templates"
        )


class GenerationBlock(Extension):
    """`{% generation %}`: what a model learns to write; shown between marks where asked for."""

    marks = ("", "")
    tags = {"generation"}  # noqa: RUF012 - as the library declares it

    def parse(self, parser: Parser) -> nodes.Node:
        """Read the block; it is a call, so that what is set inside stays inside."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("body_text"), [], [], body).set_lineno(line)

    def body_text(self, caller: Callable[[], str]) -> str:
        """Return the body between the marks."""
        before, after = self.marks
        return before + caller() + after


class PlainNamespace(Namespace):
    """A namespace without a way to names that begin with an underscore."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        namespace, *rest = args  # not `self`, which may be a name in it
        values = dict(*rest, **kwargs)
        for name in values:
            _refuse_private(name)
        Namespace.__init__(namespace, values)

    def __setitem__(self, name: str, value: Any) -> None:
        _refuse_private(name)
        super().__setitem__(name, value)


class PlainDict:
    """`dict` for templates: makes one, and leads nowhere."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        """As `dict`."""
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any) -> dict[Any, Any]:
        """As `dict.fromkeys`."""
        return dict.fromkeys(*args)


def _refuse_private(name: object) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise jinja2.exceptions.SecurityError(
            f"a namespace takes no name that begins with an underscore, got {name!r}"
        )


def _raise_exception(message: object) -> NoReturn:
    raise Refusal(str(message))


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # Unlike the library's own, it does not write < and > out for HTML.
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _formatted_now(pattern: str) -> str:
    return datetime.now().strftime(pattern)


@functools.lru_cache(maxsize=1)
def _compiled(source: str) -> jinja2.Template:
    sandbox = Sandbox(
        trim_blocks=True, lstrip_blocks=True, extensions=[GenerationBlock, loopcontrols]
    )
    sandbox.filters["tojson"] = _to_json
    functions: dict[str, Any] = {
        "raise_exception": _raise_exception,
        "strftime_now": _formatted_now,
        "dict": PlainDict(),
        "namespace": PlainNamespace,
    }
    sandbox.globals.update(functions)
    return sandbox.from_string(source)


def _with_reasoning_names(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message whose reasoning is found under each name that templates read."""
    present = {name: value for name, value in message.items() if value is not None}
    reasoning = next((present[name] for name in _REASONING_NAMES if name in present), None)
    if reasoning is None:
        return present
    return {"thinking": reasoning, **present, "reasoning_content": reasoning}


def _text(template: jinja2.Template, variables: dict[str, Any], max_characters: int) -> str:
    pieces: list[str] = []
    num_characters = 0
    for piece in template.root_render_func(template.new_context(variables)):
        num_characters += len(piece)
        if num_characters > max_characters:
            raise TooLong
        pieces.append(piece)
    return "".join(pieces)


def _rendered(request: dict[str, Any], conversation: dict[str, Any], max_characters: int) -> Answer:
    template = _compiled(request["source"])
    block = template.environment.extensions[GenerationBlock.identifier]
    block.marks = request.get("marks") or ("", "")  # pyright: ignore[reportAttributeAccessIssue]
    messages = [_with_reasoning_names(message) for message in conversation["messages"]]
    variables = request["variables"]
    text = _text(template, {**variables, "messages": messages}, max_characters)
    lengths: list[int] = []
    for num_messages, prompts in conversation.get("beginnings", ()):
        part = {"messages": messages[:num_messages], "add_generation_prompt": prompts}
        try:
            beginning = _text(template, {**variables, **part}, max_characters)
        except Exception:  # it may well refuse half a conversation
            beginning = None
        known = beginning is not None and text.startswith(beginning)
        lengths.append(len(beginning) if known and beginning else -1)
    return {"text": text, "beginnings": lengths}


def _answer(request: dict[str, Any], conversation: dict[str, Any], max_characters: int) -> Answer:
    try:
        return _rendered(request, conversation, max_characters)
    except Refusal as refusal:
        return {"refusal": str(refusal)}
    except TooLong:
        return {"fault": f"it writes more than {max_characters:,} characters", "line": None}
    except MemoryError:
        return {"fault": "it needs too much memory", "line": None}
    except RecursionError:
        return {"fault": "it is nested too deeply", "line": None}
    except jinja2.TemplateSyntaxError as error:
        return {"fault": error.message or "wrong syntax", "line": error.lineno}
    except Exception as error:  # a template can make any operation fail
        return {"fault": str(error) or type(error).__name__, "line": _line(error.__traceback__)}


def _line(traceback: TracebackType | None) -> int | None:
    """Return the template's line that was running, by the innermost frame of a template."""
    line = None
    while traceback is not None:
        template = traceback.tb_frame.f_globals.get("__jinja_template__")
        if isinstance(template, jinja2.Template):
            line = template.get_corresponding_lineno(traceback.tb_lineno)
        traceback = traceback.tb_next
    return line


def _limit_memory(max_bytes: int) -> None:
    for kind, limit in ((resource.RLIMIT_AS, max_bytes), (resource.RLIMIT_CORE, 0)):
        with contextlib.suppress(ValueError, OSError):  # not every system knows the first
            resource.setrlimit(kind, (limit, limit))


def _main(max_bytes: int, max_characters: int, time_limit_seconds: float) -> None:
    _limit_memory(max_bytes)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    output = sys.stdout.buffer
    output.write(b"\n")  # ready
    output.flush()
    for line in sys.stdin.buffer:
        signal.setitimer(signal.ITIMER_REAL, time_limit_seconds + _GRACE_SECONDS)
        request = json.loads(line)
        answers = [
            _answer(request, conversation, max_characters)
            for conversation in request["conversations"]
        ]
        signal.setitimer(signal.ITIMER_REAL, 0)
        output.write(json.dumps(answers).encode() + b"\n")
        output.flush()


if __name__ == "__main__":
    _main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
