"""From a finished unit and what was decided about it to its part of the corpus.

NAME.documents.zst, NAME.dropped.zst    lines as they stand in the corpus, packed lightly
NAME.part.json                          their sizes, and the unit's account
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from llmctl.core import atomic
from llmctl.core.artifacts.corpus import write_lines
from llmctl.core.artifacts.corpus_tally import CorpusTally
from llmctl.core.artifacts.documents import Document, from_record, json_bytes, to_line
from llmctl.core.cleaning.mixing import copy_id
from llmctl.core.cleaning.unit_files import COMPRESSION_LEVEL, Record, UnitFiles, read_records
from llmctl.core.text.repeated_lines import cut_lines
from llmctl.core.worker_pool import Advance, Done

EMPTY = "min_characters"


@dataclass(frozen=True, slots=True)
class PartJob:
    """One unit to write.

    Attributes:
        name: Of the unit.
        dropped: The verdicts about candidates that are dropped, by their number in the unit.
        copies: How often each other candidate is written, where not once.
        cluster_sizes: How many documents each stands for, where more than itself.
    """

    name: str
    dropped: Mapping[int, Record] = field(default_factory=dict[int, Record])
    copies: Mapping[int, int] = field(default_factory=dict[int, int])
    cluster_sizes: Mapping[int, int] = field(default_factory=dict[int, int])


@dataclass(frozen=True, slots=True)
class PartFiles:
    """Where a unit's part of the corpus lies."""

    directory: Path
    name: str

    @property
    def documents(self) -> Path:
        """The kept ones."""
        return self.directory / f"{self.name}.documents.zst"

    @property
    def dropped(self) -> Path:
        """The others."""
        return self.directory / f"{self.name}.dropped.zst"

    @property
    def account(self) -> Path:
        """Written last."""
        return self.directory / f"{self.name}.part.json"


@dataclass(frozen=True, slots=True)
class PartAccount:
    """What a part holds.

    Attributes:
        num_document_bytes: Size of the kept lines, unpacked.
        num_dropped_bytes: Size of the others.
        tally: What became of the unit's documents, as `CorpusTally.as_json` has it.
    """

    num_document_bytes: int
    num_dropped_bytes: int
    tally: Record

    @classmethod
    def read(cls, path: Path) -> PartAccount:
        """Read a file that a `PartWriter` made."""
        return cls(*orjson.loads(path.read_bytes()))


class PartWriter:
    """Writes parts; one lives in each worker.

    Args:
        units: Directory of the units.
        parts: Directory of the parts.
        boilerplate: File of the sorted hashes of lines to cut out, uint64; None: none.
    """

    def __init__(self, units: Path, parts: Path, boilerplate: Path | None) -> None:
        self._units = units
        self._parts = parts
        self._boilerplate = None if boilerplate is None else np.fromfile(boilerplate, np.uint64)

    def __call__(self, job: PartJob, advance: Advance) -> None:
        """Make the part's files, unless they are there.

        Raises:
            DataError: The unit is damaged.
            StorageError: The disk is full.
        """
        part = PartFiles(self._parts, job.name)
        if part.account.exists():
            return
        unit = UnitFiles(self._units, job.name)
        tally = CorpusTally.from_json(orjson.loads(unit.tally.read_bytes()))
        sizes = {True: 0, False: 0}
        with (
            atomic.storage_errors(self._parts),
            write_lines(part.documents, COMPRESSION_LEVEL) as documents,
            write_lines(part.dropped, COMPRESSION_LEVEL) as dropped,
        ):
            for is_kept, line in self._lines(unit.records, job, tally):
                (documents if is_kept else dropped).write(line)
                sizes[is_kept] += len(line)
                advance(Done(documents=1))
        account = [sizes[True], sizes[False], tally.as_json()]
        atomic.write_file(part.account, json_bytes(account))

    def _lines(self, records: Path, job: PartJob, tally: CorpusTally) -> Any:
        number = -1
        for found, record in read_records(records):
            if "unreadable" in record:
                continue
            document = from_record(record)
            if "rule" in record:
                tally.drop(document, **_verdict(record))
                yield False, found + b"\n"
                continue
            number += 1
            line, verdict = found, job.dropped.get(number)
            if verdict is None:
                before, document = document, self._without_boilerplate(document, tally)
                if document is not before:
                    line = to_line(document).removesuffix(b"\n")
                    if not document.text.strip():
                        verdict = dict[str, Any](rule=EMPTY, value=0, threshold=1)
            if verdict is not None:
                tally.drop(document, **verdict)
                yield False, to_line(document, **verdict)
                continue
            yield from _kept(document, line, number, job, tally)

    def _without_boilerplate(self, document: Document, tally: CorpusTally) -> Document:
        if self._boilerplate is None or not document.text:
            return document
        text, num_cut = cut_lines(document.text, self._boilerplate)
        if not num_cut:
            return document
        tally.changed("boilerplate", document.id, document.text, text, language=document.language)
        return replace(document, text=text)


def _verdict(record: Record) -> Record:
    document_keys = ("id", "source", "language", "text", "messages", "pair", "meta")
    return {name: value for name, value in record.items() if name not in document_keys}


def _kept(document: Document, line: bytes, number: int, job: PartJob, tally: CorpusTally) -> Any:
    size = job.cluster_sizes.get(number, 1)
    copies = job.copies.get(number, 1)
    tally.keep(document, times=copies)
    if size > 1:
        tally.cluster(document.id, size)
    yield True, to_line(document, cluster_size=size) if size > 1 else line + b"\n"
    for copy in range(2, copies + 1):
        yield True, to_line(replace(document, id=copy_id(document.id, copy)))
