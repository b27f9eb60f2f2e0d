"""The files of one unit of cleaning: what was read in it and what was found out.

    NAME.jsonl.zst      a record for each document, the dropped ones with their verdict, and
                        for each thing that cannot be read; at the end how many there are
    NAME.fingerprints   of the documents that no rule dropped (candidates), for duplicates
    NAME.index.json     how much there is, and the inputs of the candidates
    NAME.tally.json     what was measured

The records are put in place last, so a unit is there whole or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from llmctl.core import atomic
from llmctl.core.artifacts.corpus import write_lines
from llmctl.core.artifacts.documents import json_bytes
from llmctl.core.artifacts.streams import read_lines
from llmctl.core.errors import DataError

COMPRESSION_LEVEL = 1
MAX_PLACES = 4

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class UnitFiles:
    """Where the files of a unit lie.

    Attributes:
        directory: Of all units.
        name: Of this one; units sort by it in the order of the input.
    """

    directory: Path
    name: str

    @property
    def records(self) -> Path:
        """The documents."""
        return self.directory / f"{self.name}.jsonl.zst"

    @property
    def fingerprints(self) -> Path:
        """For finding duplicates."""
        return self.directory / f"{self.name}.fingerprints"

    @property
    def index(self) -> Path:
        """For naming and drawing candidates."""
        return self.directory / f"{self.name}.index.json"

    @property
    def tally(self) -> Path:
        """What was measured."""
        return self.directory / f"{self.name}.tally.json"

    @property
    def is_finished(self) -> bool:
        """Whether the unit is whole."""
        return self.records.exists()


@dataclass(slots=True)
class UnitIndex:
    """How much was read in a unit, and where its candidates come from.

    Attributes:
        num_records: Documents, and things that cannot be read.
        num_unreadable: Of these.
        places: The first of these, each with the reason.
        sources: Name of the input of each candidate.
    """

    num_records: int = 0
    num_unreadable: int = 0
    places: list[str] = field(default_factory=list[str])
    sources: list[str] = field(default_factory=list[str])

    def add_unreadable(self, place: str, reason: str) -> None:
        """Count something that is no document."""
        self.num_records += 1
        self.num_unreadable += 1
        if len(self.places) < MAX_PLACES:
            self.places.append(f"{place}: {reason}")

    def write(self, path: Path) -> None:
        """Write the file."""
        atomic.write_file(path, json_bytes(asdict(self)))

    @classmethod
    def read(cls, path: Path) -> UnitIndex:
        """Read a file that `write` made."""
        return cls(**orjson.loads(path.read_bytes()))


def write_records(path: Path, lines: Iterator[bytes]) -> None:
    """Write records and their number, whole or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    with write_lines(temporary, COMPRESSION_LEVEL) as writer:
        num_records = 0
        for line in lines:
            writer.write(line)
            num_records += 1
        writer.write(json_bytes({"end": num_records}))
    atomic.observer("write", temporary)
    atomic.sync_file(temporary)
    atomic.rename(temporary, path)
    atomic.sync_directory(path.parent)


def read_records(path: Path) -> Iterator[tuple[bytes, Record]]:
    """Yield each record with its line, without the end of it.

    Raises:
        DataError: It is damaged or not whole.
    """
    num_records, end = 0, None
    for line in read_lines(path):
        record: Record = orjson.loads(line)
        if "end" in record:
            end = record["end"]
            continue
        num_records += 1
        yield line, record
    if end != num_records:
        raise DataError(f"{path}: {num_records} records, expected {end}; remove it, run again")
