"""Fingerprints of documents on their way to the disk, and those of earlier corpora."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from llmctl.core.artifacts.corpus import read_corpus
from llmctl.core.artifacts.fingerprint_units import FingerprintUnit
from llmctl.core.clean_plan import DuplicatesPlan
from llmctl.core.text.fingerprints import Fingerprinter, Fingerprints

_UNIT_CHARACTERS = 1 << 22


@dataclass(frozen=True, slots=True)
class EarlierCorpus:
    """A corpus whose documents are not to come again.

    Attributes:
        name: As the recipe has it.
        units: Files of its fingerprints.
    """

    name: str
    units: tuple[Path, ...]


def unit_of(fingerprints: Fingerprints, identifiers: Sequence[str]) -> FingerprintUnit:
    """Put the fingerprints of documents together with their ids.

    Raises:
        ValueError: There are not as many of both.
    """
    if len(fingerprints) != len(identifiers):
        raise ValueError(f"{len(fingerprints)} fingerprints of {len(identifiers)} documents")
    encoded = [identifier.encode("utf-8", "surrogatepass") for identifier in identifiers]
    return FingerprintUnit(
        digests_N2=fingerprints.digests_N2,
        lengths_N=fingerprints.lengths_N,
        signatures_NH=fingerprints.signatures_NH,
        shingle_ends_N=fingerprints.shingle_ends_N,
        shingles_S=fingerprints.shingles_S,
        line_ends_N=fingerprints.line_ends_N,
        lines_L=fingerprints.lines_L,
        id_ends_N=np.cumsum([len(each) for each in encoded], dtype=np.int64),
        ids=np.frombuffer(b"".join(encoded), np.uint8),
    )


def write_fingerprints(
    documents: Iterable[tuple[str, str]],
    plan: DuplicatesPlan,
    directory: Path,
    between: Callable[[], object] = lambda: None,
) -> tuple[Path, ...]:
    """Fingerprint any number of documents into files of a few megabytes.

    Args:
        documents: Id and text of each.
        plan: What counts as a duplicate.
        directory: Where the files go; it is made.
        between: Called between documents, and may raise to end early.

    Raises:
        StorageError: The disk is full or failing.
    """
    directory.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    fingerprinter, identifiers, num_characters = Fingerprinter(plan), list[str](), 0

    def write() -> None:
        path = directory / f"{len(paths):05d}.fingerprints"
        unit_of(fingerprinter.finish(), identifiers).write(path)
        paths.append(path)

    for identifier, text in documents:
        between()
        fingerprinter.add(text)
        identifiers.append(identifier)
        num_characters += len(text) + len(identifier)
        if num_characters >= _UNIT_CHARACTERS:
            write()
            fingerprinter, identifiers, num_characters = Fingerprinter(plan), [], 0
    if identifiers:
        write()
    return tuple(paths)


def fingerprint_corpus(
    corpus: Path,
    name: str,
    plan: DuplicatesPlan,
    directory: Path,
    between: Callable[[], object] = lambda: None,
) -> EarlierCorpus:
    """Fingerprint the kept documents of an earlier corpus.

    Args:
        corpus: Its directory.
        name: As the recipe has it.
        plan: What counts as a duplicate.
        directory: Where the files go.
        between: Called between documents, and may raise to end early.

    Raises:
        MissingInputError: It is no corpus.
        DataError: A file of it is damaged.
        StorageError: The disk is full or failing.
    """
    documents = ((document.id, document.text) for document in read_corpus(corpus))
    return EarlierCorpus(name, write_fingerprints(documents, plan, directory, between))
