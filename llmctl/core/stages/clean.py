"""clean: raw text → corpus.

Each unit of work is a few small sources or one large one: their documents, repaired and
judged, in a file that the next start takes up. Then duplicates are sought across all of
them, and the corpus is written in the order of the input.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

from llmctl.core import atomic
from llmctl.core.artifacts.corpus import CorpusWriter, write_lines
from llmctl.core.artifacts.corpus_report import CorpusReport
from llmctl.core.artifacts.documents import (
    KNOWN_KINDS,
    Document,
    Unreadable,
    json_bytes,
    to_line,
)
from llmctl.core.artifacts.sources import Source
from llmctl.core.artifacts.streams import read_lines
from llmctl.core.clean_plan import CleanPlan
from llmctl.core.errors import DataError
from llmctl.core.manifest import Manifest
from llmctl.core.progress import Progress
from llmctl.core.text.language import UNKNOWN, language_of
from llmctl.core.text.near_duplicates import Duplicate, DuplicateIndex
from llmctl.core.text.quality import Judge
from llmctl.core.text.repair import repair
from llmctl.core.workspace import Workspace

EXACT_DUPLICATE = "exact_duplicate"
NEAR_DUPLICATE = "near_duplicate"

UNIT_BYTES = 16_000_000
UNIT_SOURCES = 1000
_UNIT_COMPRESSION_LEVEL = 1
_CHECK_EVERY = 32
_LARGE_SHARE = 0.5
# Of fewer documents in a language, half may go for good reasons.
_MIN_DOCUMENTS_OF_A_LANGUAGE = 20
_PLACES_SHOWN = 3

_Record = dict[str, Any]


def clean(
    plan: CleanPlan, sources: Sequence[Source], workspace: Workspace, *, progress: Progress
) -> Manifest:
    """Read, repair, judge and deduplicate the sources, and publish the corpus.

    Args:
        plan: The recipe's section.
        sources: The inputs, in order.
        workspace: Where the corpus grows.
        progress: Who watches.

    Raises:
        DataError: Nothing can be read, too much cannot, or no document is left.
        MissingInputError: A source has gone.
        Interrupted, OutOfTime: `progress` asked for the end; what is finished is kept.
    """
    _warn_of_left_out(sources, progress)
    with atomic.storage_errors(workspace.path):
        units = _judge_sources(plan, sources, workspace, progress)
        with _Texts(workspace.path) as texts:
            intake = _take_in(plan, units, texts, progress)
            _refuse_unreadable(plan, sources, intake, progress)
            duplicates = intake.index.resolve(texts.text, between=progress.check)
            report = _write_corpus(plan, units, texts, duplicates, workspace.result, progress)
    # Conservation: what was read is what was kept, dropped or marked.
    assert report.all.total == intake.num_records, (report.all, intake.num_records)
    _warn_of_large_shares(report, progress)
    if not report.all.kept:
        dropped = ", ".join(f"{rule} {count}" for rule, count in report.all.dropped.most_common())
        raise DataError(
            f"no document is left: all {report.all.total} were dropped ({dropped}); "
            "loosen these rules of `clean`, or give it other inputs"
        )
    return workspace.publish(_counts(report))


def _judge_sources(
    plan: CleanPlan, sources: Sequence[Source], workspace: Workspace, progress: Progress
) -> list[Path]:
    """Make the units that are not there yet, and return all."""
    digests = workspace.identity.inputs
    units: list[Path] = []
    groups = list(_grouped(sources))
    sizes = [sum(source.size_bytes or 0 for source in group) for group in groups]
    progress.begin("clean", sum(sizes) or None, "bytes")
    for number, (group, size) in enumerate(zip(groups, sizes, strict=True)):
        names = "\n".join(source.name for source in group)
        digest = hashlib.sha256(names.encode("utf-8", "replace")).hexdigest()
        unit = workspace.units / f"{number:05d}-{digest[:8]}.jsonl.zst"
        units.append(unit)
        if unit.exists():
            progress.advance(size)
            continue
        temporary = unit.with_name(f".{unit.name}.tmp")
        with write_lines(temporary, _UNIT_COMPRESSION_LEVEL) as writer:
            num_records = 0
            for source in group:
                for line in _judged(plan, source, digests.get(source.name), progress):
                    writer.write(line)
                    num_records += 1
            writer.write(json_bytes({"end": num_records}))
        atomic.observer("write", temporary)
        atomic.sync_file(temporary)
        atomic.rename(temporary, unit)
        atomic.sync_directory(unit.parent)
    progress.end()
    return units


def _grouped(sources: Sequence[Source]) -> Iterator[list[Source]]:
    """Put small sources together: syncing a file to the disk costs more than cleaning one."""
    group: list[Source] = []
    size = 0
    for source in sources:
        source_size = source.size_bytes or 0
        if group and (size + source_size > UNIT_BYTES or len(group) >= UNIT_SOURCES):
            yield group
            group, size = [], 0
        group.append(source)
        size += source_size
    if group:
        yield group


def _judged(
    plan: CleanPlan, source: Source, expected_digest: str | None, progress: Progress
) -> Iterator[bytes]:
    """Yield a line for each document of a source and for each unreadable mark."""
    judge = Judge(plan)
    with source.open() as reader:
        num_bytes = 0
        for number, item in enumerate(reader):
            if isinstance(item, Unreadable):
                yield json_bytes(
                    {"unreadable": item.place, "reason": item.reason, "source": source.name}
                )
            else:
                yield _judged_document(plan, judge, item)
            if number % _CHECK_EVERY == 0:
                progress.check()
                progress.advance(reader.num_bytes - num_bytes)
                num_bytes = reader.num_bytes
        digest = reader.digest()
        progress.advance(reader.num_bytes - num_bytes)
    if expected_digest is not None and digest != expected_digest:
        raise DataError(f"{source.name}: changed while it was being read; run again")


def _judged_document(plan: CleanPlan, judge: Judge, document: Document) -> bytes:
    text = repair(document.text) if plan.repair else document.text
    document = replace(document, text=text, language=language_of(text))
    judgement = judge.judge(text, document.language)
    document, violation = replace(document, text=judgement.text), judgement.violation
    if violation is None:
        return to_line(document)
    return to_line(
        document, rule=violation.rule, value=violation.value, threshold=violation.threshold
    )


def _records(units: Sequence[Path]) -> Iterator[_Record]:
    for unit in units:
        num_records, end = 0, None
        for line in read_lines(unit):
            record: _Record = orjson.loads(line)
            if "end" in record:
                end = record["end"]
                continue
            num_records += 1
            yield record
        if end != num_records:
            raise DataError(f"{unit}: {num_records} records, expected {end}; remove it, run again")


def _document(record: _Record) -> Document:
    return Document(*(record[name] for name in ("id", "source", "language", "text", "meta")))


class _Texts:
    """The ids and texts of the documents that no rule dropped, on the disk, by number."""

    def __init__(self, directory: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115
        self._ends = array("Q", [0])

    def __enter__(self) -> _Texts:
        return self

    def __exit__(self, *_error: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._ends) - 1

    def add(self, identifier: str, text: str) -> None:
        self._ends.append(self._ends[-1] + self._file.write(json_bytes([identifier, text])))

    def flush(self) -> None:
        self._file.flush()

    def id(self, number: int) -> str:
        return self._entry(number)[0]

    def text(self, number: int) -> str:
        return self._entry(number)[1]

    def _entry(self, number: int) -> list[str]:
        start, end = self._ends[number], self._ends[number + 1]
        return orjson.loads(os.pread(self._file.fileno(), end - start, start))


@dataclass
class _Intake:
    """What the units hold, all together."""

    index: DuplicateIndex
    num_records: int = 0
    num_unreadable: int = 0
    places: list[str] = field(default_factory=list[str])


def _take_in(plan: CleanPlan, units: Sequence[Path], texts: _Texts, progress: Progress) -> _Intake:
    """Count all records and fingerprint the documents that no rule dropped."""
    intake = _Intake(DuplicateIndex(plan.duplicates.similarity))
    progress.begin("find duplicates", unit="documents")
    for record in _records(units):
        intake.num_records += 1
        progress.advance()
        if intake.num_records % _CHECK_EVERY == 0:
            progress.check()
        if "unreadable" in record:
            intake.num_unreadable += 1
            if len(intake.places) < _PLACES_SHOWN:
                intake.places.append(f"{record['unreadable']}: {record['reason']}")
        elif "rule" not in record:
            texts.add(record["id"], record["text"])
            intake.index.add(record["text"])
    texts.flush()
    progress.end()
    return intake


def _refuse_unreadable(
    plan: CleanPlan, sources: Sequence[Source], intake: _Intake, progress: Progress
) -> None:
    """Warn about what cannot be read; refuse nothing, or too little, to read."""
    num_records, num_unreadable = intake.num_records, intake.num_unreadable
    if num_records == 0:
        names = ", ".join(source.name for source in sources[:_PLACES_SHOWN])
        more = ", …" if len(sources) > _PLACES_SHOWN else ""
        raise DataError(f"the input is empty: no document in {names}{more}")
    if num_unreadable == 0:
        return
    places = "\n  ".join([*intake.places, *["…"] * (num_unreadable > _PLACES_SHOWN)])
    if num_unreadable == num_records:
        raise DataError(f"nothing can be read of {num_records} documents:\n  {places}")
    share = num_unreadable / num_records
    found = f"{num_unreadable} of {num_records} documents ({share:.2%}) cannot be read"
    if share > plan.max_unreadable:
        raise DataError(
            f"{found}, more than clean.max_unreadable = {plan.max_unreadable:g} allows:\n"
            f"  {places}\nmend them, or raise clean.max_unreadable; nothing was published"
        )
    progress.warn(f"{found}, and are left out:\n  {places}")


def _write_corpus(
    plan: CleanPlan,
    units: Sequence[Path],
    texts: _Texts,
    duplicates: Mapping[int, Duplicate],
    directory: Path,
    progress: Progress,
) -> CorpusReport:
    report = CorpusReport()
    number = 0
    with CorpusWriter(directory) as writer:
        for count, record in enumerate(_records(units)):
            if count % _CHECK_EVERY == 0:
                progress.check()
            if "unreadable" in record:
                mark = Unreadable(record["unreadable"], record["reason"])
                report.fail(record["source"], mark)
                continue
            document = _document(record)
            if "rule" in record:
                verdict: _Record = {name: record[name] for name in ("rule", "value", "threshold")}
            else:
                verdict = _verdict(plan, texts, duplicates.get(number))
                number += 1
            if verdict:
                writer.drop(document, **verdict)
                report.drop(document, verdict["rule"], verdict["value"])
            else:
                writer.keep(document)
                report.keep(document)
    report.write(directory)
    return report


def _verdict(plan: CleanPlan, texts: _Texts, duplicate: Duplicate | None) -> _Record:
    if duplicate is None:
        return {}
    return {
        "rule": EXACT_DUPLICATE if duplicate.is_exact else NEAR_DUPLICATE,
        "value": round(duplicate.similarity, 4),
        "threshold": 1.0 if duplicate.is_exact else plan.duplicates.similarity,
        "duplicate_of": texts.id(duplicate.survivor),
        "cluster": texts.id(duplicate.cluster),
    }


def _warn_of_large_shares(report: CorpusReport, progress: Progress) -> None:
    """Warn where one rule dropped more than half of all documents, or of a language's."""
    tallies = {"in all": report.all}
    for language, tally in report.languages.items():
        if language != UNKNOWN and tally.total >= _MIN_DOCUMENTS_OF_A_LANGUAGE:
            tallies[f"in {language}"] = tally
    warned: set[str] = set()
    for name, tally in tallies.items():
        for rule, count in tally.dropped.items():
            if count > _LARGE_SHARE * tally.total and rule not in warned:
                warned.add(rule)
                progress.warn(
                    f"{rule} dropped {count} of {tally.total} documents {name}; see "
                    "samples_of_dropped in the corpus's report.json, and loosen the rule if "
                    "they look sound"
                )


def _warn_of_left_out(sources: Sequence[Source], progress: Progress) -> None:
    for source in sources:
        if source.left_out:
            names = ", ".join(source.left_out[:_PLACES_SHOWN])
            more = ", …" if len(source.left_out) > _PLACES_SHOWN else ""
            progress.warn(
                f"{len(source.left_out)} files of unknown kinds are left out: {names}{more}; "
                f"known are {KNOWN_KINDS}"
            )


def _counts(report: CorpusReport) -> _Record:
    return {
        **report.all.as_json(),
        "languages": {
            language: tally.kept
            for language, tally in sorted(report.languages.items())
            if tally.kept
        },
    }
