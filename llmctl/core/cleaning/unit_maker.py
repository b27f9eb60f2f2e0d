"""From a stretch of the input to a finished unit: what a worker does with each document.

    repair → wire format → language → rules → contamination → privacy → fingerprint

Everything here looks at one document alone; what needs others (duplicates, shares of a
mix) is decided later, on the fingerprints and the index of all units.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from llmctl.core import atomic
from llmctl.core.artifacts.corpus import read_corpus_file
from llmctl.core.artifacts.corpus_tally import CorpusTally
from llmctl.core.artifacts.documents import Document, Unreadable, json_bytes, to_line
from llmctl.core.clean_plan import CleanPlan
from llmctl.core.cleaning.decontamination import RULE as CONTAMINATED
from llmctl.core.cleaning.decontamination import decontaminate
from llmctl.core.cleaning.fingerprinting import unit_of
from llmctl.core.cleaning.unit_files import UnitFiles, UnitIndex, write_records
from llmctl.core.cleaning.unit_jobs import UnitJob, UnitSetting, drawn, read_unit
from llmctl.core.text.fingerprints import Fingerprinter
from llmctl.core.text.language import detect
from llmctl.core.text.privacy import find_private, replace_private
from llmctl.core.text.quality import Judge
from llmctl.core.text.repair import repair
from llmctl.core.text.wire_format import cut_wire_format
from llmctl.core.worker_pool import Advance, Done

PRIVATE = "private"

_REPORT_EVERY = 32


class UnitMaker:
    """Makes units; one lives in each worker."""

    def __init__(self, setting: UnitSetting) -> None:
        self._setting = setting
        self._plan = setting.plan
        self._judge = Judge(setting.plan)

    def __call__(self, job: UnitJob, advance: Advance) -> None:
        """Make the unit's files, unless they are there.

        Raises:
            MissingInputError: A source has gone.
            StorageError: The disk is full.
        """
        files = UnitFiles(self._setting.directory, job.name)
        if files.is_finished:
            advance(Done(job.num_bytes))
            job.remove_piece()
            return
        with atomic.storage_errors(files.directory):
            unit = _Unit(self._plan)
            if job.earlier is None:
                lines = self._lines(job, unit, advance)
            else:
                lines = _earlier(job.earlier, unit, advance)
            finished = unit.finishing(lines, files)
            write_records(files.records, finished)
            job.remove_piece()

    def _lines(self, job: UnitJob, unit: _Unit, advance: Advance) -> Iterator[bytes]:
        num_documents = num_bytes = 0
        for source, item in self._items(job, advance):
            if isinstance(item, Unreadable):
                unit.tally.fail(source, item)
                unit.index.add_unreadable(item.place, item.reason)
                line = json_bytes({"unreadable": item.place, "reason": item.reason})
            else:
                unit.index.num_records += 1
                line = self._examined(item, unit)
            yield line
            num_documents += 1
            num_bytes += len(line)
            if num_documents == _REPORT_EVERY:
                advance(Done(0, num_documents, num_bytes))
                num_documents = num_bytes = 0
        advance(Done(0, num_documents, num_bytes))

    def _items(self, job: UnitJob, advance: Advance) -> Iterator[tuple[str, Document | Unreadable]]:
        below = self._setting.sample_below
        for source, item in read_unit(job, self._setting.sources, advance):
            if below is None or drawn(source, item) <= below:
                yield source, item

    def _examined(self, document: Document, unit: _Unit) -> bytes:
        if document.messages is not None or document.pair is not None:
            language, _ = detect(document.plain_text)
            document = replace(document, language=language)
            unit.add_candidate(document)
            return to_line(document)
        document, verdict = self._judged(self._repaired(document, unit), unit)
        if verdict is None:
            document, verdict = self._cleared(document, unit)
        if verdict is not None:
            return to_line(document, **verdict)
        unit.add_candidate(document)
        return to_line(document)

    def _repaired(self, document: Document, unit: _Unit) -> Document:
        if self._plan.repair:
            document = unit.changed("repair", document, repair(document.text))
        if self._plan.cut_wire_format:
            document = unit.changed("wire_format", document, cut_wire_format(document.text)[0])
        return document

    def _judged(self, document: Document, unit: _Unit) -> tuple[Document, dict[str, Any] | None]:
        language, score = detect(document.text)
        judgement = self._judge.judge(document.text, language, score)
        unit.tally.measured(language, judgement.measures, self._judge.rules(language))
        violation = judgement.violation
        if violation is not None:
            return replace(document, language=language), {
                "rule": violation.rule,
                "value": violation.value,
                "threshold": violation.threshold,
            }
        return unit.changed("lines", replace(document, language=language), judgement.text), None

    def _cleared(self, document: Document, unit: _Unit) -> tuple[Document, dict[str, Any] | None]:
        """Look for what must not be in the text: evaluation data, personal data."""
        evaluation = self._setting.evaluation
        if evaluation is not None:
            found = decontaminate(evaluation, document.text, self._plan.decontaminate.action)
            if found is not None:
                for hit in {hit.item: hit for hit in reversed(found.hits)}.values():
                    unit.tally.hits(hit.item, document.id, hit.matched)
                if found.text is None:
                    first = found.hits[0]
                    return document, {
                        "rule": CONTAMINATED,
                        "value": len(found.hits),
                        "threshold": 0,
                        "item": first.item,
                        "matched": first.matched,
                    }
                document = unit.changed("decontamination", document, found.text)
        privacy = self._plan.privacy
        if privacy.action != "off" and (found := find_private(document.text, privacy.kinds)):
            counts: dict[str, int] = {}
            for finding in found:
                counts[finding.kind] = counts.get(finding.kind, 0) + 1
            for kind, count in counts.items():
                unit.tally.private(kind, document.language, document.source, count)
            if privacy.action == "drop":
                return document, {
                    "rule": PRIVATE,
                    "value": len(found),
                    "threshold": 0,
                    "kinds": sorted(counts),
                }
            if privacy.action == "replace":
                document = unit.changed("privacy", document, replace_private(document.text, found))
        return document, None


class _Unit:
    """What is collected while a unit is read."""

    def __init__(self, plan: CleanPlan) -> None:
        self.tally = CorpusTally()
        self.index = UnitIndex()
        self._fingerprinter = Fingerprinter(plan.duplicates)
        self._identifiers: list[str] = []

    def add_candidate(self, document: Document) -> None:
        """Take in a document that no rule dropped."""
        self._identifiers.append(document.id)
        self.index.sources.append(document.source)
        self._fingerprinter.add(document.plain_text)

    def changed(self, kind: str, document: Document, text: str) -> Document:
        """Count a change of a document's text, if it is one, and return what it makes."""
        if text == document.text:
            return document
        self.tally.changed(kind, document.id, document.text, text, language=document.language)
        return replace(document, text=text)

    def finishing(self, lines: Iterator[bytes], files: UnitFiles) -> Iterator[bytes]:
        """Pass the lines on, and write the other files once they are all through."""
        yield from lines
        unit_of(self._fingerprinter.finish(), self._identifiers).write(files.fingerprints)
        self.index.write(files.index)
        atomic.write_file(files.tally, json_bytes(self.tally.as_json()))


def _earlier(path: Path, unit: _Unit, advance: Advance) -> Iterator[bytes]:
    """Fingerprint a file of an earlier corpus; its documents are candidates and nothing else."""
    for document in read_corpus_file(path):
        unit.add_candidate(document)
        advance(Done(documents=1))
    advance(Done(path.stat().st_size))
    yield from ()
