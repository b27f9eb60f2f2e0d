"""Whether training sees held-out documents or evaluation items again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from llmctl.core.artifacts.evaluation_items import evaluation_sources, read_evaluation_items
from llmctl.core.artifacts.shards_facts import Leaks, LeakSample
from llmctl.core.progress import Progress
from llmctl.core.tokenize_plan import TokenizePlan
from llmctl.core.tokenizing.encoded_units import EncodedDocuments
from llmctl.core.tokenizing.leaks import HeldOutIndex, Ids, LeakCheck, find_leaks
from llmctl.core.tokens.tokenizer import Tokenizer

NUM_SAMPLES = 20
_KEY = "tokenize.evaluation_files"


def validation_leaks(
    encoded: EncodedDocuments, is_held_out_D: NDArray[np.bool_], progress: Progress
) -> Leaks:
    """Look for the held-out documents in the training ones.

    Raises:
        Interrupted, OutOfTime: `progress` asked for the end.
    """
    held_out = np.flatnonzero(is_held_out_D)
    documents = (encoded.ids_of(number) for number in held_out.tolist())
    index = HeldOutIndex.build(documents, len(held_out))
    check = _check(index, encoded, is_held_out_D, progress)
    ids = encoded.sequences.ids
    names = [ids[int(held_out[leak.document])] for leak in check.leaks[:NUM_SAMPLES]]
    return _facts("validation", check, names, encoded)


def evaluation_leaks(
    plan: TokenizePlan,
    base: Path,
    encoded: EncodedDocuments,
    is_held_out_D: NDArray[np.bool_],
    tokenizer: Tokenizer,
    progress: Progress,
) -> list[Leaks]:
    """Look for the items of evaluation files in the training documents.

    Raises:
        MissingInputError, DataError, RecipeError: A file cannot be read.
        Interrupted, OutOfTime: `progress` asked for the end.
    """
    found: list[Leaks] = []
    for source in evaluation_sources(plan.evaluation_files, base, progress, _KEY):
        names: list[str] = []
        texts: list[str] = []
        for name, text in read_evaluation_items([source], plan.evaluation_fields, _KEY):
            names.append(name)
            texts.append(text)
        items = [np.array(ids, dtype=np.uint32) for ids in tokenizer.encode_batch(texts)]
        index = HeldOutIndex.build(items, len(items))
        check = _check(index, encoded, is_held_out_D, progress)
        others = [names[leak.document] for leak in check.leaks[:NUM_SAMPLES]]
        found.append(_facts(source.name, check, others, encoded))
    return found


def _check(
    index: HeldOutIndex,
    encoded: EncodedDocuments,
    is_held_out_D: NDArray[np.bool_],
    progress: Progress,
) -> LeakCheck:
    def matches() -> Iterator[NDArray[np.uint64]]:
        for unit in encoded.units():
            progress.check()
            documents = slice(unit.first_document, unit.first_document + len(unit.lengths_D))
            is_training_D = ~is_held_out_D[documents]
            yield index.find(_wide(unit.ids), unit.lengths_D, is_training_D, unit.first_document)

    return find_leaks(index, matches(), lambda number: _wide(encoded.ids_of(number)))


def _wide(ids: NDArray[np.unsignedinteger]) -> Ids:
    return np.asarray(ids, dtype=np.uint32)


def _facts(
    against: str, check: LeakCheck, others: Sequence[str], encoded: EncodedDocuments
) -> Leaks:
    found = encoded.sequences
    samples = [
        LeakSample(
            found.ids[leak.training_document],
            found.sources[int(found.sources_D[leak.training_document])],
            other,
            round(leak.share, 4),
        )
        for leak, other in zip(check.leaks, others, strict=False)
    ]
    return Leaks(against, check.num_documents, len(check.leaks), samples)
