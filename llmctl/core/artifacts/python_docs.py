"""`builtin:python-docs`: the documentation inside the running Python, as plain text.

Two things that every Python carries: the language reference by topic (`pydoc_data`), and
the docstrings of the standard library, a document for each class or module, small ones
merged with their neighbours. Sources are parsed, never imported, so that nothing runs and
the order is always the same; only modules written in C are asked directly.
"""

from __future__ import annotations

import ast
import gc
import hashlib
import importlib
import inspect
import os
import platform
import re
import sys
import sysconfig
import warnings
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from llmctl.core.artifacts.documents import Document

NAME = "builtin:python-docs"
VERSION = 1
MIN_CHARACTERS = 1000
MIN_DOCSTRING_CHARACTERS = 24
# Shorter docstrings may recur ("Return the next item."); longer ones would be learnt twice.
MIN_UNIQUE_CHARACTERS = 80

_SKIPPED_FOLDERS = re.compile(
    r"""_.*|config-.*|distutils|encodings|ensurepip|idlelib|lib-dynload|lib2to3|msilib|pydoc_data
    |site-packages|dist-packages|tests?|tkinter|turtledemo""",
    re.VERBOSE,
)
_SKIPPED_MODULES = frozenset(("antigravity", "this", "turtle"))
# The documented name of what is written in a private module.
_PUBLIC_NAMES = {
    "_asyncio": "asyncio",
    "_bz2": "bz2",
    "_collections_abc": "collections.abc",
    "_elementtree": "xml.etree.ElementTree",
    "_lzma": "lzma",
    "_pydatetime": "datetime",
    "_pydecimal": "decimal",
    "_pyio": "io",
    "_thread": "_thread",
    "posix": "os",
    "pyexpat": "xml.parsers.expat",
}
_WRITTEN_IN_C = """
    builtins itertools math cmath time sys gc marshal posix _operator _functools _collections
    _thread _weakref _warnings _tracemalloc array binascii zlib select _struct _csv _random
    _bisect _heapq unicodedata mmap fcntl resource _queue _socket _ssl _sqlite3 _asyncio
    _contextvars _elementtree pyexpat _lzma _bz2 _json _statistics _hashlib _zoneinfo
"""

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_Pieces = Iterator[tuple[str, str]]

_UNDERLINE = re.compile(r"^([*=\-~^\"+#])\1{2,}$", re.MULTILINE)
_ROLE = re.compile(r":(?:[a-z]+:)?[a-z]+:`~?([^`]+)`")
_EMPHASIS = re.compile(r"(?<![\w*])(\*{1,2})(?=[^\s*])([^*\n]+?)(?<=[^\s*])\1(?![\w*])")
_FOOTNOTE_MARK = re.compile(r"  ?\[\d+\](?=[\s.,;:)]|$)")
_FOOTNOTES_HEADING = re.compile(r"^-\[ (.+?) \]-$", re.MULTILINE)
_KEPT = ("   ", "|", "+")
_BLANK_LINES = re.compile(r"\n{3,}")
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def digest() -> str:
    """Name what `python_documents` gives: this Python, and the way it is read."""
    content = (
        VERSION,
        platform.python_implementation(),
        platform.python_version(),
        sys.builtin_module_names,
        bool(_topics()),
    )
    return hashlib.sha256(repr(content).encode("utf-8")).hexdigest()


def python_documents() -> list[Document]:
    """Return the documents, in an order that depends on this Python only."""
    with _collector_paused(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library's own deprecations are not ours to tell
        topics = list(_merged(_topic_entries()))
        library = list(_merged(_library_entries()))
    documents: list[Document] = []
    num_seen: Counter[str] = Counter()
    for name, text in [*((f"topics/{name}", text) for name, text in topics), *library]:
        num_seen[name] += 1  # heapq is written in C and in Python
        number = f"-{num_seen[name]}" if num_seen[name] > 1 else ""
        documents.append(Document(f"python-docs/{name}{number}", NAME, "en", text))
    return documents


def plain(text: str) -> str:
    """Strip reStructuredText's underlines, emphasis, roles and footnote marks.

    Code and grammar, which are indented by three or more, and tables are left alone.
    """
    text = _FOOTNOTES_HEADING.sub(r"\1", _UNDERLINE.sub("", text))
    lines = [line if line.startswith(_KEPT) else _plain_line(line) for line in text.split("\n")]
    return _BLANK_LINES.sub("\n\n", "\n".join(lines)).strip()


def _plain_line(line: str) -> str:
    if "`" in line:
        line = _ROLE.sub(r"\1", line)
    if "*" in line:
        line = _EMPHASIS.sub(r"\2", line)
    return _FOOTNOTE_MARK.sub("", line) if "]" in line else line


@contextmanager
def _collector_paused() -> Generator[None]:
    # A syntax tree is a million objects and no garbage: collecting is a third of the time.
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _merged(entries: _Pieces) -> _Pieces:
    """Join each short text with the short ones after it until they are long enough."""
    name, waiting = "", ""
    for entry_name, text in entries:
        if len(text) >= MIN_CHARACTERS:
            yield entry_name, text
            continue
        name = name or entry_name
        waiting = f"{waiting}\n\n{text}" if waiting else text
        if len(waiting) >= MIN_CHARACTERS:
            yield name, waiting
            name, waiting = "", ""
    if waiting:
        yield name, waiting


def _topics() -> dict[str, str]:
    try:
        return importlib.import_module("pydoc_data.topics").topics
    except ImportError:  # some systems leave it out
        return {}


def _topic_entries() -> _Pieces:
    """Yield each topic, without what stands in it as a topic of its own."""
    texts = {name: plain(text) for name, text in sorted(_topics().items())}
    for name, text in texts.items():
        rest = text
        for other in sorted(texts.values(), key=len, reverse=True):
            if len(other) < len(text) and other in rest:
                rest = rest.replace(other, "")
        if rest == text or len(rest) >= MIN_CHARACTERS:
            yield name, _BLANK_LINES.sub("\n\n", rest).strip()


def _library_entries() -> _Pieces:
    is_new = _first_sight()
    for name in _WRITTEN_IN_C.split():
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        public = _PUBLIC_NAMES.get(name, name.lstrip("_"))
        yield from _grouped(public, _compiled_pieces(public, module), is_new)
    root = Path(sysconfig.get_path("stdlib"))
    for path in _source_files(root):
        try:
            tree = ast.parse(path.read_bytes())
        except (OSError, SyntaxError, ValueError):
            continue
        name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        name = _PUBLIC_NAMES.get(name, name)
        yield from _grouped(name, _source_pieces(name, tree), is_new)


def _first_sight() -> Callable[[str], bool]:
    seen: set[str] = set()

    def is_new(docstring: str) -> bool:
        if len(docstring) < MIN_UNIQUE_CHARACTERS:
            return True
        known = docstring in seen
        seen.add(docstring)
        return not known

    return is_new


def _grouped(
    module: str, groups: Iterator[tuple[str, _Pieces]], is_new: Callable[[str], bool]
) -> _Pieces:
    """Yield a text for each class that is worth one, and one for the rest of the module."""
    rest: list[str] = []
    for class_name, pieces in groups:
        shown = [f"{heading}\n{text}" for heading, text in pieces if text and is_new(text)]
        joined = "\n\n".join(shown)
        if class_name and len(joined) >= MIN_CHARACTERS:
            yield f"{module}.{class_name}", joined
        else:
            rest += shown
    if rest:
        yield module, "\n\n".join(rest)


def _source_files(folder: Path) -> Iterator[Path]:
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        name = entry.name
        if entry.is_dir(follow_symlinks=False):
            if not _SKIPPED_FOLDERS.fullmatch(name):
                yield from _source_files(Path(entry.path))
        elif name.endswith(".py"):
            stem = name.removesuffix(".py")
            public = not stem.startswith("_") or stem in ("__init__", *_PUBLIC_NAMES)
            if public and stem not in _SKIPPED_MODULES:
                yield Path(entry.path)


def _source_pieces(module: str, tree: ast.Module) -> Iterator[tuple[str, _Pieces]]:
    yield "", iter([(f"{module}\n", _docstring(tree))])
    for node in tree.body:
        if not isinstance(node, ast.ClassDef | _Function) or node.name.startswith("_"):
            continue
        if isinstance(node, ast.ClassDef):
            yield node.name, _class_pieces(module, node)
        elif docstring := _docstring(node):
            yield "", iter([(f"{module}.{node.name}{_arguments(node)}", docstring)])


def _class_pieces(module: str, node: ast.ClassDef) -> _Pieces:
    functions = [item for item in node.body if isinstance(item, _Function)]
    if docstring := _docstring(node):
        initializer = next((item for item in functions if item.name == "__init__"), None)
        arguments = _arguments(initializer, num_bound=1) if initializer else ""
        yield f"class {module}.{node.name}{arguments}", docstring
    for item in functions:
        private = item.name.startswith("_") and not item.name.endswith("__")
        docstring = "" if private else _docstring(item)
        if not docstring:
            continue
        decorators = {ast.unparse(decorator) for decorator in item.decorator_list}
        heading = f"{node.name}.{item.name}"
        if not any("property" in decorator for decorator in decorators):
            heading += _arguments(item, num_bound=0 if "staticmethod" in decorators else 1)
        yield heading, docstring


def _docstring(node: ast.Module | ast.ClassDef | _Function) -> str:
    text = ast.get_docstring(node) or ""
    return "" if len(text) < MIN_DOCSTRING_CHARACTERS else plain(text)


def _arguments(node: _Function, num_bound: int = 0) -> str:
    """Return "(x, y=1)", without the first `num_bound`, which are `self` and its like."""
    given = node.args
    num_positional_only = max(len(given.posonlyargs) - num_bound, 0)
    free = [*given.posonlyargs, *given.args][num_bound:]
    shown = ast.arguments(
        posonlyargs=free[:num_positional_only],
        args=free[num_positional_only:],
        vararg=given.vararg,
        kwonlyargs=given.kwonlyargs,
        kw_defaults=given.kw_defaults,
        kwarg=given.kwarg,
        # `def method(self=None)` has a default more than there are arguments left.
        defaults=given.defaults[max(len(given.defaults) - len(free), 0) :],
    )
    return f"({ast.unparse(shown)})"


def _compiled_pieces(public: str, module: ModuleType) -> Iterator[tuple[str, _Pieces]]:
    prefix = "" if public == "builtins" else f"{public}."
    yield "", iter([(f"{public}\n", _described(module))])
    for name, value in sorted(vars(module).items()):
        # An alias, such as IOError for OSError, is described under its own name.
        if name.startswith("_") or getattr(value, "__name__", None) != name:
            continue
        if inspect.isclass(value):
            yield name, _compiled_class_pieces(prefix + name, value)
        elif inspect.isbuiltin(value):
            yield "", iter([(f"{prefix}{name}{_signature(value)}", _described(value))])


def _compiled_class_pieces(name: str, value: type) -> _Pieces:
    yield f"class {name}{_signature(value)}", _described(value)
    short = name.rpartition(".")[2]
    for member_name, member in sorted(vars(value).items()):
        if not member_name.startswith("_"):
            signature = _signature(member) if callable(member) else ""
            yield f"{short}.{member_name}{signature}", _described(member)


def _described(value: Any) -> str:
    text = getattr(value, "__doc__", None)
    if not isinstance(text, str) or len(text) < MIN_DOCSTRING_CHARACTERS or _ADDRESS.search(text):
        return ""
    return plain(inspect.cleandoc(text))


def _signature(value: Any) -> str:
    """Return the arguments, or nothing where only the docstring gives them."""
    try:
        signature = inspect.signature(value)
    except Exception:  # it evaluates text from the C source, which may raise anything
        return ""
    parameters = [p for p in signature.parameters.values() if p.name not in ("self", "type", "cls")]
    text = str(signature.replace(parameters=parameters))
    return "" if _ADDRESS.search(text) else text
