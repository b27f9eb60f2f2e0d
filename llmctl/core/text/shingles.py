"""Five words in a row, as numbers: what near-duplicates are compared by.

The words are those of `words.words`, found for many documents at once by arithmetic on
arrays of code points, without a loop over words.

Shapes: N documents, C characters, W words, S shingles of all documents.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from llmctl.core.text.code_points import CodePointTable, code_points
from llmctl.core.text.polynomial_hashes import TABLE_SIZE, Hashes, mixed, stretch_hashes
from llmctl.core.text.words import UNSPACED_CHARACTER, WORD_CHARACTER

SHINGLE_WORDS = 5
PIECE_CHARACTERS = TABLE_SIZE
"""So many characters are worked on at a time: their arrays stay in the processor's cache."""

ShingleHashes = NDArray[np.uint32]
Ends = NDArray[np.int64]

_LETTER, _UNSPACED = 1, 2
_MULTIPLIER = np.uint64(0xD1342543DE82EF95)


def shingle_sets(folded_texts: Sequence[str]) -> tuple[ShingleHashes, Ends]:
    """Return the set of shingles of each document.

    A document of fewer than SHINGLE_WORDS words has one shingle, one without words none.

    Args:
        folded_texts: The documents as `words.folded` returns them.

    Returns:
        The hashes of all documents, one document after the other, each sorted and without
        repeats, shape (S,), and where each document ends in them, shape (N,).
    """
    hashes_W, word_ends_N = word_hashes(folded_texts)
    num_words_N = np.diff(word_ends_N, prepend=0)
    num_documents = len(num_words_N)
    # Between documents stands emptiness, so that all shingles are made in one go.
    gap = SHINGLE_WORDS - 1
    padded = np.zeros(len(hashes_W) + gap * num_documents, dtype=np.uint64)
    padded[np.arange(len(hashes_W)) + np.repeat(np.arange(num_documents) * gap, num_words_N)] = (
        hashes_W
    )
    num_windows = max(0, len(padded) - gap)
    values = np.zeros(num_windows, dtype=np.uint64)
    for offset in range(SHINGLE_WORDS):
        values *= _MULTIPLIER
        values += padded[offset : offset + num_windows]
    num_shingles_N = np.maximum(num_words_N - gap, np.minimum(num_words_N, 1))
    firsts_N = word_ends_N - num_words_N + gap * np.arange(num_documents)
    document_S = np.repeat(np.arange(num_documents), num_shingles_N)
    within_S = np.arange(len(document_S)) - np.repeat(
        np.cumsum(num_shingles_N) - num_shingles_N, num_shingles_N
    )
    values_S = mixed(values[firsts_N[document_S] + within_S])
    keys_S = (document_S.astype(np.uint64) << np.uint64(32)) | (values_S >> np.uint64(32))
    keys_S.sort()
    is_first_S = np.ones(len(keys_S), dtype=bool)
    np.not_equal(keys_S[1:], keys_S[:-1], out=is_first_S[1:])
    keys_S = keys_S[is_first_S]
    ends_N = np.searchsorted(
        keys_S, np.arange(1, num_documents + 1, dtype=np.uint64) << np.uint64(32)
    )
    return keys_S.astype(np.uint32), ends_N.astype(np.int64)


def word_hashes(folded_texts: Sequence[str]) -> tuple[Hashes, Ends]:
    """Return a hash of each word of all documents, and where each document ends in them.

    The same in every process, however documents are put together. A word of more than
    PIECE_CHARACTERS characters counts as several.

    Args:
        folded_texts: The documents as `words.folded` returns them.

    Returns:
        Hashes, shape (W,), and ends, shape (N,).
    """
    hashes: list[Hashes] = []
    counts: list[NDArray[np.int64]] = []
    for batch in _batches(folded_texts):
        if len(batch) == 1:
            pieces = [_hashed(piece)[0] for piece in _pieces(_codes(batch[0]))]
            hashes += pieces
            counts.append(np.array([sum(map(len, pieces))], dtype=np.int64))
            continue
        # A line feed is no part of a word, and folding is done: texts do not touch.
        found_W, starts_W = _hashed(_codes("\n".join(batch)))
        stops_N = np.cumsum([len(text) + 1 for text in batch])
        hashes.append(found_W)
        counts.append(np.diff(np.searchsorted(starts_W, stops_N), prepend=0))
    if not counts:
        return np.empty(0, dtype=np.uint64), np.empty(0, dtype=np.int64)
    return np.concatenate([*hashes, np.empty(0, np.uint64)]), np.cumsum(np.concatenate(counts))


def _batches(texts: Sequence[str]) -> list[Sequence[str]]:
    """Put neighbours together as long as all fit into one piece."""
    batches: list[Sequence[str]] = []
    start, size = 0, 0
    for number, text in enumerate(texts):
        if number > start and size + len(text) + 1 > PIECE_CHARACTERS:
            batches.append(texts[start:number])
            start, size = number, 0
        size += len(text) + 1
    if start < len(texts):
        batches.append(texts[start:])
    return batches


def _codes(text: str) -> NDArray[np.unsignedinteger]:
    """Return the code points, shape (C,), as bytes where all are ASCII."""
    if text.isascii():
        return np.frombuffer(text.encode("ascii"), dtype=np.uint8)
    return code_points(text)


def _pieces(codes_C: NDArray[np.unsignedinteger]) -> list[NDArray[np.unsignedinteger]]:
    """Cut a long text between words."""
    pieces: list[NDArray[np.unsignedinteger]] = []
    start = 0
    while len(codes_C) - start > PIECE_CHARACTERS:
        piece = codes_C[start : start + PIECE_CHARACTERS]
        between = np.flatnonzero(_CLASSES.of(piece) != _LETTER)
        size = int(between[-1]) + 1 if len(between) else PIECE_CHARACTERS
        pieces.append(piece[:size])
        start += size
    pieces.append(codes_C[start:])
    return pieces


def _hashed(codes_C: NDArray[np.unsignedinteger]) -> tuple[Hashes, NDArray[np.intp]]:
    """Return the hash of each word, shape (W,), and at which character it starts."""
    num_characters = len(codes_C)
    if not num_characters:
        return np.empty(0, dtype=np.uint64), np.empty(0, dtype=np.intp)
    classes_C = _CLASSES.of(codes_C)
    is_letter_C = classes_C == _LETTER
    is_break_C = np.ones(num_characters, dtype=bool)
    np.logical_not(is_letter_C[1:] & is_letter_C[:-1], out=is_break_C[1:])
    breaks = np.flatnonzero(is_break_C)
    is_word = classes_C[breaks] != 0
    starts_W = breaks[is_word]
    stops_W = np.append(breaks[1:], num_characters)[is_word]
    return stretch_hashes(codes_C, starts_W, stops_W), starts_W


def _class_of(character: str) -> int:
    if UNSPACED_CHARACTER.match(character):
        return _UNSPACED
    return _LETTER if WORD_CHARACTER.match(character) else 0


_CLASSES = CodePointTable(_class_of, np.uint8)
