"""How often each encoded document is seen in training; see `mixing`. D sequences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from llmctl.core.artifacts.shards_facts import MixRow
from llmctl.core.tokenize_plan import TokenizePlan
from llmctl.core.tokenizing.encoded_units import EncodedDocuments
from llmctl.core.tokenizing.mixing import MixGroup, order, plan_mix, repetitions

_CORPUS_NAME = "corpus"


@dataclass(frozen=True, slots=True)
class Mix:
    """What the mix makes of the documents.

    Attributes:
        repetitions_D: How often each is written to the training split.
        rows: By corpus and source, for the report; empty where nothing is mixed.
    """

    repetitions_D: NDArray[np.uint32]
    rows: list[MixRow]


def corpus_name(directory: Path) -> str:
    """Return what the mix calls a corpus: its folder, or that of the run it belongs to."""
    whole = directory.absolute()
    return whole.parent.name if whole.name == _CORPUS_NAME else whole.name


def mix_documents(
    plan: TokenizePlan,
    corpora: Sequence[str],
    encoded: EncodedDocuments,
    is_held_out_D: NDArray[np.bool_],
    seed: int,
) -> Mix:
    """Work out how often each document is seen.

    Args:
        plan: The recipe's section.
        corpora: Names of the corpora, in order.
        encoded: The documents.
        is_held_out_D: Those that training never sees.
        seed: Decides which documents a part of an epoch takes.

    Raises:
        RecipeError: A name of the mix stands for nothing.
    """
    sources = encoded.sequences.sources
    names = list(sources)
    keys_D = encoded.corpora_D * len(names) + encoded.sequences.sources_D
    keys_G, groups_D = np.unique(keys_D, return_inverse=True)
    is_training_D = ~is_held_out_D
    whole_D = (encoded.lengths_D + 1) * is_training_D
    tokens_G = np.bincount(groups_D, whole_D, len(keys_G)).astype(np.int64)
    groups = [
        MixGroup(corpora[int(key) // len(names)], names[int(key) % len(names)], int(tokens))
        for key, tokens in zip(keys_G.tolist(), tokens_G.tolist(), strict=True)
    ]
    mixed = plan_mix(plan, groups)
    epochs_G = np.array([group.epochs for group in mixed])
    times_D = repetitions(encoded.hashes_D, epochs_G[groups_D], seed) * is_training_D
    times_D = times_D.astype(np.uint32)
    if not plan.mix and len(corpora) == 1:
        return Mix(times_D, [])
    documents_G = np.bincount(groups_D, is_training_D, len(keys_G)).astype(np.int64)
    used_G = np.bincount(groups_D, whole_D * times_D, len(keys_G)).astype(np.int64)
    rows = [
        MixRow(
            group.corpus,
            group.source,
            documents,
            found.tokens,
            round(group.epochs, 4),
            used,
            plan.mix[group.name].weight if group.name is not None else None,
        )
        for group, found, documents, used in zip(
            mixed, groups, documents_G.tolist(), used_G.tolist(), strict=True
        )
    ]
    return Mix(times_D, rows)


def instance_order(
    encoded: EncodedDocuments, times_D: NDArray[np.uint32], seed: int
) -> NDArray[np.int64]:
    """Return the sequences as often as they are written, in their order, shape (I,).

    The two of a preference stay together.
    """
    if encoded.content != "preference":
        return order(encoded.hashes_D, times_D, seed)
    documents = order(encoded.hashes_D[::2], times_D[::2], seed)
    return (documents[:, None] * 2 + np.arange(2)).ravel()
