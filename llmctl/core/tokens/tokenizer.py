"""Strings ↔ ids: a tokenizer in Hugging Face's tokenizer.json, ours or a public model's."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import tokenizers
from numpy.typing import NDArray
from tokenizers import decoders, models, pre_tokenizers

from llmctl.core.errors import DataError, MissingInputError
from llmctl.core.tokens.bpe import END_OF_TEXT
from llmctl.core.tokens.token_decoder import TokenDecoder

__all__ = ["END_OF_TEXT", "Tokenizer"]

# Unless it is said out loud, the library warns on stderr whenever a process forks later on.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")


class Tokenizer:
    """Text to ids and back. V vocabulary.

    Byte-level and SentencePiece-like vocabularies, BPE or Unigram. Opening one takes no
    time that grows with V beyond the library's reading of the file: what an id stands for
    is found when it is first asked for.

    Args:
        backend: The library's tokenizer; owned by this one from now on.

    Raises:
        DataError: What its ids stand for cannot be told one by one; see `TokenDecoder`.
    """

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        backend.no_truncation()
        backend.no_padding()
        self._backend = backend
        self._decoder = TokenDecoder(backend.decoder)
        self._known_bytes: dict[int, bytes] = {}
        # Whether special tokens are recognised is a state of the backend.
        self._encoding = threading.Lock()

    @classmethod
    def from_file(cls, path: Path, *, lossless: bool = False) -> Tokenizer:
        """Read a tokenizer.json.

        Args:
            path: The file.
            lossless: Refuse it unless every text comes back whole and can be ended, which
                training shards rely on: byte-level, a token for each byte, and END_OF_TEXT.

        Raises:
            MissingInputError: It is not there.
            DataError: It is damaged, or of a kind that is not understood or was not asked for.
        """
        content = _read(path)
        try:
            backend = tokenizers.Tokenizer.from_buffer(content)
        except Exception as error:  # the library raises nothing more exact
            _refuse_other_encodings(path, content)
            raise DataError(f"{path}: damaged, or no tokenizer.json: {error}") from error
        try:
            tokenizer = cls(backend)
            if lossless:
                tokenizer._require_lossless()
        except DataError as error:
            raise DataError(f"{path}: {error}") from error
        return tokenizer

    @classmethod
    def from_pair(cls, vocab_path: Path, merges_path: Path) -> Tokenizer:
        """Read GPT-2's vocab.json and merges.txt, which say less than a tokenizer.json.

        Args:
            vocab_path: Entry → id, byte-level.
            merges_path: The merges, the most important first.

        Raises:
            MissingInputError: One of them is not there.
            DataError: One of them is damaged, or they do not belong together.
        """
        for path in (vocab_path, merges_path):
            _refuse_other_encodings(path, _read(path))
        try:
            model = models.BPE.from_file(str(vocab_path), str(merges_path))
        except Exception as error:  # as above
            raise DataError(
                f"{vocab_path} and {merges_path.name}: damaged, or not of one tokenizer: {error}"
            ) from error
        backend = tokenizers.Tokenizer(model)
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.decoder = decoders.ByteLevel()
        backend.add_special_tokens([END_OF_TEXT])
        return cls(backend)

    def as_json(self) -> str:
        """Return the tokenizer as the content of a tokenizer.json."""
        return self._backend.to_str(pretty=True)

    @cached_property
    def vocab_size(self) -> int:
        """V: every id is below it. The vocabulary may skip some.

        Found by going through all entries, as the library does not tell it; `num_entries`
        costs nothing.
        """
        return 1 + max(self._backend.get_vocab(with_added_tokens=True).values(), default=-1)

    @property
    def num_entries(self) -> int:
        """How many ids stand for something: `vocab_size`, unless ids are skipped."""
        return self._backend.get_vocab_size(with_added_tokens=True)

    @property
    def end_of_text_id(self) -> int | None:
        """The id of END_OF_TEXT, which ends each document of ours; None where others end theirs."""
        return self.id_of(END_OF_TEXT)

    @cached_property
    def special_ids(self) -> frozenset[int]:
        """The ids that stand for no text, such as the beginning of one."""
        added = self._added_tokens
        return frozenset(token for token, entry in added.items() if entry.special)

    @cached_property
    def _added_tokens(self) -> dict[int, tokenizers.AddedToken]:
        return self._backend.get_added_tokens_decoder()

    def id_of(self, token: str) -> int | None:
        """Return the id of an entry by its name in the file, such as "<s>"; None without one."""
        return self._backend.token_to_id(token)

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text itself: special tokens in it stay text, none is added.

        Raises:
            DataError: The text holds a lone surrogate, which UTF-8 cannot express, or a
                character for which the vocabulary has neither token, bytes nor substitute.
        """
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text, encoded on all cores; see `encode`."""
        return self._encode(texts, recognise_specials=False, add_specials=False)

    def encode_prompt(self, text: str) -> list[int]:
        """Return the ids of a prompt as the model knows them from its training.

        Special tokens in it are recognised, and what the file says is put around it, such
        as the token that begins a text. These are the ids that transformers gives.

        Raises:
            DataError: As in `encode`.
        """
        return self._encode([text], recognise_specials=True, add_specials=True)[0]

    def encode_rendered(self, text: str) -> list[int]:
        """Return the ids of a rendered chat: special tokens in it are recognised, none is added.

        Raises:
            DataError: As in `encode`.
        """
        return self._encode([text], recognise_specials=True, add_specials=False)[0]

    def _encode(
        self, texts: Sequence[str], *, recognise_specials: bool, add_specials: bool
    ) -> list[list[int]]:
        with self._encoding:
            self._backend.encode_special_tokens = not recognise_specials
            try:
                encodings = self._backend.encode_batch_fast(
                    list(texts), add_special_tokens=add_specials
                )
            except Exception as error:  # the library raises nothing more exact
                for text in texts:
                    _refuse_surrogates(text)
                raise DataError(f"the text cannot be encoded: {error}") from error
        return [encoding.ids for encoding in encodings]

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text that consists of these ids, without a space that encoding put first.

        Bytes that are no UTF-8 become U+FFFD, special tokens nothing.
        """
        content = self._decoder.whole_text([self.token_bytes(token) for token in ids])
        return content.decode("utf-8", "replace")

    def decode_continuation(self, ids: Iterable[int]) -> str:
        """Return the text of ids that follow others: a space that it begins with is its own."""
        return b"".join(map(self.token_bytes, ids)).decode("utf-8", "replace")

    def token_bytes(self, token: int) -> bytes:
        """Return the bytes that an id stands for inside a text.

        None for a special token, for an id that the vocabulary skips, and for one beyond
        it: the embedding of many a public model has more rows than its tokenizer entries.

        Raises:
            ValueError: The id is negative.
        """
        content = self._known_bytes.get(token)
        if content is None:
            content = self._known_bytes[token] = self._find_bytes(token)
        return content

    def _find_bytes(self, token: int) -> bytes:
        if token < 0:
            raise ValueError(f"the id {token}, expected 0 or more")
        entry = self._backend.id_to_token(token)
        if entry is None or token in self.special_ids:
            return b""
        if self._decoder.is_byte_level and self._backend.model.token_to_id(entry) is None:
            return entry.encode("utf-8")  # added as text: its "é" is no byte 0xE9
        return self._decoder.token_bytes(entry)

    def piece(self, token: int) -> str:
        """Return an id in a form for people: its text, <0xE4> for bytes that are none alone.

        A special token is shown by its name; an id that stands for nothing as nothing.

        Raises:
            ValueError: The id is negative.
        """
        content = self.token_bytes(token)
        if token in self.special_ids:
            return self._added_tokens[token].content
        return "".join(
            f"<0x{ord(character) - 0xDC00:02X}>" if "\udc80" <= character <= "\udcff" else character
            for character in content.decode("utf-8", "surrogateescape")
        )

    def byte_lengths(self) -> NDArray[np.int32]:
        """Return how many bytes each id stands for, shape (V,); 0 for special tokens."""
        return self._byte_lengths_V

    @cached_property
    def _byte_lengths_V(self) -> NDArray[np.int32]:  # noqa: N802
        lengths = (len(self.token_bytes(token)) for token in range(self.vocab_size))
        return np.fromiter(lengths, dtype=np.int32, count=self.vocab_size)

    def _require_lossless(self) -> None:
        if not self._decoder.is_byte_level:
            raise DataError("not a byte-level tokenizer, from which every text comes back")
        found = {self.token_bytes(token) for token in range(self.vocab_size)}
        missing = {bytes([byte]) for byte in range(0x100)} - found
        if missing:
            raise DataError(
                f"not a lossless tokenizer: no token for the byte 0x{min(missing).hex()}"
                f" and {len(missing) - 1} others"
            )
        if self.end_of_text_id is None:
            raise DataError(f"no token {END_OF_TEXT} in the vocabulary")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise MissingInputError(f"{path}: cannot be read: {error.strerror}") from error


def _refuse_other_encodings(path: Path, content: bytes) -> None:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: damaged: not UTF-8 at byte {error.start:,}") from error


def _refuse_surrogates(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(
            f"the text holds half a character, U+{ord(text[error.start]):04X} at character "
            f"{error.start:,}; remove it"
        ) from None
