"""The answers to a file of prompts: JSON Lines, appended as they come, gone on with later.

An answer carries the seed and a digest of the settings that decided it, so that a file holds
answers of one kind only. A row that is an error stands for a prompt that has none.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmctl.core import atomic
from llmctl.core.artifacts.documents import json_bytes
from llmctl.core.errors import DataError, OutputError, UsageError
from llmctl.core.lock import exclusive
from llmctl.core.stopping import Stop

# Beyond this share of the time, a row waits for the next to be made safe from a power cut.
MAX_SYNC_SHARE = 0.01
_BEGINNING = b'{"id":'


@dataclass(frozen=True)
class Stamp:
    """What every answer of a file has in common.

    Attributes:
        seed: Of every draw.
        settings: A digest of whatever else decides an answer.
    """

    seed: int
    settings: str


@dataclass
class Found:
    """What a file of answers holds.

    Attributes:
        answered: The id and the sample of each answer.
        refused: The line of each prompt that has an error for an answer.
        num_bytes: Of whole rows.
    """

    answered: set[tuple[str | int, int]] = field(default_factory=set[tuple[str | int, int]])
    refused: set[int] = field(default_factory=set[int])
    num_bytes: int = 0


class AnswerRows:
    """Rows on their way to a file or to standard output; see `open_answers`."""

    def __init__(self, descriptor: int | None, path: Path, found: Found) -> None:
        self.found = found
        self._descriptor = descriptor
        self._path = path
        self._num_bytes = found.num_bytes
        self._begun = time.monotonic()
        self._sync_seconds = 0.0
        self._is_synced = True

    def append(self, row: Mapping[str, Any]) -> None:
        """Add a row at the end, whole.

        Raises:
            StorageError: The disk is full or failing; nothing of the row is left then.
        """
        line = json_bytes(row)
        with atomic.storage_errors(self._path):
            if self._descriptor is None:
                sys.stdout.buffer.write(line)
                sys.stdout.buffer.flush()
                return
            self._write(self._descriptor, line)
            atomic.observer("write", self._path)
            self._is_synced = False
            elapsed = time.monotonic() - self._begun
            if self._sync_seconds <= MAX_SYNC_SHARE * elapsed:
                self.sync()

    def sync(self) -> None:
        """Return once every row is on the disk."""
        if self._descriptor is None or self._is_synced:
            return
        begun = time.monotonic()
        with atomic.storage_errors(self._path):
            os.fsync(self._descriptor)
            self._is_synced = True
            self._sync_seconds += time.monotonic() - begun
            atomic.observer("fsync", self._path)

    def _write(self, descriptor: int, line: bytes) -> None:
        rest = line
        try:
            while rest:  # a disk that fills up takes a part
                rest = rest[os.write(descriptor, rest) :]
        except OSError:
            with suppress(OSError):
                os.ftruncate(descriptor, self._num_bytes)
            raise
        self._num_bytes += len(line)


@contextmanager
def open_answers(
    path: Path | None, stamp: Stamp, *, resume: bool, stop: Stop | None = None
) -> Generator[AnswerRows]:
    """Open a file of answers for appending, under a lock beside it.

    Args:
        path: The file; None for standard output.
        stamp: Of the answers to come.
        resume: Go on with a file that is there; what a crash left of a last row is cut off.
        stop: Ends the waiting for the lock early.

    Raises:
        BusyError: Another process writes it.
        OutputError: The file is there and not to be resumed, or it cannot be created.
        DataError: It holds something else than answers.
        UsageError: Its answers are of another stamp.
        StorageError: The disk is full or failing.
    """
    if path is None:
        yield AnswerRows(None, Path("stdout"), Found())
        return
    with exclusive(path.with_name(f".{path.name}.lock"), stop=stop):
        found = Found()
        if path.exists() and not path.is_file():
            raise OutputError(f"{path}: is no regular file; name another, or leave -o away")
        if resume and path.exists():
            found = _read_back(path, stamp)
        elif path.exists():
            raise OutputError(
                f"{path}: exists; add --resume to go on with it, or name another file"
            )
        flags = os.O_WRONLY | os.O_APPEND | (0 if path.exists() else os.O_CREAT | os.O_EXCL)
        with atomic.storage_errors(path):
            descriptor = os.open(path, flags, 0o666)
        try:
            with atomic.storage_errors(path):
                if os.fstat(descriptor).st_size > found.num_bytes:
                    os.ftruncate(descriptor, found.num_bytes)
                atomic.sync_directory(path.parent)
            rows = AnswerRows(descriptor, path, found)
            try:
                yield rows
            finally:
                rows.sync()
        finally:
            os.close(descriptor)


def seed_of(path: Path) -> int | None:
    """Return the seed of a file's answers; None where there is none yet.

    Raises:
        DataError: It holds something else than answers.
    """
    if path.is_file():
        for row, _ in _rows(path):
            if "seed" in row:
                return row["seed"]
    return None


def _read_back(path: Path, stamp: Stamp) -> Found:
    found = Found()
    for row, num_bytes in _rows(path):
        found.num_bytes += num_bytes
        if "error" in row:
            found.refused.add(row["line"])
            continue
        if row["seed"] != stamp.seed:
            raise UsageError(
                f"{path}: its answers are of seed {row['seed']} and not of {stamp.seed}; give "
                f"--seed {row['seed']}, or name another file"
            )
        if row["settings"] != stamp.settings:
            raise UsageError(
                f"{path}: its answers are of the settings {row['settings']} and not of "
                f"{stamp.settings}: the model or an option is another; give the same, or name "
                "another file"
            )
        found.answered.add((row["id"], row.get("sample", 0)))
    return found


def _rows(path: Path) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield each whole row and its length in bytes; a last one that is not whole is left out."""
    try:
        handle = path.open("rb")
    except OSError as error:
        raise OutputError(f"{path}: cannot be read: {error.strerror}") from error
    with handle:
        for number, line in enumerate(handle, 1):
            row = _row(line)
            if row is None:
                # Of a row that was being written when the power went, the end may be missing,
                # or zeros. Whatever else this is, it is not ours to cut off.
                is_ours = line.startswith(_BEGINNING) or _BEGINNING.startswith(line)
                is_zeros = number > 1 and not line.strip(b"\0")
                if line.endswith(b"\n") or not (is_ours or is_zeros):
                    raise DataError(
                        f"{path}:{number}: no row of answers; name another file, or take the "
                        "line out"
                    )
                return
            yield row, len(line)


def _row(line: bytes) -> dict[str, Any] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict) or not isinstance(row.get("id"), str | int):
        return None
    kinds = {"line": int} if "error" in row else {"text": str, "seed": int, "settings": str}
    return row if all(isinstance(row.get(name), kind) for name, kind in kinds.items()) else None
