"""A record of JSON Lines, a table or an array → a document: its text, messages or pair."""

from __future__ import annotations

from typing import Any, cast

from llmctl.core.artifacts.documents import (
    MAX_NESTING,
    UNKNOWN_LANGUAGE,
    Document,
    deeper_than,
    named_type,
    said,
    shortened,
)

# Fields that make a pair and those that may stand beside them; the first that fits is taken.
PAIRS: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("chosen", "rejected"), ("prompt",)),
    (("prompt", "completion"), ()),
    (("instruction", "output"), ("input",)),
    (("question", "answer"), ()),
    (("source", "target"), ()),
)
_SCALARS = (str, int, float, type(None))


class NotADocument(ValueError):
    """Why a record holds no document."""


def document_of(record: Any, source: str, number: int, text_field: str) -> Document:
    """Make a document of a record.

    Args:
        record: A JSON value, which the document takes over.
        source: The input's name.
        number: The record's line or number, for an id where it has none of its own.
        text_field: The field that holds the text; `data.body` is a field of a field, unless
            there is one of that very name. Where it is not there or null, `messages`, a
            `pair` or the fields of `PAIRS` are taken.

    Raises:
        NotADocument: It holds none of them, or an empty one.
    """
    if not isinstance(record, dict):
        raise NotADocument(f"expected an object, found {named_type(record)}")
    fields = cast("dict[str, Any]", record)
    is_null = text_field in fields and fields[text_field] is None
    text = fields.pop(text_field, None)
    if text is None and "." in text_field:
        text = _taken(fields, text_field.split("."))
    messages = pair = None
    if text is None:
        messages = _messages(fields)
        pair = _pair(fields) if messages is None else None
        text = ""
        if messages is None and pair is None:
            raise NotADocument(_nothing(fields, text_field, is_null=is_null))
    elif not isinstance(text, str):
        raise NotADocument(f"{text_field!r} is {named_type(text)}, not a string")
    elif not text or text.isspace():
        raise NotADocument(f"{text_field!r} is empty")
    for value in fields.values():
        if not isinstance(value, _SCALARS) and deeper_than(value, MAX_NESTING - 1):
            raise NotADocument(f"nested deeper than {MAX_NESTING} levels")
    own = fields.get("id")
    if isinstance(own, str | int) and not isinstance(own, bool):
        identifier = str(fields.pop("id"))
    else:
        identifier = f"{source}:{number}"
    return Document(identifier, source, UNKNOWN_LANGUAGE, text, fields, messages, pair)


def holds_documents(fields: set[str], text_field: str) -> bool:
    """Tell whether records of these fields can be documents at all."""
    return (
        text_field in fields
        or ("." in text_field and text_field.partition(".")[0] in fields)
        or bool({"messages", "pair"} & fields)
        or any(fields.issuperset(needed) for needed, _ in PAIRS)
    )


def missing_column(columns: list[str], text_field: str) -> str:
    """Say that a table holds no documents and what it holds instead."""
    return f"no column {text_field!r} (columns: {shortened(', '.join(columns)) or 'none'})"


def _taken(fields: dict[str, Any], path: list[str]) -> Any:
    """Take a field of a field out; what is left empty by that goes too."""
    inner = fields.get(path[0])
    if len(path) == 1:
        return fields.pop(path[0], None)
    if not isinstance(inner, dict):
        return None
    taken = _taken(cast("dict[str, Any]", inner), path[1:])
    if taken is not None and not inner:
        del fields[path[0]]
    return taken


def _messages(fields: dict[str, Any]) -> list[dict[str, Any]] | None:
    found = fields.get("messages")
    if found is None:
        return None
    if not isinstance(found, list):
        raise NotADocument(f"'messages' is {named_type(found)}, not a list of objects")
    for place, message in enumerate(cast("list[Any]", found), 1):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise NotADocument(f"message {place} is not an object with a role that is a string")
    if not any(text.strip() for text in said(found)):
        raise NotADocument("'messages' is empty")
    _check_depth(found)
    del fields["messages"]
    return cast("list[dict[str, Any]]", found)


def _pair(fields: dict[str, Any]) -> dict[str, Any] | None:
    found = fields.get("pair")
    if isinstance(found, dict):
        pair = cast("dict[str, Any]", found)
        names: tuple[str, ...] = ("pair",)
    else:
        fitting = (
            (*needed, *others)
            for needed, others in PAIRS
            if all(fields.get(name) is not None for name in needed)
        )
        names = next(fitting, ())
        pair = {name: value for name, value in fields.items() if name in names}
    if not names:
        return None
    if not any(text.strip() for text in said(list(pair.values()))):
        raise NotADocument(f"{' and '.join(pair)} are empty")
    _check_depth(pair)
    for name in names:
        fields.pop(name, None)
    return pair


def _check_depth(value: Any) -> None:
    if deeper_than(value, MAX_NESTING - 1):
        raise NotADocument(f"nested deeper than {MAX_NESTING} levels")


def _nothing(fields: dict[str, Any], text_field: str, *, is_null: bool) -> str:
    if is_null:
        return f"{text_field!r} is null, not a string"
    names = ", ".join(map(str, fields)) or "none"
    return f"no field {text_field!r} (fields: {shortened(names)})"
