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
from tokenizers import Regex, decoders, models, pre_tokenizers

from llmctl.core.errors import DataError, MissingInputError
from llmctl.core.tokens import losses
from llmctl.core.tokens.encoding_errors import encoding_errors
from llmctl.core.tokens.token_decoder import TokenDecoder, byte_level_contents
from llmctl.core.tokens.tokenizer_training import END_OF_TEXT

__all__ = ["END_OF_TEXT", "Tokenizer"]

# Unless it is said out loud, the library warns on stderr whenever a process forks later on.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")

# No published tokenizer comes near; what is counted per id must end.
_MAX_VOCAB_SIZE = 10_000_000


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
        if getattr(backend.model, "dropout", None):
            backend.model.dropout = None  # of a training: with it, no text has ids of its own
        self._backend = backend
        self._name = "the tokenizer"
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
        tokenizer = cls.from_json(_read(path), str(path))
        if lossless:
            try:
                tokenizer._require_lossless()
            except DataError as error:
                raise DataError(f"{path}: {error}") from error
        return tokenizer

    @classmethod
    def from_json(cls, content: bytes, name: str) -> Tokenizer:
        """Read the content of a tokenizer.json.

        Args:
            content: As in the file.
            name: Where it comes from, for messages.

        Raises:
            DataError: It is damaged, or of a kind that is not understood.
        """
        try:
            backend = tokenizers.Tokenizer.from_buffer(content)
        except Exception as error:  # the library raises nothing more exact
            _refuse_other_encodings(name, content)
            raise DataError(f"{name}: damaged, or no tokenizer.json: {error}") from error
        try:
            tokenizer = cls(backend)
        except DataError as error:
            raise DataError(f"{name}: {error}") from error
        tokenizer._name = name
        return tokenizer

    @classmethod
    def from_pair(
        cls, vocab_path: Path, merges_path: Path, *, pattern: str | None = None
    ) -> Tokenizer:
        """Read GPT-2's vocab.json and merges.txt, which say less than a tokenizer.json.

        Args:
            vocab_path: Entry → id, byte-level.
            merges_path: The merges, the most important first.
            pattern: The expression that cuts text before merging; None: GPT-2's.

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
        byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pattern is None)
        backend.pre_tokenizer = (
            byte_level
            if pattern is None
            else pre_tokenizers.Sequence(
                [pre_tokenizers.Split(Regex(pattern), "isolated"), byte_level]
            )
        )
        backend.decoder = decoders.ByteLevel()
        backend.add_special_tokens([END_OF_TEXT])
        tokenizer = cls(backend)
        tokenizer._name = str(vocab_path)
        return tokenizer

    def as_json(self) -> str:
        """Return the tokenizer as the content of a tokenizer.json."""
        return self._backend.to_str(pretty=True)

    @cached_property
    def vocab_size(self) -> int:
        """V: every id is below it. The vocabulary may skip some.

        Found by going through all entries, as the library does not tell it; `num_entries`
        costs nothing.

        Raises:
            DataError: An id is beyond all that is sensible.
        """
        size = 1 + max(self._backend.get_vocab(with_added_tokens=True).values(), default=-1)
        if size > _MAX_VOCAB_SIZE:
            raise DataError(
                f"{self._name}: the id {size - 1:,}, expected ids below {_MAX_VOCAB_SIZE:,}"
            )
        return size

    @property
    def num_entries(self) -> int:
        """How many ids stand for something: `vocab_size`, unless ids are skipped."""
        return self._backend.get_vocab_size(with_added_tokens=True)

    @property
    def end_of_text_id(self) -> int | None:
        """The id of END_OF_TEXT, which ends each document of ours; None where others end theirs."""
        return self.id_of(END_OF_TEXT)

    @property
    def is_byte_level(self) -> bool:
        """Whether an entry stands for the same bytes wherever it stands in a text."""
        return self._decoder.is_byte_level

    @cached_property
    def special_ids(self) -> frozenset[int]:
        """The ids that stand for no text, such as the beginning of one."""
        return frozenset(self.special_tokens)

    @cached_property
    def special_tokens(self) -> dict[int, tokenizers.AddedToken]:
        """What stands for the special ids in a rendered text, and how it is found there."""
        return {token: entry for token, entry in self._added_tokens.items() if entry.special}

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

    def encode_batch(
        self, texts: Sequence[str], *, recognise_specials: bool = False
    ) -> list[list[int]]:
        """Return the ids of each text, encoded on all cores.

        Args:
            texts: What to encode.
            recognise_specials: As `encode_rendered` does; else as `encode`.

        Raises:
            DataError: As in `encode`.
        """
        return self._encode(texts, recognise_specials=recognise_specials, add_specials=False)

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
        def encode(batch: Sequence[str]) -> list[tokenizers.Encoding]:
            return self._backend.encode_batch_fast(list(batch), add_special_tokens=add_specials)

        with self._encoding, encoding_errors(texts, self._name, lambda text: encode([text])):
            self._backend.encode_special_tokens = not recognise_specials
            return [encoding.ids for encoding in encode(texts)]

    def encode_with_offsets(self, text: str) -> list[tuple[int, int, int]]:
        """Return each token of a text as `encode` gives it: its id, and where it is from.

        That is the characters text[start:end], in part for a token that is not all of one.

        Raises:
            DataError: As in `encode`.
        """

        def encode(text: str) -> tokenizers.Encoding:
            return self._backend.encode(text, add_special_tokens=False)

        with self._encoding, encoding_errors([text], self._name, encode):
            self._backend.encode_special_tokens = True
            # It would take the space off a word's stretch, and has nothing else to do here.
            processor, self._backend.post_processor = self._backend.post_processor, None
            try:
                encoding = encode(text)
            finally:
                self._backend.post_processor = processor
        return [
            (token, start, end)
            for token, (start, end) in zip(encoding.ids, encoding.offsets, strict=True)
        ]

    def has_id(self, token: int) -> bool:
        """Tell whether an id stands for an entry."""
        return 0 <= token < 2**32 and self._backend.id_to_token(token) is not None

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text that consists of these ids, without a space that encoding put first.

        Bytes that are no UTF-8 become U+FFFD, special tokens nothing.
        """
        content = self.whole_text([self.token_bytes(token) for token in ids])
        return content.decode("utf-8", "replace")

    def whole_text(self, contents: Sequence[bytes]) -> bytes:
        """Return the bytes of all tokens of a text, without a space that encoding put first."""
        return self._decoder.whole_text(contents)

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

    @cached_property
    def contents(self) -> list[bytes]:
        """The bytes that each id stands for, by id; a third of a microsecond for each."""
        if not self._decoder.is_byte_level:
            return [self.token_bytes(token) for token in range(self.vocab_size)]
        contents = [b""] * self.vocab_size
        entries = self._backend.get_vocab(with_added_tokens=False)
        others = byte_level_contents(entries, contents)
        for token in (*(entries[entry] for entry in others), *self._added_tokens):
            contents[token] = self._find_bytes(token)
        return contents

    def byte_lengths(self) -> NDArray[np.int32]:
        """Return how many bytes each id stands for, shape (V,); 0 for special tokens."""
        return self._byte_lengths_V

    @cached_property
    def _byte_lengths_V(self) -> NDArray[np.int32]:  # noqa: N802
        return np.fromiter(map(len, self.contents), dtype=np.int32, count=self.vocab_size)

    def lossy_reason(self) -> str | None:
        """Return why not every text comes back from its ids; None where every one does.

        The parts of the tokenizer that may lose something are looked through, then texts
        that others lose are tried. With pieces in the manner of SentencePiece, "▁" (U+2581)
        itself comes back as the blank that it stands for; that alone is no reason.

        Raises:
            DataError: An id is beyond all that is sensible.
        """
        reason = losses.in_parts(self._backend)
        if reason is None and (missing := self._missing_bytes()):
            reason = f"no token for the byte 0x{missing[0]:02x} and {len(missing) - 1} others"
        if reason is None:
            special = (self._added_tokens[token].content for token in sorted(self.special_ids))
            reason = losses.in_texts(lambda text: self.decode(self.encode(text)), special)
        return reason

    def _missing_bytes(self) -> list[int]:
        found = set(self.contents)
        return [byte for byte in range(0x100) if bytes([byte]) not in found]

    def _require_lossless(self) -> None:
        if not self._decoder.is_byte_level:
            raise DataError("not a byte-level tokenizer, from which every text comes back")
        missing = self._missing_bytes()
        if missing:
            raise DataError(
                f"not a lossless tokenizer: no token for the byte 0x{missing[0]:02x}"
                f" and {len(missing) - 1} others"
            )
        if self.end_of_text_id is None:
            raise DataError(f"no token {END_OF_TEXT} in the vocabulary")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise MissingInputError(f"{path}: cannot be read: {error.strerror}") from error


def _refuse_other_encodings(name: Path | str, content: bytes) -> None:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{name}: damaged: not UTF-8 at byte {error.start:,}") from error
