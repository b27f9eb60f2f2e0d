"""The texts of evaluation files, each with its name: what a corpus must not hold.

Of a text file each line is an item; of JSON Lines, the strings in the fields asked for. A
dotted path leads into objects, and through lists to each of their members; where it ends at
a list, each string of it is an item, and of each message its content.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from llmctl.core.artifacts.documents import KINDS, format_of, named_type, not_utf8, shortened
from llmctl.core.artifacts.sources import Source, resolve_sources
from llmctl.core.artifacts.streams import MAX_LINE_BYTES, DamagedStream, lines, unpacked, utf8
from llmctl.core.errors import DataError, RecipeError
from llmctl.core.progress import Progress

# A message's text as chat templates have it, and as ShareGPT's files do.
_CONTENT_FIELDS = ("content", "value")
_MAX_FIELDS_NAMED = 30


def evaluation_sources(
    files: Sequence[str],
    base: Path,
    progress: Progress | None = None,
    key: str = "clean.decontaminate.files",
) -> list[Source]:
    """Find the evaluation files of a recipe.

    Args:
        files: Files, directories, globs, "hub:owner/dataset" and "https://…".
        base: What relative paths are relative to.
        progress: Told of what is downloaded; None: only what was downloaded before is there.
        key: The recipe's key that names the files.

    Raises:
        MissingInputError: One matches nothing that can be read.
        RecipeError: It is no text file and no JSON Lines.
    """
    sources = resolve_sources(files, base, progress=progress)
    for source in sources:
        found = format_of(source.path.name) if source.origin == "file" else None
        if found is None or found[0] not in ("text", "jsonl"):
            known = ", ".join(ending for ending, kind in KINDS.items() if kind in ("text", "jsonl"))
            raise RecipeError(
                f"{key}: {source.name} cannot be read for that; it takes "
                f"files ending in {known}, each also with .gz, .zst or .xz"
            )
    return sources


def read_evaluation_items(
    sources: Sequence[Source], fields: Sequence[str], key: str = "clean.decontaminate.files"
) -> Iterator[tuple[str, str]]:
    """Yield the name, such as "gsm8k/test.jsonl:12", and the text of each item.

    Items of one record have one name. Empty lines and empty strings are passed over.

    Args:
        sources: What `evaluation_sources` found.
        fields: The fields of a record; those that it lacks are passed over.
        key: The recipe's key that names the files.

    Raises:
        DataError: A file is damaged, a line is not UTF-8 or no JSON object, or a file holds
            no item.
        MissingInputError: A file has gone.
    """
    for source in sources:
        found = format_of(source.path.name)
        is_text = found is not None and found[0] == "text"
        others: dict[str, None] = {}
        is_empty = True
        for place, line in _read(source):
            texts = [_decoded(line, place)] if is_text else []
            if not is_text:
                record = _record(line, place)
                others.update(dict.fromkeys(map(str, record)))
                texts = [text for field in fields for text in _texts(record, field.split("."))]
            for text in texts:
                if text.strip():
                    is_empty = False
                    yield place, text
        if is_empty:
            raise DataError(_nothing_in(source.name, fields, list(others), key))


def _nothing_in(name: str, fields: Sequence[str], others: Sequence[str], key: str) -> str:
    if not others:
        return f"{name}: holds nothing to look for; take it out of {key}"
    return (
        f"{name}: no record has a text in {' or '.join(map(repr, fields)) or 'no field at all'}; "
        f"its fields are {', '.join(map(shortened, others[:_MAX_FIELDS_NAMED]))}; name those to "
        f"look for in {key.replace('files', 'fields')}"
    )


def _read(source: Source) -> Iterator[tuple[str, bytes]]:
    """Yield the place and the bytes of each line that is not empty."""
    found = format_of(source.path.name)
    number = 0
    with source.open() as reader:
        try:
            for number, line in enumerate(
                lines(utf8(unpacked(reader, found[1] if found else ""))), 1
            ):
                place = f"{source.name}:{number}"
                if line is None:
                    raise DataError(f"{place}: a line of more than {MAX_LINE_BYTES:,} bytes")
                if line.strip():
                    yield place, line
        except DamagedStream as damage:
            raise DataError(f"{source.name}:{number + 1}: {damage}") from damage


def _decoded(line: bytes, place: str) -> str:
    try:
        return line.decode("utf-8").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise DataError(f"{place}: {not_utf8(error)}") from error


def _record(line: bytes, place: str) -> dict[str, Any]:
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise DataError(f"{place}: not JSON: {error}") from error
    if not isinstance(record, dict):
        raise DataError(f"{place}: expected an object, found {named_type(record)}")
    return record


def _texts(value: Any, path: Sequence[str]) -> Iterator[str]:
    if isinstance(value, list):
        for member in value:
            yield from _texts(member, path)
    elif isinstance(value, dict):
        if path:
            whole = ".".join(path)
            if whole in value:
                yield from _texts(value[whole], ())
            elif path[0] in value:
                yield from _texts(value[path[0]], path[1:])
        else:
            content = (value[name] for name in _CONTENT_FIELDS if name in value)
            yield from (text for text in content if isinstance(text, str))
    elif isinstance(value, str) and not path:
        yield value
