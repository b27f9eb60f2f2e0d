"""What is kept of a document to find its duplicates: numbers instead of its text.

Shapes: N documents, S shingles of all, L lines of all, H hash functions (0 where MinHash
is not needed).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llmctl.core.clean_plan import DuplicatesPlan
from llmctl.core.text.near_duplicates import NUM_HASHES, Signatures, signatures
from llmctl.core.text.polynomial_hashes import Hashes
from llmctl.core.text.repeated_lines import LineHashes, line_hashes
from llmctl.core.text.shingles import PIECE_CHARACTERS, Ends, ShingleHashes, shingle_sets
from llmctl.core.text.words import folded


@dataclass(frozen=True, slots=True)
class Fingerprints:
    """Fingerprints of documents, in order.

    Attributes:
        digests_N2: Of the text blind to case, width and white space; equal for exact
            duplicates.
        lengths_N: Characters of the text.
        signatures_NH: MinHash of the shingles; H is 0 unless similarity is Jaccard's.
        shingle_ends_N: Where each document's shingles end.
        shingles_S: The shingles of each document, sorted, without repeats.
        line_ends_N: Where each document's lines end.
        lines_L: Hashes of the lines of each document, sorted, without repeats.
    """

    digests_N2: Hashes
    lengths_N: NDArray[np.uint32]
    signatures_NH: Signatures
    shingle_ends_N: Ends
    shingles_S: ShingleHashes
    line_ends_N: Ends
    lines_L: LineHashes

    def __len__(self) -> int:
        return len(self.lengths_N)


class Fingerprinter:
    """Takes the fingerprints of documents; the same ones whichever documents come before.

    Args:
        plan: What counts as a duplicate.
    """

    def __init__(self, plan: DuplicatesPlan) -> None:
        self._plan = plan
        self._digests = bytearray()
        self._lengths: list[int] = []
        self._waiting: list[str] = []
        self._waiting_characters = 0
        self._signatures: list[Signatures] = [np.empty((0, self._num_hashes), np.uint16)]
        self._shingles: list[ShingleHashes] = [np.empty(0, np.uint32)]
        self._shingle_ends: list[Ends] = [np.empty(0, np.int64)]
        self._num_shingles = 0
        self._lines: list[LineHashes] = [np.empty(0, np.uint64)]
        self._line_counts: list[int] = []

    @property
    def _num_hashes(self) -> int:
        is_signed = self._plan.similarity is not None and self._plan.measure == "jaccard"
        return NUM_HASHES if is_signed else 0

    def __len__(self) -> int:
        return len(self._lengths)

    def add(self, text: str) -> None:
        """Take the next document's."""
        plain = folded(text)
        content = " ".join(plain.split()).encode("utf-8", "surrogatepass")
        self._digests += hashlib.blake2b(content, digest_size=16).digest()
        self._lengths.append(len(text))
        lines = np.empty(0, np.uint64)
        if self._plan.max_line_documents is not None:
            lines = line_hashes(text, self._plan.min_line_characters)
            self._lines.append(lines)
        self._line_counts.append(len(lines))
        if self._plan.similarity is not None:
            if self._waiting_characters + len(plain) > PIECE_CHARACTERS:
                self._take_shingles()
            self._waiting.append(plain)
            self._waiting_characters += len(plain) + 1

    def finish(self) -> Fingerprints:
        """Return the fingerprints of all documents that were added."""
        self._take_shingles()
        num_documents = len(self)
        shingle_ends_N = np.concatenate(self._shingle_ends)
        signatures_NH = np.concatenate(self._signatures)
        if self._plan.similarity is None:
            shingle_ends_N = np.zeros(num_documents, np.int64)
            signatures_NH = np.empty((num_documents, 0), np.uint16)
        return Fingerprints(
            digests_N2=np.frombuffer(bytes(self._digests), dtype="<u8").reshape(-1, 2),
            lengths_N=np.minimum(self._lengths, 0xFFFFFFFF).astype(np.uint32),
            signatures_NH=signatures_NH,
            shingle_ends_N=shingle_ends_N,
            shingles_S=np.concatenate(self._shingles),
            line_ends_N=np.cumsum(self._line_counts, dtype=np.int64),
            lines_L=np.concatenate(self._lines),
        )

    def _take_shingles(self) -> None:
        if not self._waiting:
            return
        sets_S, ends_N = shingle_sets(self._waiting)
        if self._num_hashes:
            self._signatures.append(signatures(sets_S, ends_N))
        else:
            self._signatures.append(np.empty((len(ends_N), 0), np.uint16))
        self._shingles.append(sets_S)
        self._shingle_ends.append(ends_N + self._num_shingles)
        self._num_shingles += len(sets_S)
        self._waiting, self._waiting_characters = [], 0
