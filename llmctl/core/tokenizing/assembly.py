"""Encoded documents → shards: each split in its order. D sequences, I instances of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from llmctl.core import atomic
from llmctl.core.artifacts.shards import DocumentPlaces, SplitName, SplitWriter, dtype_for
from llmctl.core.progress import Progress
from llmctl.core.tokenizing.encoded_units import EncodedDocuments
from llmctl.core.tokenizing.string_columns import StringColumn

# Gathered at a time; some fifty bytes a token are held meanwhile.
_CHUNK_TOKENS = 4_000_000

Order = NDArray[np.int64]
"""Numbers of sequences, shape (I,); one that is repeated stands there several times."""


def write_shards(
    orders: Mapping[SplitName, Order],
    encoded: EncodedDocuments,
    shape: tuple[int, int, int],
    directory: Path,
    progress: Progress,
) -> dict[SplitName, NDArray[np.int64]]:
    """Write the sequences of every split.

    Args:
        orders: Of each split.
        encoded: The sequences.
        shape: The vocabulary's size, the id that ends a document, and `shard_tokens`.
        directory: Where the files go.
        progress: Who watches.

    Returns:
        Where each instance begins in its split, and then the length of the split.

    Raises:
        StorageError: The disk is full, or would be.
    """
    vocab_size, end_id, shard_tokens = shape
    whole_D = encoded.lengths_D + 1
    offsets: dict[SplitName, NDArray[np.int64]] = {
        split: np.concatenate([[0], np.cumsum(whole_D[order])]) for split, order in orders.items()
    }
    num_tokens = sum(int(found[-1]) for found in offsets.values())
    num_instances = sum(map(len, orders.values()))
    width = dtype_for(vocab_size).itemsize + (encoded.content != "text")
    atomic.require_space(directory, num_tokens * width + num_instances * 8)
    progress.begin("write shards", num_tokens, "tokens")
    num_written = 0
    for split, order in orders.items():
        with SplitWriter(directory, split, vocab_size, shard_tokens) as writer:
            for first, stop in _chunks(offsets[split]):
                progress.check()
                ids, mask, lengths = encoded.gathered(order[first:stop], end_id)
                writer.write(ids, lengths, mask)
                progress.advance(len(ids))
        num_written += writer.num_tokens
    progress.end()
    assert num_written == num_tokens, (num_written, num_tokens)
    return offsets


def _chunks(offsets: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return ranges of instances, each of about `_CHUNK_TOKENS`."""
    bounds = np.arange(_CHUNK_TOKENS, int(offsets[-1]), _CHUNK_TOKENS)
    stops = np.unique([*np.searchsorted(offsets, bounds).tolist(), len(offsets) - 1]).tolist()
    return [pair for pair in zip([0, *stops], stops, strict=False) if pair[0] < pair[1]]


def places(
    orders: Mapping[SplitName, Order],
    offsets: Mapping[SplitName, NDArray[np.int64]],
    encoded: EncodedDocuments,
) -> DocumentPlaces:
    """Return where each instance went: the rows of documents.parquet."""
    chosen = np.concatenate(list(orders.values()))
    found = encoded.sequences
    splits = np.repeat(np.arange(len(orders)), [len(order) for order in orders.values()])
    return DocumentPlaces(
        ids=found.ids.take(chosen).as_arrow(),
        sources=found.sources.take(found.sources_D[chosen]).as_arrow(),
        splits=StringColumn.of(list(orders)).take(splits).as_arrow(),
        offsets=np.concatenate([offsets[split][:-1] for split in orders]),
    )
