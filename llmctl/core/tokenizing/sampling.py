"""A little held-out text of each language, on which tokenizers are compared."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray

from llmctl.core import atomic
from llmctl.core.artifacts.documents import Document

UNIT_SAMPLE_BYTES = 100_000
SAMPLE_BYTES = 2_000_000
"""Of one language, at most."""

Sample = dict[str, list[str]]
"""Texts by language."""


def write_sample(path: Path, documents: Sequence[Document], hashes_D: NDArray[np.uint64]) -> None:
    """Write the documents of the lowest hashes of each language, which are held out first.

    Raises:
        StorageError: The disk is full.
    """
    left: dict[str, int] = {}
    lines: list[bytes] = []
    for number in np.argsort(hashes_D, kind="stable").tolist():
        document = documents[number]
        text = document.plain_text
        budget = left.setdefault(document.language, UNIT_SAMPLE_BYTES)
        if budget > 0:
            left[document.language] = budget - len(text.encode("utf-8"))
            record = [int(hashes_D[number]), document.language, text[:UNIT_SAMPLE_BYTES]]
            lines.append(orjson.dumps(record))
    atomic.write_file(path, b"\n".join(lines))


def read_sample(paths: Iterable[Path], bound: int | None) -> Sample:
    """Read the samples of all units.

    Args:
        paths: In the order of the corpora.
        bound: Only documents of a content hash below it are held out; None: all count.
    """
    sample: Sample = {}
    sizes: dict[str, int] = {}
    for path in paths:
        for line in path.read_bytes().splitlines():
            found, language, text = orjson.loads(line)
            size = sizes.get(language, 0)
            if size < SAMPLE_BYTES and (bound is None or found < bound):
                sample.setdefault(language, []).append(text)
                sizes[language] = size + len(text.encode("utf-8"))
    return sample
