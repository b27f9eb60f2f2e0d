"""The inputs of a recipe: what each name stands for, its digest, and its documents."""

from __future__ import annotations

import glob
import hashlib
import io
import os
import shutil
import sys
import tempfile
import weakref
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Literal

from llmctl.core.artifacts import downloads, hub_datasets, python_docs
from llmctl.core.artifacts.document_files import kind_of, read_documents, sampled
from llmctl.core.artifacts.documents import (
    KNOWN_KINDS,
    Document,
    Kind,
    Unreadable,
    format_of,
)
from llmctl.core.artifacts.parquet_tables import read_parquet_table
from llmctl.core.artifacts.run_directory import RESOLVED_NAME
from llmctl.core.artifacts.streams import MAGIC_BYTES, Compression, sniff, unpacked
from llmctl.core.atomic import storage_errors
from llmctl.core.errors import DataError, MissingInputError, RecipeError
from llmctl.core.manifest import DigestCache, read_manifest
from llmctl.core.progress import Progress
from llmctl.core.recipe import user_path

STANDARD_INPUT = "-"
SUPPORTED = (
    f"files, directories, globs, {STANDARD_INPUT} (standard input), hub:owner/dataset, "
    f"https://… and {python_docs.NAME}"
)

_COPY_BYTES = 1 << 20


class StandardInput:
    """Standard input, copied to a temporary file when first asked for.

    It can be read only once, and a key needs its digest before its documents are read. Other
    processes find the copy by its name; it goes when the process that made it does.
    """

    def __init__(self) -> None:
        self._path: Path | None = None

    @property
    def path(self) -> Path:
        """Where the copy lies."""
        if self._path is None:
            with storage_errors(Path(tempfile.gettempdir())):
                descriptor, name = tempfile.mkstemp(prefix="llmctl-standard-input-")
                self._path = Path(name)
                weakref.finalize(self, self._path.unlink, missing_ok=True)
                with open(descriptor, "wb") as copy:  # noqa: PTH123
                    shutil.copyfileobj(sys.stdin.buffer, copy, _COPY_BYTES)
        return self._path


@dataclass(frozen=True)
class Source:
    """One input: a file, which may have been downloaded, standard input or the built-in one.

    Attributes:
        name: As it was written, a file of a directory or glob with its own path; it stands
            in reports, ids and the key.
        origin: What it is.
        path: The file's.
        text_field: The field of a record, or the column, that holds the text.
        left_out: Files beside this one that are of no known kind; named by the first
            source of a directory.
        is_told_by_name: Whether the file's name tells its kind; if not, its beginning does.
        charset: What the server said of a downloaded page's encoding.
    """

    name: str
    origin: Literal["file", "standard input", "python-docs"]
    path: Path = Path()
    text_field: str = "text"
    left_out: tuple[str, ...] = ()
    standard_input: StandardInput = field(default_factory=StandardInput, repr=False, compare=False)
    is_told_by_name: bool = True
    charset: str | None = None

    def __getstate__(self) -> dict[str, object]:
        if self.origin == "standard input":
            _ = self.standard_input.path  # another process cannot make the copy
        return self.__dict__

    def digest(self, cache: DigestCache) -> str:
        """Return the sha256 of the content, or what stands for it in the built-in one.

        Raises:
            MissingInputError: The file has gone or may not be read.
        """
        if self.origin == "python-docs":
            return python_docs.digest()
        if self.origin == "standard input":
            with self.open() as reader:
                return reader.digest()
        with missing(self.path):
            return cache.sha256(self.path)

    @property
    def size_bytes(self) -> int | None:
        """Size as it lies there, packed or not; None where there is no file."""
        if self.origin == "python-docs":
            return None
        with missing(self.path):
            return self.place.stat().st_size

    @property
    def place(self) -> Path:
        """Where the content lies; not for the built-in documentation, which is in no file."""
        return self.standard_input.path if self.origin == "standard input" else self.path

    def format(self) -> tuple[Kind, Compression]:
        """Tell the kind and the compression, by the name or by the beginning.

        Raises:
            MissingInputError: The file has gone or may not be read.
        """
        if self.origin != "standard input" and self.is_told_by_name:
            return format_of(self.path.name) or ("text", "")
        with missing(self.path), self.place.open("rb") as handle:
            compression = sniff(handle.read(MAGIC_BYTES))
            handle.seek(0)
            beginning, _ = sampled(unpacked(handle, compression))
        return kind_of(beginning, self.text_field), compression

    @contextmanager
    def open(self) -> Generator[SourceReader]:
        """Open it for one reading.

        Raises:
            MissingInputError: The file has gone or may not be read.
        """
        if self.origin == "python-docs":
            yield SourceReader(self, io.BytesIO())
        else:
            with missing(self.path):
                handle = self.place.open("rb")
            with handle:
                yield SourceReader(self, handle)


class SourceReader:
    """The documents of an open source, and how far it has been read.

    Attributes:
        num_bytes: Bytes read so far, as they lie in the file.
    """

    def __init__(self, source: Source, handle: IO[bytes]) -> None:
        self.num_bytes = 0
        self._source = source
        self._handle = handle
        self._hash = hashlib.sha256()
        self._is_read_in_order = True

    def read(self, size: int = -1, /) -> bytes:
        """Read on, counting and hashing."""
        try:
            data = self._handle.read(size)
        except OSError as error:
            raise DataError(f"{self._source.name}: cannot be read: {error.strerror}") from error
        self.num_bytes += len(data)
        self._hash.update(data)
        return data

    def __iter__(self) -> Iterator[Document | Unreadable]:
        source = self._source
        if source.origin == "python-docs":
            yield from python_docs.python_documents()
            return
        kind, compression = source.format()
        if kind == "parquet":
            self._is_read_in_order = False
            yield from read_parquet_table(
                self._handle, source.name, source.text_field, on_bytes=self._count
            )
            return
        yield from read_documents(
            self,
            source.name,
            kind,
            compression,
            text_field=source.text_field,
            charset=source.charset,
        )

    def _count(self, num_bytes: int) -> None:
        self.num_bytes += num_bytes

    def digest(self) -> str:
        """Return the sha256 of what was read, after reading what is left."""
        if self._source.origin == "python-docs":
            return python_docs.digest()
        if not self._is_read_in_order:
            self._handle.seek(0)
            self.num_bytes = 0
        while self.read(_COPY_BYTES):
            pass
        return self._hash.hexdigest()


def resolve_sources(
    inputs: Sequence[str],
    base: Path,
    *,
    text_field: str = "text",
    progress: Progress | None = None,
) -> list[Source]:
    """Find what the inputs of a recipe stand for, downloading what lies elsewhere.

    Args:
        inputs: Files, directories (searched to any depth, in the order of their names),
            globs, "-", "hub:owner/dataset", "https://…" and "builtin:python-docs".
        base: What relative paths are relative to.
        text_field: The field of a record, or the column, that holds the text.
        progress: Told of what is downloaded; None: only what was downloaded before is there.

    Returns:
        The sources, each file once, in the order of the inputs.

    Raises:
        MissingInputError: An input matches nothing that can be read, or is not to be had.
        RecipeError: It is of a kind that is not supported, or a file of an unknown kind.
    """
    found: dict[object, Source] = {}
    for name in inputs:
        for source in _resolve(name, base, progress):
            identity = os.path.realpath(source.path) if source.origin == "file" else source.origin
            found.setdefault(identity, replace(source, text_field=text_field))
    return list(found.values())


def _resolve(name: str, base: Path, progress: Progress | None) -> list[Source]:
    if name == STANDARD_INPUT:
        return [Source(name, "standard input")]
    if name == python_docs.NAME:
        return [Source(name, "python-docs")]
    if name.startswith(hub_datasets.SCHEME):
        return _from_hub(name, progress)
    if name.startswith(downloads.SCHEMES):
        return [_downloaded(name, progress)]
    scheme = name.partition(":")[0]
    if name.startswith("builtin:"):
        raise RecipeError(f"{name}: inputs of {scheme}: are not supported; there are {SUPPORTED}")
    path = base / user_path(name)
    with missing(path):
        if path.is_dir():
            return _in_directory(name, path)
        if path.exists():
            return [_file(name, path)]
    if not glob.has_magic(name):
        raise MissingInputError(f"{name}: no such file or directory (looked for {path})")
    return _matching(name, base)


def _from_hub(name: str, progress: Progress | None) -> list[Source]:
    files = hub_datasets.fetch_dataset(name, progress)
    dataset = ":".join(name.split(":")[:2])
    sources = [
        Source(f"{dataset}:{printable(file)}", "file", path) for file, path in files.paths.items()
    ]
    left_out = tuple(f"{dataset}:{printable(file)}" for file in files.left_out)
    return [replace(sources[0], left_out=left_out), *sources[1:]]


def _downloaded(name: str, progress: Progress | None) -> Source:
    found = downloads.fetch(name, progress)
    is_told = format_of(found.path.name) is not None
    return Source(
        printable(name), "file", found.path, is_told_by_name=is_told, charset=found.charset
    )


def _matching(name: str, base: Path) -> list[Source]:
    # Path.glob takes neither absolute patterns nor a base with magic characters of its own.
    pattern = str(user_path(name))
    matches = sorted(glob.glob(pattern, root_dir=base, recursive=True))  # noqa: PTH207
    files = [match for match in matches if (base / match).is_file()]
    known = [match for match in files if format_of(match)]
    if not known:
        raise MissingInputError(
            f"{name}: matches no file of a known kind ({_listed(files) or 'nothing at all'}); "
            f"known are {KNOWN_KINDS}"
        )
    left_out = tuple(printable(match) for match in files if not format_of(match))
    sources = [_file(match, base / match) for match in known]
    return [replace(sources[0], left_out=left_out), *sources[1:]]


def _file(name: str, path: Path) -> Source:
    if format_of(path.name) is None:
        raise RecipeError(f"{name}: a file of unknown kind; known are {KNOWN_KINDS}")
    if not path.is_file():  # it is read more than once
        raise MissingInputError(
            f"{name}: a pipe or a device, no file; give its content on standard input, as `-`"
        )
    return Source(printable(name), "file", path)


def _in_directory(name: str, root: Path) -> list[Source]:
    sources: list[Source] = []
    left_out: list[str] = []
    for path in _walk(root, is_root=True):
        shown = printable(os.path.join(name, path.relative_to(root)))  # noqa: PTH118
        if format_of(path.name) is None:
            left_out.append(shown)
        else:
            sources.append(Source(shown, "file", path))
    if not sources:
        raise MissingInputError(
            f"{name}: no file of a known kind in this directory "
            f"({_listed(left_out) or 'it is empty'}); known are {KNOWN_KINDS}"
        )
    return [replace(sources[0], left_out=tuple(left_out)), *sources[1:]]


def _walk(folder: Path, *, is_root: bool = False) -> Iterator[Path]:
    """Yield the files below, sorted, without hidden ones, artifacts, and runs with their logs."""
    is_artifact = _is_artifact(folder)
    with missing(folder):
        if not is_root and (is_artifact or (folder / RESOLVED_NAME).is_file()):
            return
        shown = [path for path in folder.iterdir() if not path.name.startswith(".")]
        entries = [(path, path.is_dir()) for path in sorted(shown, key=lambda path: path.name)]
        files = {path for path, is_folder in entries if not is_folder and path.is_file()}
    for path, is_folder in entries:
        if is_folder and not path.is_symlink():
            yield from _walk(path)
        elif path in files and not (is_artifact and not path.name.startswith("documents-")):
            yield path


def _is_artifact(folder: Path) -> bool:
    # A run's own corpus below its input would make the run stale for ever.
    try:
        return read_manifest(folder) is not None
    except (DataError, OSError):
        return False


def printable(name: str | Path) -> str:
    """Return the name in valid UTF-8, with other bytes written in hexadecimal."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _listed(names: Sequence[str]) -> str:
    endings = Counter(Path(name).suffix or Path(name).name for name in names)
    return ", ".join(f"{count} {ending}" for ending, count in endings.most_common(5))


@contextmanager
def missing(path: Path) -> Generator[None]:
    """Turn what opening a file raises where it is not there into a MissingInputError."""
    try:
        yield
    except (FileNotFoundError, PermissionError, NotADirectoryError) as error:
        raise MissingInputError(f"{path}: {error.strerror}") from error
