"""A file or standard input → its lines, as many at a time as are there."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import cast

from llmctl.core.artifacts.streams import MAX_LINE_BYTES
from llmctl.core.errors import DataError, MissingInputError

STANDARD_INPUT = "-"
BATCH_BYTES = 1 << 20


class LineSource:
    r"""Lines of bytes, which end at "\n" alone: "\r", U+2028 and a byte order mark are content.

    Args:
        name: A file, or "-" for standard input.
    """

    def __init__(self, name: str) -> None:
        self.name = "stdin" if name == STANDARD_INPUT else name
        self._path = None if name == STANDARD_INPUT else Path(name)

    @contextmanager
    def open(self) -> Generator[Iterator[tuple[int, list[bytes]]]]:
        """Open it for one reading: batches of lines without their ends, and the first's number.

        A batch holds what can be had without waiting, about `BATCH_BYTES` at most, and at
        least a line; lines are numbered from 1. Iterating raises DataError at a line of more
        than `MAX_LINE_BYTES`.

        Raises:
            MissingInputError: The file is not there or may not be read.
        """
        if self._path is None:
            yield self._batches(cast("BufferedReader", sys.stdin.buffer).read1)
            return
        try:
            handle = self._path.open("rb")
        except OSError as error:
            raise MissingInputError(f"{self.name}: {error.strerror}") from error
        with handle:
            yield self._batches(handle.read1)

    def fault(self, number: int, reason: str) -> DataError:
        """Return the error of a line."""
        return DataError(f"{self.name}:{number}: {reason}")

    def _batches(self, read: Callable[[int], bytes]) -> Iterator[tuple[int, list[bytes]]]:
        number = 1
        pending: list[bytes] = []  # of a line whose end has not come yet
        size = 0
        while chunk := read(BATCH_BYTES):
            first, *others = chunk.split(b"\n")
            pending.append(first)
            size += len(first)
            if size > MAX_LINE_BYTES:
                limit = MAX_LINE_BYTES // 1_000_000
                raise self.fault(number, f"a line of more than {limit} MB; split it")
            if others:
                lines = [b"".join(pending), *others[:-1]]
                pending = [others[-1]]
                size = len(others[-1])
                yield number, lines
                number += len(lines)
        if size:
            yield number, [b"".join(pending)]
