"""Fingerprints of documents on their way to the disk, and those of earlier corpora."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from llmctl.core.artifacts.fingerprint_units import FingerprintUnit
from llmctl.core.text.fingerprints import Fingerprints


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
