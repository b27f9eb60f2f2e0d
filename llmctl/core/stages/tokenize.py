"""Corpus → shards: a tokenizer learnt from the training documents, and every document's ids."""

from __future__ import annotations

import hashlib
import shutil
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from llmctl.core import atomic
from llmctl.core.artifacts.corpus import read_corpus
from llmctl.core.artifacts.documents import Document
from llmctl.core.artifacts.shards import (
    TOKENIZER_NAME,
    SplitName,
    SplitWriter,
    dtype_for,
    write_documents_table,
)
from llmctl.core.errors import DataError
from llmctl.core.manifest import Manifest
from llmctl.core.progress import Progress
from llmctl.core.recipe import TokenizePlan
from llmctl.core.tokens.bpe import END_OF_TEXT
from llmctl.core.tokens.bpe_process import train_in_child
from llmctl.core.tokens.tokenizer import Tokenizer
from llmctl.core.workspace import Workspace

UNIT_BYTES = 16_000_000
SPLITS: tuple[SplitName, SplitName] = ("train", "validation")
_HASH_RANGE = 2**64
_UNIT_DTYPE = np.dtype("<u4")


def tokenize(
    plan: TokenizePlan, corpus: Path, workspace: Workspace, *, seed: int, progress: Progress
) -> Manifest:
    """Learn a tokenizer, encode the corpus, publish the shards.

    A document belongs to the validation split by a hash of its normalised text, whatever
    stands around it; the tokenizer learns from the others alone. The training documents
    are shuffled by the seed.

    Args:
        plan: Vocabulary, split, shard size.
        corpus: A finished corpus.
        workspace: Where the shards grow; the tokenizer and each batch of encoded documents
            are units that a later start takes up.
        seed: Decides the order of the training documents.
        progress: Told of each batch; asked for an early end.

    Raises:
        DataError: Fewer than two documents, or the tokenizer could not be trained.
    """
    validation = _validation_hashes(plan, corpus)
    tokenizer_path = workspace.units / TOKENIZER_NAME
    if not tokenizer_path.exists():
        _train_tokenizer(plan, corpus, validation, tokenizer_path, progress)
    tokenizer = Tokenizer.from_file(tokenizer_path)
    if tokenizer.vocab_size < plan.vocab_size:
        progress.warn(
            f"the corpus gives {tokenizer.vocab_size:,} vocabulary entries, fewer than "
            f"tokenize.vocab_size {plan.vocab_size:,}"
        )
    units = [
        _encode_unit(workspace.units, number, documents, tokenizer)
        for number, documents in _batches(corpus, progress)
    ]
    with atomic.storage_errors(workspace.result):
        counts = _write_shards(plan, units, validation, tokenizer, workspace.result, seed)
        shutil.copyfile(tokenizer_path, workspace.result / TOKENIZER_NAME)
    return workspace.publish(counts)


@dataclass(frozen=True)
class _Encoded:
    """One document of a unit: where its ids lie and what is counted of it."""

    id: str
    source: str
    language: str
    content_hash: str
    num_tokens: int
    num_bytes: int
    num_characters: int
    num_literal_specials: int


@dataclass(frozen=True)
class _Unit:
    ids: np.ndarray
    documents: list[_Encoded]


def content_hash(text: str) -> str:
    """Return a hash, in hexadecimal, that ignores case, white space and normal form."""
    folded = " ".join(unicodedata.normalize("NFC", text).casefold().split())
    return hashlib.sha256(folded.encode("utf-8", "surrogatepass")).hexdigest()


def _validation_hashes(plan: TokenizePlan, corpus: Path) -> frozenset[str]:
    """The hashes of the validation split's documents: never none, never all."""
    hashes = {content_hash(document.text) for document in read_corpus(corpus)}
    if len(hashes) < len(SPLITS):
        raise DataError(
            f"{corpus}: {len(hashes)} different documents; at least two are needed, one of them "
            "for validation. Split the text into several documents"
        )
    chosen = {found for found in hashes if _fraction(found) < plan.validation_share}
    by_hash = sorted(hashes)
    if not chosen:
        chosen = {by_hash[0]}
    elif len(chosen) == len(hashes):
        chosen.remove(by_hash[-1])
    return frozenset(chosen)


def _fraction(digest: str) -> float:
    return int(digest[:16], 16) / _HASH_RANGE


def _train_tokenizer(
    plan: TokenizePlan,
    corpus: Path,
    validation: frozenset[str],
    target: Path,
    progress: Progress,
) -> None:
    texts = target.with_name("training-texts.jsonl")
    hashed = ((document, content_hash(document.text)) for document in read_corpus(corpus))
    training = [(found, len(document.text.encode())) for document, found in hashed]
    num_bytes = sum(size for found, size in training if found not in validation)
    share = min(1.0, plan.max_training_bytes / max(1, num_bytes))
    with atomic.storage_errors(texts), texts.open("wb") as lines:
        for document in read_corpus(corpus):
            found = content_hash(document.text)
            # The hash's other end decides, so that the choice has nothing to do with the split.
            if found not in validation and _fraction(found[::-1]) <= share:
                lines.write(orjson.dumps(document.text) + b"\n")
    progress.begin(f"learn {plan.vocab_size:,} tokens", unit="")
    train_in_child(
        texts,
        target,
        vocab_size=plan.vocab_size,
        min_frequency=plan.min_frequency,
        check=progress.check,
    )
    progress.end()
    texts.unlink()


def _batches(corpus: Path, progress: Progress) -> Iterator[tuple[int, list[Document]]]:
    """Yield numbered batches of documents of about UNIT_BYTES, counting them."""
    progress.begin("tokenize", unit="documents")
    batch: list[Document] = []
    number = num_bytes = 0
    for document in read_corpus(corpus):
        batch.append(document)
        num_bytes += len(document.text.encode())
        if num_bytes >= UNIT_BYTES:
            progress.check()
            yield number, batch
            progress.advance(len(batch))
            batch, num_bytes, number = [], 0, number + 1
    if batch:
        progress.check()
        yield number, batch
        progress.advance(len(batch))
    progress.end()


def _encode_unit(
    units: Path, number: int, batch: list[Document], tokenizer: Tokenizer
) -> _Unit:
    """Encode a batch, or take up what a former start encoded; the `.json` is written last."""
    ids_path = units / f"encoded-{number:05d}.ids"
    documents_path = ids_path.with_suffix(".json")
    if not documents_path.exists():
        rows = tokenizer.encode_batch([document.text for document in batch])
        byte_lengths_V = tokenizer.byte_lengths()
        encoded = [
            _described(document, row, byte_lengths_V)
            for document, row in zip(batch, rows, strict=True)
        ]
        if tokenizer.decode(rows[0]) != batch[0].text:
            raise ValueError(f"document {batch[0].id!r} does not survive encoding and decoding")
        flat = np.fromiter((token for row in rows for token in row), dtype=_UNIT_DTYPE)
        atomic.write_file(ids_path, flat.tobytes())
        atomic.write_file(documents_path, orjson.dumps([asdict(found) for found in encoded]))
    described = [_Encoded(**found) for found in orjson.loads(documents_path.read_bytes())]
    return _Unit(np.memmap(ids_path, dtype=_UNIT_DTYPE, mode="r"), described)


def _described(document: Document, ids: list[int], byte_lengths_V: np.ndarray) -> _Encoded:
    num_bytes = len(document.text.encode())
    if int(byte_lengths_V[ids].sum()) != num_bytes:
        raise ValueError(f"document {document.id!r} loses bytes when it is encoded")
    return _Encoded(
        id=document.id,
        source=document.source,
        language=document.language,
        content_hash=content_hash(document.text),
        num_tokens=len(ids),
        num_bytes=num_bytes,
        num_characters=len(document.text),
        num_literal_specials=document.text.count(END_OF_TEXT),
    )


def _write_shards(
    plan: TokenizePlan,
    units: list[_Unit],
    validation: frozenset[str],
    tokenizer: Tokenizer,
    directory: Path,
    seed: int,
) -> dict[str, Any]:
    placed: dict[SplitName, list[tuple[str, _Encoded, np.ndarray]]] = {"train": [], "validation": []}
    seen_V = np.zeros(tokenizer.vocab_size, dtype=np.int64)
    for unit in units:
        seen_V += np.bincount(unit.ids, minlength=tokenizer.vocab_size)
        start = 0
        for document in unit.documents:
            ids = unit.ids[start : start + document.num_tokens]
            start += document.num_tokens
            split: SplitName = "validation" if document.content_hash in validation else "train"
            placed[split].append((_shuffled(document, seed), document, ids))
    rows: list[tuple[str, str, str, int]] = []
    counts: dict[str, Any] = {
        "content": "text",
        "vocab_size": tokenizer.vocab_size,
        "dtype": dtype_for(tokenizer.vocab_size).name,
    }
    for split in SPLITS:
        writer = SplitWriter(directory, split, tokenizer.vocab_size, plan.shard_tokens)
        for _, document, ids in sorted(placed[split], key=lambda item: (item[0], item[1].id)):
            offset = writer.write(np.append(ids, tokenizer.end_of_text_id))
            rows.append((document.id, document.source, split, offset))
        writer.close()
        counts[f"{split}_tokens"] = writer.num_tokens
        counts[f"{split}_documents"] = writer.num_documents
    write_documents_table(directory, rows)
    return {**counts, **_accounted(units, counts, seen_V)}


def _shuffled(document: _Encoded, seed: int) -> str:
    return hashlib.sha256(f"{seed}:{document.content_hash}".encode()).hexdigest()


def _accounted(units: list[_Unit], counts: dict[str, Any], seen_V: np.ndarray) -> dict[str, Any]:
    """What the manifest tells of the text, after checking that nothing was lost."""
    documents = [document for unit in units for document in unit.documents]
    tokens = Counter[str]()
    num_bytes = Counter[str]()
    for document in documents:
        tokens[document.language] += document.num_tokens
        num_bytes[document.language] += document.num_bytes
    written = sum(counts[f"{split}_tokens"] for split in SPLITS)
    if written != tokens.total() + len(documents):
        raise ValueError(f"{written} tokens written, {tokens.total() + len(documents)} encoded")
    return {
        "text_bytes": num_bytes.total(),
        "text_characters": sum(document.num_characters for document in documents),
        "bytes_per_token": round(num_bytes.total() / max(1, tokens.total()), 4),
        "bytes_per_token_by_language": {
            language: round(num_bytes[language] / max(1, count), 4)
            for language, count in sorted(tokens.items())
        },
        "literal_special_tokens": sum(document.num_literal_specials for document in documents),
        # The end of a text is added here, so the encoder never gives it.
        "unused_entries": int((seen_V == 0).sum()) - 1,
    }
