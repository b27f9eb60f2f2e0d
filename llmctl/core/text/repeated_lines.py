"""Lines that many documents share: menus, notices, signatures, in one word boilerplate."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

LineHashes = NDArray[np.uint64]


def line_hashes(text: str, min_characters: int) -> LineHashes:
    """Return a hash of each distinct line, sorted; blanks at a line's ends do not count.

    Lines without a letter or digit are passed over: a rule that underlines a heading is no
    boilerplate, however many documents have it.

    Args:
        text: The document.
        min_characters: Shorter lines are passed over.
    """
    found = {line.strip() for line in text.split("\n")}
    hashes = sorted(
        _hash(line) for line in found if len(line) >= min_characters and any(map(str.isalnum, line))
    )
    return np.array(hashes, dtype=np.uint64)


def cut_lines(text: str, boilerplate: LineHashes) -> tuple[str, int]:
    """Cut the lines out whose hashes are given.

    Blank lines that then stand at either end go too.

    Args:
        text: The document.
        boilerplate: Sorted hashes of lines, as `line_hashes` makes them.

    Returns:
        The text, unchanged where no line is cut, and how many lines were cut.
    """
    if not len(boilerplate):
        return text, 0
    lines = text.split("\n")
    hashes = np.array([_hash(line.strip()) for line in lines], dtype=np.uint64)
    places = np.searchsorted(boilerplate, hashes)
    places[places == len(boilerplate)] = 0
    is_cut = boilerplate[places] == hashes
    num_cut = int(np.count_nonzero(is_cut))
    if not num_cut:
        return text, 0
    kept = [line for line, cut in zip(lines, is_cut.tolist(), strict=True) if not cut]
    return "\n".join(kept).strip("\n"), num_cut


def _hash(line: str) -> int:
    digest = hashlib.blake2b(line.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")
