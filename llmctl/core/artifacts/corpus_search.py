"""One document of a corpus, by its id: found in the packed lines before any is parsed."""

from __future__ import annotations

import heapq
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import takewhile
from pathlib import Path
from typing import Any

import orjson

from llmctl.core.artifacts.corpus import DOCUMENTS_PREFIX, DROPPED_PREFIX
from llmctl.core.artifacts.documents import json_bytes
from llmctl.core.artifacts.streams import DamagedStream, unpacked
from llmctl.core.errors import DataError, MissingInputError
from llmctl.core.recipe import user_path

NUM_CLOSEST = 3
_BLOCK_BYTES = 1 << 22
_MAX_THREADS = 4  # each holds a few megabytes, and a line that may be long
_NUM_COMPARED = 200
_ID = re.compile(rb'^\{"id": ?("(?:[^"\\]|\\.)*"), ?"source":', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class FoundLine:
    """A document as a corpus's files have it.

    Attributes:
        file: The file's name.
        record: Its line: the document, and with a dropped one why.
    """

    file: str
    record: dict[str, Any]

    @property
    def is_kept(self) -> bool:
        """Whether it is part of the corpus."""
        return self.file.startswith(DOCUMENTS_PREFIX)


def find_corpus(reference: str, runs: Path) -> Path:
    """Return a corpus's directory.

    Args:
        reference: A corpus's directory, a run's, or a run's name, tried in this order.
        runs: The runs' directory.

    Raises:
        MissingInputError: There is none; the message says where it was looked for.
    """
    path = user_path(reference)
    candidates = (path, path / "corpus", runs / reference / "corpus")
    for candidate in candidates:
        if _files(candidate):
            return candidate
    raise MissingInputError(
        f"{reference}: no corpus here; looked for {DOCUMENTS_PREFIX}-00000.jsonl.zst in "
        f"{', '.join(map(str, candidates[:-1]))} and {candidates[-1]}"
    )


def find_documents(corpus: Path, identifier: str) -> list[FoundLine]:
    """Return every document of that id, kept ones first: several sources may use one id.

    Args:
        corpus: The corpus's directory.
        identifier: The id.

    Raises:
        MissingInputError: There is none; the message names ids that are close.
        DataError: A file is damaged.
    """
    name = json_bytes(identifier).rstrip(b"\n")
    # The second is how Python's own writer puts a record that orjson refuses.
    needles = (b'{"id":' + name + b',"source":', b'{"id": ' + name + b', "source":')
    files = _files(corpus)
    with ThreadPoolExecutor(min(_MAX_THREADS, os.cpu_count() or 1)) as threads:
        found = threads.map(lambda path: _lines_with(path, needles), files)
        lines = [
            FoundLine(path.name, record)
            for path, records in zip(files, found, strict=True)
            for record in records
        ]
    if not lines:
        raise MissingInputError(
            f"{corpus}: no document {identifier!r}, neither kept nor dropped"
            + _suggestion(closest_ids(corpus, identifier))
        )
    return lines


def closest_ids(corpus: Path, identifier: str) -> list[str]:
    """Return a few ids that look like one that is not there.

    Raises:
        DataError: A file is damaged.
    """
    ids = (
        orjson.loads(match[1])
        for path in _files(corpus)
        for block in _blocks(path)
        for match in _ID.finditer(block)
    )
    # Comparing each properly would take minutes; common ends tell which are worth it.
    likely = heapq.nlargest(_NUM_COMPARED, ids, key=lambda other: _likeness(identifier, other))
    contained = [other for other in dict.fromkeys(likely) if identifier in other]
    similar = get_close_matches(identifier, dict.fromkeys(likely), NUM_CLOSEST)
    return list(dict.fromkeys([*similar, *contained]))[:NUM_CLOSEST]


def _files(corpus: Path) -> list[Path]:
    kept = sorted(corpus.glob(f"{DOCUMENTS_PREFIX}-*.jsonl.zst"))
    return kept + sorted(corpus.glob(f"{DROPPED_PREFIX}-*.jsonl.zst")) if kept else []


def _lines_with(path: Path, needles: Sequence[bytes]) -> list[dict[str, Any]]:
    """Return the records whose lines begin with one of the needles."""
    records: list[dict[str, Any]] = []
    for block in _blocks(path):
        for needle in needles:
            place = block.find(needle)
            while place >= 0:
                # Elsewhere in a line it may be part of another document's meta.
                if place == 0 or block[place - 1] == ord("\n"):
                    records.append(_record(path, block, place))
                place = block.find(needle, place + 1)
    return records


def _record(path: Path, block: bytes, start: int) -> dict[str, Any]:
    end = block.find(b"\n", start)
    try:
        return orjson.loads(block[start : end if end >= 0 else len(block)])
    except ValueError as error:
        raise DataError(f"{path}: damaged: a line is not JSON; clean again") from error


def _blocks(path: Path) -> Iterator[bytes]:
    """Yield the content of a file, unpacked, in stretches of whole lines."""
    rest: list[bytes] = []
    size = 0
    with path.open("rb") as handle:
        try:
            for chunk in unpacked(handle, ".zst"):
                rest.append(chunk)
                size += len(chunk)
                if size >= _BLOCK_BYTES and b"\n" in chunk:
                    start, _, end = chunk.rpartition(b"\n")
                    yield b"".join([*rest[:-1], start, b"\n"])
                    rest, size = [end], len(end)
        except DamagedStream as damage:
            raise DataError(f"{path}: damaged: {damage}; clean again") from damage
    if size:
        yield b"".join(rest)


def _likeness(wanted: str, other: str) -> int:
    ends = _num_common(wanted, other) + _num_common(reversed(wanted), reversed(other))
    return ends + len(wanted) * (wanted in other or other in wanted)


def _num_common(first: Iterable[str], second: Iterable[str]) -> int:
    """Count the characters that two texts begin with alike."""
    pairs = zip(first, second, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _suggestion(ids: list[str]) -> str:
    return f"; did you mean {', '.join(map(repr, ids))}?" if ids else ""
