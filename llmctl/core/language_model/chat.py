"""A conversation with a model: its template's text as ids, and replies as they are written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from llmctl.core.decoding.memory import Memory
from llmctl.core.errors import UsageError
from llmctl.core.language_model.completion import Completer, Prompt
from llmctl.core.language_model.language_model import LanguageModel
from llmctl.core.recipe import GeneratePlan, generation_plan
from llmctl.core.tokens.chat_template import ChatTemplate, Message, TemplateRenderer

_PROBE = "‹reply›"


class Chat:
    """Replies of one model; a context manager, which owns the process that renders.

    Args:
        model: Who replies.
        template: Its own.
        plan: How a reply is drawn.
        seed: Of the first reply; each further one draws with the next seed.
    """

    def __init__(
        self, model: LanguageModel, template: ChatTemplate, plan: GeneratePlan, *, seed: int
    ) -> None:
        self._model = model
        self._plan = plan
        self._seed = seed
        self._renderer = TemplateRenderer(template)
        self._end_of_turn_ids: frozenset[int] | None = None
        self._memory = Memory()

    def __enter__(self) -> Self:
        self._renderer.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._renderer.__exit__(kind, error, traceback)

    @property
    def completer(self) -> Completer:
        """What continues prompts, ends where a reply does, and remembers the last turn."""
        completer = self._model.completer
        stops = completer.stop_ids | self._ends_of_turn()
        return replace(completer, stop_ids=stops, memory=self._memory)

    @staticmethod
    def opening(text: str, system: str | None) -> list[Message]:
        """Return a conversation that begins with a message of the user."""
        said = [("system", system), ("user", text)]
        return [{"role": role, "content": content} for role, content in said if content is not None]

    def prompt(self, messages: Sequence[Message]) -> Prompt:
        """Return what the model reads before it replies to the last message.

        A template writes the token that begins a text itself; where a tokenizer would add
        another, or a template has written two, one is kept.

        Raises:
            DataError: The template refuses the conversation or breaks a limit.
        """
        text = self._renderer.render(messages)
        ids = self._model.tokenizer.encode_rendered(text)
        begin = self._model.generation.begin_id
        while len(ids) > 1 and ids[0] == ids[1] == begin:
            ids = ids[1:]
        return Prompt(text, tuple(ids))

    def reply(self, messages: Sequence[Message], write: Callable[[str], None]) -> str:
        """Write a reply to the last message piece by piece, and return it whole.

        Raises:
            DataError: The template refuses the conversation, or the conversation is longer
                than the context.
            NumericsError: The model's logits are not finite.
        """
        pieces = self.completer.stream(self.prompt(messages), self._plan, seed=self._seed)
        self._seed += 1
        while True:
            try:
                write(next(pieces))
            except StopIteration as end:
                return end.value.text

    def change(self, setting: str, value: str) -> None:
        """Change how replies are drawn from now on.

        Raises:
            UsageError: There is no such setting, or it takes no such value.
        """
        if setting not in GeneratePlan.model_fields:
            names = ", ".join(sorted(GeneratePlan.model_fields))
            raise UsageError(f"no setting {setting!r}; there are {names}")
        given = self._plan.model_dump() | {setting: _value(value)}
        self._plan = generation_plan(**given)

    def _ends_of_turn(self) -> frozenset[int]:
        """The special token that the template writes after a reply, if it writes one.

        Many a checkpoint names only the end of a text in its configuration.
        """
        if self._end_of_turn_ids is None:
            said = [("user", "?"), ("assistant", _PROBE)]
            messages = [{"role": role, "content": content} for role, content in said]
            text = self._renderer.render(messages, add_generation_prompt=False)
            rest = text.rpartition(_PROBE)[2].lstrip()
            ids = self._model.tokenizer.encode_rendered(rest)[:1]
            special = self._model.tokenizer.special_ids
            self._end_of_turn_ids = frozenset(ids) & special
        return self._end_of_turn_ids


def _value(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"none": None, "null": None, "true": True, "false": False}.get(text.lower(), text)
