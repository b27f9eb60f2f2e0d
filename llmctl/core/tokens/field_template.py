r"""Pairs → a prompt and its answer: templates with the names of fields in braces.

Without templates the fields that are usual are written plainly:

    question, answer                "{question}\n"                 "{answer}"
    instruction, output             "{instruction}\n"              "{output}"
    instruction, input, output      "{instruction}\n{input}\n"    "{output}"
    prompt, completion              "{prompt}"                      "{completion}"
    prompt, response                "{prompt}\n"                   "{response}"
    source, target                  "{source}\n"                   "{target}"
    chosen, rejected (and prompt)   "{prompt}\n", or ""            "{chosen}", then "{rejected}"

A completion goes on where its prompt ends, so nothing stands between them. A template for
preferences names `{chosen}`: it is filled with the chosen answer and then with the rejected.
"""

from __future__ import annotations

import string
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from llmctl.core.errors import DataError, RecipeError

CHOSEN, REJECTED = "chosen", "rejected"
_USUAL = (
    ("question", "answer", "\n"),
    ("instruction", "output", "\n"),
    ("prompt", "completion", ""),
    ("prompt", "response", "\n"),
    ("source", "target", "\n"),
    ("prompt", CHOSEN, "\n"),
)


@dataclass(frozen=True, slots=True)
class FieldTemplate:
    """Text with fields in it.

    Attributes:
        parts: Text, and the name of the field after it; the last has none.
    """

    parts: tuple[tuple[str, str | None], ...]

    @classmethod
    def parse(cls, key: str, source: str) -> FieldTemplate:
        """Read a template: `{name}` is a field, `{{` and `}}` are braces.

        Args:
            key: The recipe's key, for messages.
            source: The template.

        Raises:
            RecipeError: A brace has no other, or a field is not a plain name.
        """
        try:
            parts = tuple(string.Formatter().parse(source))
        except ValueError as error:
            raise RecipeError(
                f"{key}: {error}; a field is written {{name}}, a brace {{{{ or }}}}, in {source!r}"
            ) from error
        for _, name, format_spec, conversion in parts:
            if name is not None and (format_spec or conversion or not name.strip()):
                raise RecipeError(
                    f"{key}: expected the name of a field and nothing else in braces, found "
                    f"{{{name}...}} in {source!r}"
                )
        return cls(tuple((text, name) for text, name, _, _ in parts))

    @property
    def fields(self) -> list[str]:
        """The names of its fields, in order."""
        return [name for _, name in self.parts if name is not None]

    def fill(self, pair: Mapping[str, Any]) -> str:
        """Return the text with a pair's fields in their places.

        Raises:
            DataError: A field is missing, or holds no text.
        """
        return "".join(
            text if name is None else text + _text(pair, name) for text, name in self.parts
        )


@dataclass(frozen=True, slots=True)
class PairTemplate:
    """How pairs are written.

    Attributes:
        prompt: What is not learned.
        answer: What is.
    """

    prompt: FieldTemplate
    answer: FieldTemplate

    @classmethod
    def parse(cls, prompt: str, answer: str) -> PairTemplate:
        """Read `tokenize.prompt_template` and `tokenize.answer_template`.

        Raises:
            RecipeError: One of them is faulty.
        """
        return cls(
            FieldTemplate.parse("tokenize.prompt_template", prompt),
            FieldTemplate.parse("tokenize.answer_template", answer),
        )

    def require_fields(self, known: Collection[str]) -> None:
        """Refuse a template with a field that no pair has.

        Args:
            known: The fields of some pairs.

        Raises:
            RecipeError: There is such a field.
        """
        keys = {"tokenize.prompt_template": self.prompt, "tokenize.answer_template": self.answer}
        for key, template in keys.items():
            for name in template.fields:
                if name not in known:
                    listed = ", ".join(sorted(known))
                    raise RecipeError(f"{key}: no field {name!r} in the pairs; they have {listed}")

    @classmethod
    def usual(cls, pair: Mapping[str, Any]) -> PairTemplate | None:
        """Return the plain form of a pair of usual fields; None of others."""
        for asked, answered, between in _USUAL:
            if asked in pair and answered in pair:
                names = (
                    [asked, "input"] if asked == "instruction" and pair.get("input") else [asked]
                )
                prompt = tuple(part for name in names for part in (("", name), (between, None)))
                return cls(FieldTemplate(prompt), FieldTemplate((("", answered),)))
        if CHOSEN in pair:
            return cls(FieldTemplate(()), FieldTemplate((("", CHOSEN),)))
        return None


def is_preference(pair: Mapping[str, Any]) -> bool:
    """Tell whether a pair is a chosen and a rejected answer."""
    return CHOSEN in pair and REJECTED in pair


def preference_sides(pair: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a preference as two pairs, each with its answer as the chosen one."""
    others = {name: value for name, value in pair.items() if name != REJECTED}
    return [{**others, CHOSEN: pair[side]} for side in (CHOSEN, REJECTED)]


def _text(pair: Mapping[str, Any], name: str) -> str:
    value = pair.get(name)
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if value is None:
        raise DataError(f"no field {name!r}; there are {', '.join(map(repr, pair))}")
    raise DataError(f"the field {name!r} is no text, but a {type(value).__name__}")
