"""YAML with positions: scalars by YAML 1.2, duplicates refused, every error with its line."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydantic
import yaml

from llmctl.core.errors import MissingInputError, RecipeError

Location = tuple[str | int, ...]

MAX_BYTES = 1_000_000
MAX_DEPTH = 20
MAX_NUMBER_CHARACTERS = 1000  # Python converts no more than 4,300 digits

# The core schema of YAML 1.2.2, section 10.3.2; PyYAML knows 1.1, where 1e-5 is a string
# and `no` is False.
_NULL = re.compile(r"(?:null|Null|NULL|~|)")
_TRUE = re.compile(r"(?:true|True|TRUE)")
_FALSE = re.compile(r"(?:false|False|FALSE)")
_INTEGER = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"[-+]?(?:\.inf|\.Inf|\.INF)")
_SURROGATE = re.compile("[\ud800-\udfff]")
_NOT_A_NUMBER = re.compile(r"(?:\.nan|\.NaN|\.NAN)")


@dataclass(frozen=True, order=True)
class Place:
    """Where something was written; places sort in the file's order, then that of `--set`.

    Attributes:
        override: 0 in the file, else which `--set` it is, counted from 1.
        line: Counted from 1; 0 in a `--set`.
        column: Likewise.
        shown: `file:line:column` or `--set …`.
    """

    override: int
    line: int
    column: int
    shown: str = field(compare=False)


class RecipeSource:
    """The plain data of a recipe file, and for each key the place it was written at.

    Attributes:
        data: Nested dictionaries, lists and scalars.
        errors: What is wrong already, and where: duplicate keys, overrides that are none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data: dict[str, Any] = {}
        self.errors: list[tuple[Place, str]] = []
        self._places: dict[Location, Place] = {}
        self._num_overrides = 0

    def place(self, location: Location) -> Place:
        """Return where a key was written, or its nearest parent."""
        while location and location not in self._places:
            location = location[:-1]
        return self._places.get(location, self.place_in_file(1, 1))

    def place_in_file(self, line: int, column: int) -> Place:
        """Return the place of a line and a column, both counted from 1."""
        return Place(0, line, column, f"{self.path}:{line}:{column}")

    def fill(self, key: str, value: str) -> None:
        """Give a top-level key a value where the file has none."""
        self.data.setdefault(key, value)

    def override(self, assignment: str) -> None:
        """Apply one `--set`, e.g. "train.steps=200"; the value is read as YAML.

        A later one wins. What is wrong with it goes to `errors`.
        """
        self._num_overrides += 1
        flag = Place(self._num_overrides, 0, 0, f"--set {assignment}")
        key, separator, text = assignment.partition("=")
        names = tuple(key.strip().split("."))
        if not separator or not all(names):
            self.errors.append((flag, "expected KEY=VALUE, e.g. train.steps=200"))
            return
        try:
            value = _Reader(self, fixed_place=flag).value(_compose(text), names)
        except yaml.YAMLError as error:
            self.errors.append((flag, f"not a YAML value: {_problem(error)}"))
            return
        parent = self.data
        for depth, name in enumerate(names[:-1]):
            child = parent.setdefault(name, {})
            if not isinstance(child, dict):
                self.errors.append((flag, f"{'.'.join(names[: depth + 1])} is not a section"))
                return
            parent = child
            self._places.setdefault(names[: depth + 1], flag)
        self.put(names, flag)
        parent[names[-1]] = value

    def put(self, location: Location, place: Place) -> None:
        """Remember where a key was written."""
        self._places[location] = place


def read(path: Path) -> RecipeSource:
    """Read a recipe file.

    Raises:
        MissingInputError: It cannot be opened.
        RecipeError: It is too large, not UTF-8, not YAML, or not a mapping.
    """
    try:
        with path.open("rb") as handle:
            content = handle.read(MAX_BYTES + 1)
    except OSError as error:
        raise MissingInputError(f"{path}: cannot be read: {error.strerror}") from error
    if len(content) > MAX_BYTES:
        raise RecipeError(f"{path}:1:1: more than {MAX_BYTES:,} bytes; is this a recipe?")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = error.object[: error.start]  # without the byte order mark, where there is one
        line = before.count(b"\n") + 1
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8")) + 1
        raise RecipeError(
            f"{path}:{line}:{column}: not UTF-8 (byte 0x{error.object[error.start]:02x}); "
            "save the file as UTF-8"
        ) from error
    source = RecipeSource(path)
    try:
        node = _compose(text)
        data = _Reader(source).value(node, ())
    except yaml.YAMLError as error:
        raise RecipeError(f"{_position(path, text, error)}: {_problem(error)}") from error
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise RecipeError(f"{path}:1:1: expected sections such as `train:`, found a {_kind(data)}")
    source.data = data
    return source


def explain(
    source: RecipeSource,
    model: type[pydantic.BaseModel],
    error: pydantic.ValidationError | None = None,
) -> list[str]:
    """Return all that is wrong as lines `place: key: what is wrong; what may be meant`.

    The source's own errors and pydantic's stand together, in the order of their places.
    """
    found = list(source.errors)
    for item in error.errors() if error is not None else ():
        location = tuple(item["loc"])
        key = ".".join(str(part) for part in location)
        found.append((source.place(location), f"{key}: {_message(item, location, model)}"))
    return [f"{place.shown}: {text}" for place, text in sorted(found, key=lambda pair: pair[0])]


def _message(item: Any, location: Location, model: type[pydantic.BaseModel]) -> str:
    if item["type"] == "extra_forbidden":
        return f"no such key{_suggestion(location, model)}"
    if item["type"] == "model_type":
        message = "expected a section with keys"
    else:
        message = str(item["msg"]).removeprefix("Value error, ")
    message = message.replace("a valid tuple", "a list").replace("Tuple should", "List should")
    found = item.get("input")
    if isinstance(found, str | int | float | bool | None) and "got" not in message:
        message += f", found {_shown(found)}"
    return message[:1].lower() + message[1:]


def _suggestion(location: Location, model: type[pydantic.BaseModel]) -> str:
    sections = dict(_sections(model, ()))
    *parents, name = (str(part) for part in location)
    here = sections.get(tuple(parents), [])
    close = difflib.get_close_matches(name, here, n=1)
    if close:
        return f"; did you mean {close[0]}?"
    for section, names in sections.items():
        if name in names:
            return f"; did you mean {'.'.join((*section, name))}?"
    ending = [
        ".".join((*section, key))
        for section, names in sections.items()
        for key in names
        if name.endswith(f"_{key}") and section[:1] == tuple(parents[:1])
    ]
    if ending:  # near_duplicate_similarity is duplicates.similarity
        return f"; did you mean {max(ending, key=len)}?"
    everywhere = {
        ".".join((*section, key)): key for section, keys in sections.items() for key in keys
    }
    close = difflib.get_close_matches(name, everywhere.values(), n=1)
    if close:
        return (
            f"; did you mean {next(path for path, key in everywhere.items() if key == close[0])}?"
        )
    return f"; known here: {', '.join(here)}" if here else ""


def _sections(
    model: type[pydantic.BaseModel], prefix: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    yield prefix, [info.alias or name for name, info in model.model_fields.items()]
    for name, info in model.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, pydantic.BaseModel):
            yield from _sections(info.annotation, (*prefix, name))


class _Reader:
    """Composed nodes → plain data, with the place of every key kept in the source."""

    def __init__(self, source: RecipeSource, fixed_place: Place | None = None) -> None:
        self._source = source
        self._fixed_place = fixed_place

    def value(self, node: yaml.Node | None, location: Location) -> Any:
        if node is None:
            return None
        self._source.put(location, self._place(node))
        if isinstance(node, yaml.ScalarNode):
            scalar = _scalar(node)
            if isinstance(scalar, str) and _SURROGATE.search(scalar):
                name = ".".join(map(str, location))
                problem = f"{name}: half a character, {scalar!a}; write whole ones"
                self._source.errors.append((self._place(node), problem))
            return scalar
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*location, index)) for index, item in enumerate(node.value)]
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else "?"
            place = self._place(key_node)
            if key in found:
                name = ".".join(str(part) for part in (*location, key))
                self._source.errors.append((place, f"{name}: written twice; keep one of them"))
                continue
            found[key] = self.value(value_node, (*location, key))
            self._source.put((*location, key), place)
        return found

    def _place(self, node: yaml.Node) -> Place:
        if self._fixed_place is not None:
            return self._fixed_place
        mark = node.start_mark
        return self._source.place_in_file(mark.line + 1, mark.column + 1)


def _compose(text: str) -> yaml.Node | None:
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        # Here and not when composed: 20,000 brackets take PyYAML's scanner 40 s.
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise yaml.MarkedYAMLError(None, None, "nested too deeply", event.start_mark)
        # An alias can make a few lines stand for gigabytes; a recipe has no use for one.
        if isinstance(event, yaml.AliasEvent):
            raise yaml.MarkedYAMLError(
                None, None, "aliases (*name) are not allowed in a recipe", event.start_mark
            )
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise yaml.MarkedYAMLError(
                None, None, f"tags ({tag}) are not allowed in a recipe", event.start_mark
            )
    return yaml.compose(text, Loader=yaml.SafeLoader)


def _scalar(node: yaml.ScalarNode) -> Any:
    text = str(node.value)
    if node.style is not None or len(text) > MAX_NUMBER_CHARACTERS:
        return text
    if _NULL.fullmatch(text):
        return None
    if _TRUE.fullmatch(text):
        return True
    if _FALSE.fullmatch(text):
        return False
    if _INTEGER.fullmatch(text):
        return int(text)
    if _OCTAL.fullmatch(text):
        return int(text[2:], 8)
    if _HEXADECIMAL.fullmatch(text):
        return int(text[2:], 16)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _INFINITE.fullmatch(text):
        return float(text.replace(".", "", 1))
    if _NOT_A_NUMBER.fullmatch(text):
        return float("nan")
    return text


def _position(path: Path, text: str, error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.reader.ReaderError):
        before = text[: error.position]
        return f"{path}:{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"
    mark = getattr(error, "problem_mark", None)
    return f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else f"{path}:1:1"


def _problem(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.reader.ReaderError):
        return f"a character that is no text, U+{error.character:04X}; remove it"
    problem = getattr(error, "problem", None) or str(error)
    context = getattr(error, "context", None)
    return f"{problem} ({context})" if context else str(problem)


def _kind(data: object) -> str:
    return "list" if isinstance(data, list) else "single value"


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else text[:37] + "…"
