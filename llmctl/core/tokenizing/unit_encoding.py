"""Encoding a unit: documents → ids, what is known of each, and what is counted."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from llmctl.core.artifacts.documents import Document
from llmctl.core.text.splitting import content_hashes
from llmctl.core.tokenizing.corpus_units import UnitJob
from llmctl.core.tokenizing.document_encoding import DocumentEncoder, DocumentRules, Encoded
from llmctl.core.tokenizing.encoded_units import MASK_DTYPE, Sequences, UnitFiles
from llmctl.core.tokenizing.sampling import write_sample
from llmctl.core.tokenizing.string_columns import StringColumn
from llmctl.core.tokenizing.token_facts import TokenFacts
from llmctl.core.tokenizing.token_tally import EncodedTexts, TokenTally
from llmctl.core.tokens.chat_template import ChatTemplate
from llmctl.core.tokens.encoder import Encoder
from llmctl.core.tokens.encoder_proof import open_encoder
from llmctl.core.tokens.pretokenizer import segments
from llmctl.core.tokens.tokenizer import Tokenizer
from llmctl.core.worker_pool import Advance, Done

if TYPE_CHECKING:  # which costs a worker pydantic
    from llmctl.core.tokenize_plan import PretokenizerName

# Encoded at a time: what an early end may have to wait for, and what bounds the memory.
BATCH_CHARACTERS = 1_000_000
LONG_TEXT_CHARACTERS = 1_000_000
SEGMENT_CHARACTERS = 100_000
_SEGMENTS_AT_ONCE = 10
_CHECKED_EVERY = 32
_CHECKED_TOKENS = 100_000


@dataclass(frozen=True, slots=True)
class EncodingSetting:
    """What encoding needs to know.

    Attributes:
        rules: How documents are written.
        pretokenizer: How text is cut; None where that is not known.
        tokenizer: Its tokenizer.json.
        is_proved: Whether the fast encoder gives equal ids.
        end_id: The token that ends a document.
        template: Writes conversations.
        units: Where the units go.
        dtype: Of the ids.
        is_sampled: Whether a sample of the text is kept.
        num_workers: Processes that work side by side.
    """

    rules: DocumentRules
    pretokenizer: PretokenizerName | None
    tokenizer: Path
    is_proved: bool
    end_id: int
    template: ChatTemplate
    units: Path
    dtype: str
    is_sampled: bool
    num_workers: int


class SegmentedEncoder:
    """Encodes long texts in parts: the library holds fifty bytes for each of a text's.

    Args:
        encoder: Encodes the parts.
        pretokenizer: How text is cut; None where that is not known.
    """

    def __init__(self, encoder: Encoder, pretokenizer: PretokenizerName | None) -> None:
        self._encoder = encoder
        self._pretokenizer: PretokenizerName | None = pretokenizer

    def encode(self, texts: Sequence[str]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """Return the ids of all texts, and how many each has; see `Encoder.encode`."""
        if max(map(len, texts), default=0) <= LONG_TEXT_CHARACTERS:
            return self._encoder.encode(texts)
        found: list[NDArray[np.uint32]] = []
        lengths = np.zeros(len(texts), dtype=np.int64)
        for number, text in enumerate(texts):
            parts = segments(text, SEGMENT_CHARACTERS, self._pretokenizer)
            while batch := list(islice(parts, _SEGMENTS_AT_ONCE)):
                ids, _ = self._encoder.encode(batch)
                found.append(ids)
                lengths[number] += len(ids)
        return np.concatenate([np.empty(0, np.uint32), *found]), lengths


class UnitEncoder:
    """Encodes units; what is there already is left alone. A context manager.

    Args:
        setting: How.
    """

    def __init__(self, setting: EncodingSetting) -> None:
        if setting.num_workers > 1:  # the library would start a thread a core in each
            os.environ["TOKENIZERS_PARALLELISM"] = "false"
        self._setting = setting
        self._tokenizer = Tokenizer.from_file(setting.tokenizer)
        self._facts = TokenFacts(self._tokenizer)
        self._is_lossless = self._tokenizer.lossy_reason() is None
        self._is_exact = self._is_lossless and self._tokenizer.is_byte_level
        encoder = open_encoder(setting.tokenizer, is_proved=setting.is_proved)
        self._encoder = DocumentEncoder(
            setting.rules,
            self._tokenizer,
            SegmentedEncoder(encoder, setting.pretokenizer),
            setting.template,
            end_id=setting.end_id,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self._encoder.__exit__(*error)

    def __call__(self, job: UnitJob, advance: Advance) -> None:
        """Encode one unit."""
        files = UnitFiles(self._setting.units, job.name)
        if files.is_finished:
            advance(Done(documents=job.lines.count(b"\n")))
            return
        documents = job.documents()
        tally = TokenTally(self._facts)
        unit = _Unit()
        for batch in _batches(documents):
            texts = [document.plain_text for document in batch]
            encoded = self._encoder.encode(batch)
            sizes = [len(text.encode("utf-8")) for text in texts]
            num_lost = 0
            if encoded.mask is None and not self._setting.rules.allow_special_tokens:
                num_lost = self._check(texts, sizes, encoded)
            unit.add(encoded, content_hashes(texts), sizes, num_lost)
            lengths = encoded.lengths.reshape(len(batch), -1).sum(axis=1)
            sources = [document.source for document in batch]
            languages = [document.language for document in batch]
            found = EncodedTexts(texts, sources, languages, lengths, encoded.ids, encoded.literals)
            tally.add(found)
            advance(Done(documents=len(batch), text_bytes=sum(sizes)))
        if self._setting.is_sampled:
            write_sample(files.sample, documents, np.concatenate(unit.hashes))
        tally.write(files.tally)
        unit.write(files, documents, np.dtype(self._setting.dtype))

    def _check(self, texts: Sequence[str], sizes: Sequence[int], encoded: Encoded) -> int:
        """Return how many texts do not come back, which they all do from most tokenizers.

        Where a token stands for the same bytes everywhere, the lengths of all texts and the
        bytes of one in so many are compared; elsewhere all are decoded.
        """
        stops_D = np.cumsum(encoded.lengths)
        starts_D = stops_D - encoded.lengths
        if not self._is_exact:
            num_lost = 0
            for text, start, stop in zip(texts, starts_D.tolist(), stops_D.tolist(), strict=True):
                is_whole = self._tokenizer.decode(encoded.ids[start:stop].tolist()) == text
                assert is_whole or not self._is_lossless, f"decoded as another: {text[:80]!r}"
                num_lost += not is_whole
            return num_lost
        before = np.concatenate([[0], np.cumsum(self._facts.byte_lengths_V[encoded.ids])])
        assert np.array_equal(before[stops_D] - before[starts_D], sizes)
        for number in range(0, len(texts), _CHECKED_EVERY):
            start, stop = int(starts_D[number]), int(stops_D[number])
            ids = encoded.ids[start : min(stop, start + _CHECKED_TOKENS)].tolist()
            found = b"".join([self._facts.contents[token] for token in ids])
            whole = texts[number].encode("utf-8")
            assert whole.startswith(found), f"decoded as another text: {texts[number][:80]!r}"
        return 0


class _Unit:
    """The encoded batches of a unit."""

    def __init__(self) -> None:
        self._batches: list[Encoded] = []
        self._num_bytes: list[int] = []
        self.hashes: list[NDArray[np.uint64]] = []
        self._num_unlearned = 0
        self._num_lost = 0

    def add(
        self,
        encoded: Encoded,
        hashes_D: NDArray[np.uint64],
        num_bytes: Sequence[int],
        num_lost: int,
    ) -> None:
        self._batches.append(encoded)
        self._num_bytes += num_bytes
        self.hashes.append(hashes_D)
        self._num_unlearned += encoded.num_unlearned
        self._num_lost += num_lost

    def write(self, files: UnitFiles, documents: Sequence[Document], dtype: np.dtype[Any]) -> None:
        has_mask = any(batch.mask is not None for batch in self._batches)
        masks = [
            np.ones(len(batch.ids), MASK_DTYPE) if batch.mask is None else batch.mask
            for batch in self._batches
        ]
        end_masks = [
            np.ones(len(batch.lengths), MASK_DTYPE) if batch.end_mask is None else batch.end_mask
            for batch in self._batches
        ]
        # How many sequences each document became.
        counts = np.concatenate(
            [
                np.full(len(hashes_D), len(batch.lengths) // len(hashes_D))
                for batch, hashes_D in zip(self._batches, self.hashes, strict=True)
            ]
        )
        rows = np.repeat(np.arange(len(documents)), counts).tolist()
        sources = {source: n for n, source in enumerate(dict.fromkeys(d.source for d in documents))}
        files.write(
            np.concatenate([batch.ids for batch in self._batches]).astype(dtype),
            np.concatenate(masks) if has_mask else None,
            Sequences(
                StringColumn.of([documents[row].id for row in rows]),
                StringColumn.of(list(sources)),
                np.array([sources[documents[row].source] for row in rows], dtype=np.int64),
                np.concatenate(self.hashes)[rows],
                np.array(self._num_bytes, dtype=np.int64)[rows],
                np.concatenate([batch.lengths for batch in self._batches]),
                (np.arange(len(rows)) - (np.cumsum(counts) - counts)[rows]).astype(np.uint8),
                np.concatenate(end_masks).astype(bool),
                self._num_unlearned,
                self._num_lost,
            ),
        )


def _batches(documents: Sequence[Document]) -> Iterator[Sequence[Document]]:
    first, num_characters = 0, 0
    for number, document in enumerate(documents, start=1):
        num_characters += len(document.text) or 1000
        if num_characters >= BATCH_CHARACTERS:
            yield documents[first:number]
            first, num_characters = number, 0
    if first < len(documents):
        yield documents[first:]
