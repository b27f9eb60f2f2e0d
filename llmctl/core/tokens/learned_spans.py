"""Conversations → the text that a model reads, and which stretches of it the model learns.

Learned is what the assistant says and the special token that ends its turn; the header before
it is not. Where a turn begins is told by the template's own `{% generation %}` blocks if it
has any; else by the length of the text up to its generation prompt; and where a template
writes earlier turns otherwise than the last, by marks in the contents, if the text is the same
with them.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from llmctl.core.errors import DataError, MissingInputError, RecipeError
from llmctl.core.tokens.chat_template import (
    MAX_TEMPLATE_BYTES,
    ChatTemplate,
    Message,
    Rendered,
    RenderRequest,
    TemplateRenderer,
    read_chat_template,
)
from llmctl.core.tokens.special_literals import SpecialLiterals

CHATML = """\
{%- for message in messages %}
    {%- if message.tool_calls or not message.role or not message.content is string %}
        {{- raise_exception('the built-in ChatML writes a role and a text; for tool calls and \
contents in parts give tokenize.chat_template') }}
    {%- endif %}
    {{- '<|im_start|>' + message.role + '\\n' }}
    {%- if message.role == 'assistant' %}
        {%- generation %}{{- message.content + '<|im_end|>' }}{%- endgeneration %}
    {%- else %}
        {{- message.content + '<|im_end|>' }}
    {%- endif %}
    {{- '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}
"""

# Unicode will never give these a meaning: a break in special tokens, the ends of a block, and
# where a turn may begin, with its number in digits of their own.
_BREAK, _OPEN, _CLOSE, _TURN = "\ufdd0", "\ufdd1", "\ufdd2", "\ufdd3"
_FIRST_DIGIT = 0xFDE0
_TURN_MARKS = re.compile(f"{_TURN}[\ufde0-\ufde9]+")
_MARKS = re.compile("[\ufdd0-\ufdef]")
_GENERATION = re.compile(r"\{%[-+]?\s*generation\b")
_PROBE = "‹reply›"
_ASKED, _SAID = {"role": "user", "content": "?"}, {"role": "assistant", "content": _PROBE}
_PROBES = ([_ASKED, _SAID, _ASKED], [_ASKED, _SAID])
_NAMED = re.compile(r"<\|[^\s|<>]{1,60}\|>")
# Where what an assistant says may begin: templates leave out what it thought.
_BEGINNING = re.compile(r"\A\s*|</think>\s*")


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of text, or one special token in it.

    Attributes:
        parts: The text, cut where what is learned begins or ends: each part, and whether it
            is learned. A special token has one part.
        token: The special token's id; None for text.
    """

    parts: tuple[tuple[str, bool], ...]
    token: int | None = None

    @property
    def text(self) -> str:
        """The parts together."""
        return "".join(text for text, _ in self.parts)


def resolve_chat_template(
    path: str | None, base: Path, tokenizer_directory: Path | None, end_token: str
) -> ChatTemplate:
    """Return the template of conversations: a file, else the tokenizer's, else ChatML.

    Args:
        path: `tokenize.chat_template`, relative to `base`.
        base: The recipe's directory.
        tokenizer_directory: Of a model or a tokenizer, if one was given.
        end_token: `eos_token` for a template where no directory tells it.

    Raises:
        MissingInputError: The file cannot be read.
        DataError: The file or the directory is damaged.
    """
    given = read_chat_template(tokenizer_directory) if tokenizer_directory else None
    if path is None:
        return given or ChatTemplate(CHATML, {})
    try:
        source = (base / path).read_bytes()[: MAX_TEMPLATE_BYTES + 1].decode("utf-8")
    except OSError as error:
        raise MissingInputError(
            f"{base / path}: tokenize.chat_template cannot be read: {error.strerror}"
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{base / path}: damaged: not UTF-8 at byte {error.start:,}") from error
    return ChatTemplate(source, given.special_tokens if given else {"eos_token": end_token})


class ConversationCutter:
    """Renders conversations and cuts them into pieces; a context manager, which owns a process.

    Special tokens in what is said stay text, whatever the template makes of it.

    Args:
        template: What to render with.
        literals: The special tokens of the vocabulary.
    """

    def __init__(self, template: ChatTemplate, literals: SpecialLiterals) -> None:
        self._renderer = TemplateRenderer(template)
        self._literals = literals
        self._has_blocks = _GENERATION.search(template.source) is not None
        self._manner: _Manner | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._renderer.__exit__(kind, error, traceback)

    def probe(self) -> tuple[Piece, ...]:
        """Return a short conversation in pieces; none where the template refuses it."""
        pieces = self.cut([_PROBES[1]])[0]
        return () if isinstance(pieces, DataError) else pieces

    def require_special_tokens(self) -> None:
        """Refuse a vocabulary without the special tokens that the template writes.

        Raises:
            RecipeError: One is missing.
        """
        texts = [piece.text for piece in self.probe() if piece.token is None]
        missing = list(dict.fromkeys(_NAMED.findall(" ".join(texts))))
        if missing:
            listed = ", ".join(f'"{name}"' for name in missing)
            raise RecipeError(
                f"the chat template writes {' and '.join(missing)}, which the vocabulary has not "
                f"as special tokens; set tokenize.special_tokens: [{listed}], or give a "
                "tokenize.chat_template that goes with the tokenizer"
            )

    def cut(
        self, conversations: Sequence[Sequence[Message]], given_turns: Sequence[int] | None = None
    ) -> list[tuple[Piece, ...] | DataError]:
        """Return the pieces of each conversation, or what is wrong with it.

        Args:
            conversations: Each oldest message first.
            given_turns: So many first turns of the assistant in each are not learned; None: 0.

        Raises:
            ValueError: A conversation has no message.
            LlmctlError: The template's process does not start.
        """
        safe = [self._safe(messages) for messages in conversations]
        sound = [messages for messages in safe if not isinstance(messages, DataError)]
        located = iter(self._by_blocks(sound) if self._has_blocks else self._by_beginnings(sound))
        found: list[tuple[Piece, ...] | DataError] = []
        for number, messages in enumerate(safe):
            each = messages if isinstance(messages, DataError) else next(located)
            if not isinstance(each, DataError):
                text, spans = each
                first = given_turns[number] if given_turns is not None else 0
                each = tuple(self._pieces(text, spans[first:]))
            found.append(each)
        return found

    def _safe(self, messages: Sequence[Message]) -> list[Message] | DataError:
        def broken(text: str) -> str:
            mark = None if text.isascii() else _MARKS.search(text)
            if mark:
                raise DataError(
                    f"a message holds the character U+{ord(mark[0]):X}, which marks places in "
                    "conversations here and means nothing in a text; remove it"
                )
            return self._literals.broken(text, _BREAK)

        try:
            return _mapped(list(messages), broken)
        except DataError as error:
            return error

    def _by_blocks(
        self, conversations: Sequence[Sequence[Message]]
    ) -> list[tuple[str, _Spans] | DataError]:
        requests = [RenderRequest(messages) for messages in conversations]
        rendered = self._renderer.render_batch(requests, marks=(_OPEN, _CLOSE))
        return [each if isinstance(each, DataError) else _unmarked(each.text) for each in rendered]

    def _by_beginnings(
        self, conversations: Sequence[Sequence[Message]]
    ) -> list[tuple[str, _Spans] | DataError]:
        manner = self._manner = self._manner or self._study()
        rendered = self._renderer.render_batch(
            [RenderRequest(messages, manner.beginnings(messages)) for messages in conversations]
        )
        turns: list[_Turns | DataError] = [
            each if isinstance(each, DataError) else _Turns(messages, each, manner)
            for messages, each in zip(conversations, rendered, strict=True)
        ]
        unclear = [each for each in turns if isinstance(each, _Turns) and -1 in each.starts]
        marked = self._renderer.render_batch([each.marked() for each in unclear])
        for each, again in zip(unclear, marked, strict=True):
            if isinstance(again, Rendered):
                each.begin_at_marks(again.text)
        return [each if isinstance(each, DataError) else each.located() for each in turns]

    def _study(self) -> _Manner:
        """Look at a conversation whose contents are known."""
        inner, last = self._renderer.render_batch(
            [RenderRequest(messages, [(1, True), (1, False)]) for messages in _PROBES]
        )
        if isinstance(inner, DataError) or isinstance(last, DataError):
            return _Manner(None, None, is_prompted=True)
        ends = [
            self._literals.at_beginning(each.text.partition(_PROBE)[2].lstrip())
            for each in (inner, last)
        ]
        prompted, unprompted = last.beginnings
        before, found, _ = last.text.partition(_PROBE)
        has_special = not found or any(self._literals.occurrences(before[unprompted:]))
        return _Manner(*ends, is_prompted=prompted != unprompted or not has_special)

    def _pieces(self, text: str, spans: _Spans) -> Iterator[Piece]:
        position = 0
        for start, stop, token in self._literals.occurrences(text):
            if position < start:
                yield Piece(_parts(text, position, start, spans))
            learned = _parts(text, start, stop, spans) == ((text[start:stop], True),)
            yield Piece(((text[start:stop], learned),), token)
            position = stop
        if position < len(text):
            yield Piece(_parts(text, position, len(text), spans))


_Spans = list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class _Manner:
    """How a template without generation blocks writes the assistant's turns.

    Attributes:
        inner_end: The special token after a turn that is not the last, if there is one.
        last_end: The one after the last.
        is_prompted: Its generation prompt tells where a turn begins.
    """

    inner_end: str | None
    last_end: str | None
    is_prompted: bool

    def beginnings(self, messages: Sequence[Message]) -> list[tuple[int, bool]]:
        """Return what of a conversation comes before each turn, and all up to its end."""
        numbers = _assistants(messages)
        before = [(number, True) for number in numbers] if self.is_prompted else []
        return before + [(number + 1, False) for number in numbers]


class _Turns:
    """The assistant's turns of a conversation, which are to be found in its text."""

    def __init__(self, messages: Sequence[Message], rendered: Rendered, manner: _Manner) -> None:
        self._messages = messages
        self._text = rendered.text
        self._manner = manner
        self._numbers = _assistants(messages)
        num_turns, known = len(self._numbers), list(rendered.beginnings)
        self.starts = known[:num_turns] if manner.is_prompted else [-1] * num_turns
        self._stops = known[-num_turns:]

    def marked(self) -> RenderRequest:
        """Return the conversation with a mark of its own wherever a turn's text may begin."""
        marked = list(self._messages)
        for turn, number in enumerate(self._numbers):
            mark = _turn_mark(turn)
            content = _mapped(
                marked[number].get("content"),
                lambda text, mark=mark: _BEGINNING.sub(lambda found: found[0] + mark, text),
            )
            marked[number] = {**marked[number], "content": content}
        return RenderRequest(marked)

    def begin_at_marks(self, marked: str) -> None:
        """Take the places of marks for the starts that are not known, if they changed nothing."""
        if _TURN_MARKS.sub("", marked) != self._text:
            return
        for turn, start in enumerate(self.starts):
            before, found, _ = marked.partition(_turn_mark(turn))
            if found and start == -1:
                # The space after "Assistant:" belongs to the token that follows.
                self.starts[turn] = len(_TURN_MARKS.sub("", before).rstrip(" "))

    def located(self) -> tuple[str, _Spans] | DataError:
        """Return the text and where the turns stand in it, each with the token that ends it."""
        spans: _Spans = []
        for turn, (number, start) in enumerate(zip(self._numbers, self.starts, strict=True)):
            stop = self._stop(turn)
            if start == -1 or stop == -1:
                return DataError(
                    f"it cannot be told where message {number + 1}, of the assistant, "
                    f"{'begins' if start == -1 else 'ends'} in what the chat template writes; put "
                    "{% generation %} and {% endgeneration %} around it in the template"
                )
            spans.append((start, stop))
        return self._text, spans

    def _stop(self, turn: int) -> int:
        start, known = self.starts[turn], self._stops[turn]
        following = next(iter(self.starts[turn + 1 :]), len(self._text))
        is_last = self._numbers[turn] == len(self._messages) - 1
        ends = (self._manner.inner_end, self._manner.last_end)
        for end in reversed(ends) if is_last else ends:
            # With some the header of the next message is what ends a turn.
            limit = following if known == -1 else min(following, known + len(end or ""))
            found = self._text.find(end, start, limit) if end else -1
            if end and found != -1:
                return found + len(end)
        return known


def _parts(text: str, start: int, stop: int, spans: _Spans) -> tuple[tuple[str, bool], ...]:
    """Cut a stretch at the borders of spans, and put together what was broken."""
    parts: list[tuple[str, bool]] = []
    for first, last in spans[bisect_right(spans, start, key=itemgetter(1)) :]:
        if first >= stop:
            break
        parts += [(text[start:first], False), (text[max(start, first) : min(last, stop)], True)]
        start = min(last, stop)
    parts.append((text[start:stop], False))
    whole = ((part.replace(_BREAK, ""), learned) for part, learned in parts)
    return tuple((part, learned) for part, learned in whole if part)


def _turn_mark(turn: int) -> str:
    """All of one length, so that none is the beginning of another."""
    return _TURN + "".join(chr(_FIRST_DIGIT + int(digit)) for digit in f"{turn:09d}")


def _assistants(messages: Sequence[Message]) -> list[int]:
    return [number for number, each in enumerate(messages) if each.get("role") == "assistant"]


def _unmarked(text: str) -> tuple[str, _Spans]:
    """Take the marks of generation blocks out of a text, and return what stood between them."""
    pieces: list[str] = []
    spans: _Spans = []
    length = depth = 0
    for piece in re.split(f"([{_OPEN}{_CLOSE}])", text):
        if piece in (_OPEN, _CLOSE):
            depth += 1 if piece == _OPEN else -1
            continue
        if depth and piece:
            spans.append((length, length + len(piece)))
        pieces.append(piece)
        length += len(piece)
    return "".join(pieces), spans


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    """Return a JSON value with each of its strings, names of fields too, changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {change(name): _mapped(item, change) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_mapped(item, change) for item in value]
    return value
