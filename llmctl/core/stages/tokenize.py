"""Corpus → shards: a tokenizer learnt from the training documents, and every document's ids.

The corpus is read up to three times: to find out what each document is and which split it
belongs to; to learn the tokenizer; to encode. The tokenizer and each stretch of encoded
documents are units of work that a later start takes up. At last the documents are written
in an order drawn from the seed and their content. D documents, V vocabulary.
"""

from __future__ import annotations

import hashlib
import shutil
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmctl.core import atomic
from llmctl.core.artifacts.corpus import read_corpus
from llmctl.core.artifacts.documents import Document
from llmctl.core.artifacts.encoded_units import IDS_DTYPE, EncodedDocuments, EncodedUnit
from llmctl.core.artifacts.shards import (
    CONTENT,
    SPLITS,
    TOKENIZER_NAME,
    DocumentPlaces,
    SplitName,
    SplitWriter,
    dtype_for,
)
from llmctl.core.errors import DataError
from llmctl.core.manifest import Manifest
from llmctl.core.progress import Progress
from llmctl.core.recipe import TokenizePlan
from llmctl.core.text.splitting import choose_validation, content_hash
from llmctl.core.tokens.pretokenizer import segments
from llmctl.core.tokens.tokenizer import END_OF_TEXT, Tokenizer
from llmctl.core.tokens.training_process import TrainingRequest, train_in_child
from llmctl.core.workspace import Workspace

UNIT_BYTES = 16_000_000
# Encoded at a time: what an early end may have to wait for, and what bounds the memory.
BATCH_CHARACTERS = 1_000_000
SEGMENT_CHARACTERS = 100_000
PASSAGE_CHARACTERS = 4096
TRAINING_NAME = "tokenizer-training"
_CHECK_EVERY = 256


def tokenize(
    plan: TokenizePlan, corpus: Path, workspace: Workspace, *, seed: int, progress: Progress
) -> Manifest:
    """Learn a tokenizer from the corpus, encode every document, and publish the shards.

    Args:
        plan: The recipe's section.
        corpus: The corpus's directory.
        workspace: Where the shards grow.
        seed: Decides the order of the documents.
        progress: Who watches.

    Raises:
        MissingInputError: There is no corpus.
        DataError: It is damaged, or too small for two splits.
        StorageError: The disk is full.
        Interrupted, OutOfTime: `progress` asked for the end; what is finished is kept.
    """
    texts = _Corpus(corpus, plan.validation_share)
    survey = _survey(texts, plan.validation_share, progress)
    tokenizer = _tokenizer(plan, texts, survey, workspace, progress)
    encoded = _encode_corpus(texts, survey, tokenizer, workspace.units, progress)
    order = _shuffled(survey, seed)
    with atomic.storage_errors(workspace.result):
        offsets = _write_shards(
            order, encoded, tokenizer, plan.shard_tokens, workspace.result, progress
        )
        _places(survey, order, offsets).write(workspace.result)
        shutil.copyfile(workspace.units / TOKENIZER_NAME, workspace.result / TOKENIZER_NAME)
        atomic.observer("write", workspace.result / TOKENIZER_NAME)
    return workspace.publish(_counts(survey, order, encoded, tokenizer))


class _Corpus:
    """The documents of a corpus, to be read again and again.

    A document that is alone counts as two, the second of which is its end, to be held out:
    a book in one file is what many begin with.
    """

    def __init__(self, directory: Path, validation_share: float) -> None:
        self._directory = directory
        self._validation_share = validation_share
        num_documents = len(list(islice(read_corpus(directory), 2)))
        if num_documents == 0:
            raise DataError(f"{directory}: the corpus holds no documents")
        self.is_one_document = num_documents == 1

    def __iter__(self) -> Iterator[Document]:
        documents = read_corpus(self._directory)
        return self._two_parts(next(documents)) if self.is_one_document else documents

    def _two_parts(self, document: Document) -> Iterator[Document]:
        text = document.text
        cut = int(len(text) * (1 - self._validation_share))
        cut = text.rfind("\n", 0, cut) + 1 or cut
        if not text[:cut].strip() or not text[cut:].strip():
            raise DataError(
                f"{self._directory}: the corpus is one document of {len(text)} characters, too "
                "short to set its end aside for validation; give `clean` more text"
            )
        yield replace(document, text=text[:cut])
        yield replace(document, text=text[cut:])


@dataclass
class _Survey:
    """All that is to be known of the documents but their text, in the order of the corpus."""

    ids: list[str] = field(default_factory=list[str])
    sources: list[str] = field(default_factory=list[str])
    languages: list[str] = field(default_factory=list[str])
    content_hashes: array[int] = field(default_factory=lambda: array("Q"))
    byte_counts: array[int] = field(default_factory=lambda: array("Q"))
    num_characters: int = 0
    num_literal_specials: int = 0
    held_out: list[bool] = field(default_factory=list[bool])

    def add(self, document: Document) -> None:
        self.ids.append(document.id)
        self.sources.append(document.source)
        self.languages.append(document.language)
        self.content_hashes.append(content_hash(document.text))
        self.byte_counts.append(len(document.text.encode("utf-8")))
        self.num_characters += len(document.text)
        self.num_literal_specials += document.text.count(END_OF_TEXT)


def _survey(texts: _Corpus, validation_share: float, progress: Progress) -> _Survey:
    survey = _Survey()
    progress.begin("read corpus", unit="documents")
    for document in _checked(texts, progress):
        survey.add(document)
        progress.advance()
    progress.end()
    if texts.is_one_document:
        survey.held_out = [False, True]
        progress.warn(
            f"the corpus is one document; its end, {validation_share:.1%}, is held out for "
            "validation"
        )
    else:
        hashes_D = np.array(survey.content_hashes, dtype=np.uint64)
        survey.held_out = choose_validation(hashes_D, validation_share).tolist()
    if survey.num_literal_specials:
        progress.warn(
            f"{END_OF_TEXT} stands in the text {survey.num_literal_specials} times and is "
            "encoded as the characters that it consists of"
        )
    return survey


def _checked(documents: Iterable[Document], progress: Progress) -> Iterator[Document]:
    for number, document in enumerate(documents):
        if number % _CHECK_EVERY == 0:
            progress.check()
        if document.messages is not None or document.pair is not None:
            what = "a conversation" if document.messages is not None else "a pair"
            raise DataError(
                f"the document {document.id} of {document.source} is {what}; only a corpus of "
                "texts can be tokenized: clean the texts without it"
            )
        yield document


def _tokenizer(
    plan: TokenizePlan, texts: _Corpus, survey: _Survey, workspace: Workspace, progress: Progress
) -> Tokenizer:
    """Learn the tokenizer, or take up the one that an earlier start learnt."""
    path = workspace.units / TOKENIZER_NAME
    if not path.exists():
        learnt_from = [not held_out for held_out in survey.held_out]
        train_in_child(
            evenly_taken(
                (document.text for document in compress(texts, learnt_from)),
                sum(compress(survey.byte_counts, learnt_from)),
                plan.max_training_bytes,
            ),
            TrainingRequest(plan.vocab_size, plan.min_frequency),
            workspace.path / TRAINING_NAME,
            path,
            progress=progress,
        )
    tokenizer = Tokenizer.from_file(path, lossless=True)
    if tokenizer.vocab_size < plan.vocab_size:
        progress.warn(
            f"the text gives a vocabulary of {tokenizer.vocab_size:,} entries, not of "
            f"{plan.vocab_size:,}: no other pair of tokens occurs {plan.min_frequency} times"
        )
    return tokenizer


def evenly_taken(texts: Iterable[str], num_bytes: int, max_bytes: int) -> Iterator[str]:
    """Yield passages from all over the texts, of at most `max_bytes` together.

    Args:
        texts: The texts.
        num_bytes: Their bytes in UTF-8; unless they are more than `max_bytes`, all are taken.
        max_bytes: The bound.
    """
    seen = taken = 0
    for text in texts:
        for passage in segments(text, PASSAGE_CHARACTERS):
            size = len(passage.encode("utf-8"))
            seen += size
            if num_bytes <= max_bytes or (taken + size) * num_bytes <= max_bytes * seen:
                taken += size
                yield passage


def _encode_corpus(
    texts: _Corpus, survey: _Survey, tokenizer: Tokenizer, directory: Path, progress: Progress
) -> EncodedDocuments:
    """Encode what no earlier start encoded, and return all."""
    documents = iter(texts)
    progress.begin("encode", sum(survey.byte_counts), "bytes")
    units: list[EncodedUnit] = []
    for number, num_documents in enumerate(_unit_sizes(survey.byte_counts)):
        path = directory / f"encoded-{number:05d}.bin"
        stretch = islice(documents, num_documents)
        if path.exists():
            progress.advance(sum(len(document.text.encode("utf-8")) for document in stretch))
        else:
            _encode(stretch, num_documents, tokenizer, progress).write(path)
        units.append(EncodedUnit.read(path, num_documents))
    progress.end()
    return EncodedDocuments(units)


def _unit_sizes(byte_counts: Sequence[int]) -> list[int]:
    """Return how many documents each unit holds: it ends with the one that fills UNIT_BYTES."""
    sizes: list[int] = []
    num_documents = num_bytes = 0
    for count in byte_counts:
        num_documents += 1
        num_bytes += count
        if num_bytes >= UNIT_BYTES:
            sizes.append(num_documents)
            num_documents = num_bytes = 0
    return [*sizes, num_documents] if num_documents else sizes


def _encode(
    documents: Iterable[Document], num_documents: int, tokenizer: Tokenizer, progress: Progress
) -> EncodedUnit:
    lengths_D = np.zeros(num_documents, dtype=np.uint64)
    found: list[NDArray[np.uint32]] = [np.empty(0, IDS_DTYPE)]
    for numbers, parts in _batches(document.text for document in documents):
        progress.check()
        all_ids = tokenizer.encode_batch(parts)
        for number, part, ids in zip(numbers, parts, all_ids, strict=True):
            assert tokenizer.decode(ids) == part, f"decoded as another text: {part[:80]!r}"
            lengths_D[number] += len(ids)
            found.append(np.array(ids, dtype=IDS_DTYPE))
        progress.advance(sum(len(part.encode("utf-8")) for part in parts))
    return EncodedUnit(lengths_D, np.concatenate(found))


def _batches(texts: Iterable[str]) -> Iterator[tuple[list[int], list[str]]]:
    """Yield segments of the texts, and for each the number of its text."""
    numbers: list[int] = []
    parts: list[str] = []
    num_characters = 0
    for number, text in enumerate(texts):
        for part in segments(text, SEGMENT_CHARACTERS):
            numbers.append(number)
            parts.append(part)
            num_characters += len(part)
            if num_characters >= BATCH_CHARACTERS:
                yield numbers, parts
                numbers, parts, num_characters = [], [], 0
    if parts:
        yield numbers, parts


def _shuffled(survey: _Survey, seed: int) -> dict[SplitName, list[int]]:
    """Return the documents of each split in an order drawn from the seed and their content."""
    key = seed.to_bytes(8, "little")
    ranks = [
        hashlib.blake2b(content.to_bytes(8, "little"), digest_size=8, key=key).digest()
        for content in survey.content_hashes
    ]
    order: dict[SplitName, list[int]] = {split: [] for split in SPLITS}
    for number in sorted(range(len(ranks)), key=ranks.__getitem__):
        order["validation" if survey.held_out[number] else "train"].append(number)
    return order


def _write_shards(
    order: dict[SplitName, list[int]],
    encoded: EncodedDocuments,
    tokenizer: Tokenizer,
    shard_tokens: int,
    directory: Path,
    progress: Progress,
) -> dict[SplitName, list[int]]:
    """Write the documents of both splits, and return where in its split each begins."""
    num_tokens = int(encoded.lengths_D.sum()) + len(encoded.lengths_D)
    ends_bytes = len(encoded.lengths_D) * 8
    atomic.require_space(
        directory, num_tokens * dtype_for(tokenizer.vocab_size).itemsize + ends_bytes
    )
    progress.begin("write shards", num_tokens, "tokens")
    offsets: dict[SplitName, list[int]] = {}
    num_written = 0
    end_id = tokenizer.end_of_text_id
    assert end_id is not None  # a lossless tokenizer has it
    for split, documents in order.items():
        with SplitWriter(directory, split, tokenizer.vocab_size, shard_tokens) as writer:
            offsets[split] = []
            for number, document in enumerate(documents):
                if number % _CHECK_EVERY == 0:
                    progress.check()
                ids = np.append(encoded[document], np.uint32(end_id))
                offsets[split].append(writer.write(ids))
                progress.advance(len(ids))
        num_written += writer.num_tokens
    progress.end()
    assert num_written == num_tokens, (num_written, num_tokens)
    return offsets


def _places(
    survey: _Survey, order: dict[SplitName, list[int]], offsets: dict[SplitName, list[int]]
) -> DocumentPlaces:
    documents = [document for split in order for document in order[split]]
    return DocumentPlaces(
        ids=[survey.ids[document] for document in documents],
        sources=[survey.sources[document] for document in documents],
        splits=[split for split in order for _ in order[split]],
        offsets=[offset for split in order for offset in offsets[split]],
    )


def _counts(
    survey: _Survey,
    order: dict[SplitName, list[int]],
    encoded: EncodedDocuments,
    tokenizer: Tokenizer,
) -> dict[str, Any]:
    """What the manifest counts, after a last look that no byte was lost."""
    occurrences_V = encoded.occurrences(tokenizer.vocab_size)
    num_bytes = sum(survey.byte_counts)
    assert int(occurrences_V @ tokenizer.byte_lengths().astype(np.int64)) == num_bytes
    counts: dict[str, Any] = {
        "content": CONTENT,
        "dtype": dtype_for(tokenizer.vocab_size).name,
        "vocab_size": tokenizer.vocab_size,
    }
    for split, documents in order.items():
        counts[f"{split}_documents"] = len(documents)
        counts[f"{split}_tokens"] = int(encoded.lengths_D[documents].sum()) + len(documents)
        counts[f"{split}_text_bytes"] = sum(survey.byte_counts[number] for number in documents)
    bytes_by_language, tokens_by_language = Counter[str](), Counter[str]()
    for language, size, length in zip(
        survey.languages, survey.byte_counts, encoded.lengths_D.tolist(), strict=True
    ):
        bytes_by_language[language] += size
        tokens_by_language[language] += length
    return counts | {
        "text_characters": survey.num_characters,
        "bytes_per_token": _ratio(num_bytes, tokens_by_language.total()),
        "bytes_per_token_by_language": {
            language: _ratio(bytes_by_language[language], tokens_by_language[language])
            for language in sorted(bytes_by_language)
        },
        "literal_special_tokens": survey.num_literal_specials,
        # That of END_OF_TEXT stands in the shards and not in the text.
        "unused_entries": int((occurrences_V == 0).sum()) - 1,
    }


def _ratio(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0
