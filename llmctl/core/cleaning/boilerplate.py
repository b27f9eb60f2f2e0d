"""Lines that too many kept documents share, counted over all units in bounded memory."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from llmctl.core import atomic
from llmctl.core.artifacts.fingerprint_units import FingerprintUnits
from llmctl.core.cleaning.duplicates import Duplicates
from llmctl.core.cleaning.spill import Spill

_LINE = np.dtype("<u8")


def boilerplate_lines(
    units: Sequence[Path],
    max_documents: int,
    duplicates: Duplicates,
    scratch: Path,
    between: Callable[[], object] = lambda: None,
) -> NDArray[np.uint64]:
    """Return the hashes of lines that more kept documents hold, sorted.

    Dropped duplicates do not count: else a text's lines would be boilerplate for having
    been copied, and cut from the copy that is kept as well.

    Args:
        units: The files of fingerprints, in order.
        max_documents: Lines in more documents are boilerplate.
        duplicates: Which documents are dropped.
        scratch: A directory for temporary files.
        between: Called between units and parts, and may raise to end early.

    Raises:
        DataError: A file is damaged.
        StorageError: The disk is full or failing.
    """
    with (
        atomic.storage_errors(scratch),
        tempfile.TemporaryDirectory(dir=scratch, prefix="lines-") as temporary,
    ):
        documents = FingerprintUnits(units)
        spill = Spill(Path(temporary) / "lines", _LINE, documents.num_lines)
        for first, unit in documents:
            between()
            is_kept_N = duplicates.kept(first, first + len(unit))
            lines = unit.lines_L[np.repeat(is_kept_N, np.diff(unit.line_ends_N, prepend=0))]
            spill.add_by_hash(lines, lines)
        found: list[NDArray[np.uint64]] = [np.empty(0, _LINE)]
        for part in range(spill.num_parts):
            between()
            lines, counts = np.unique(spill.part(part), return_counts=True)
            found.append(lines[counts > max_documents])
        return np.concatenate(found)
