"""Strings ↔ ids: a byte-level tokenizer in Hugging Face's tokenizer.json. V vocabulary."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import tokenizers
from numpy.typing import NDArray

from llmctl.core.errors import DataError, MissingInputError
from llmctl.core.tokens.bpe import END_OF_TEXT

__all__ = ["END_OF_TEXT", "Tokenizer"]

# Unless it is said out loud, the library warns on stderr whenever a process forks later on.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")


class Tokenizer:
    """Text to ids and back, without loss: a document's token bytes are its UTF-8.

    Special tokens are never recognised in text: a literal "<|endoftext|>" is encoded as the
    characters it consists of. None is ever added.

    Args:
        backend: The library's tokenizer; owned by this one from now on.

    Raises:
        DataError: It is not byte-level, or has no END_OF_TEXT.
    """

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        backend.encode_special_tokens = True
        backend.no_truncation()
        backend.no_padding()
        self._backend = backend
        self._token_bytes = _token_bytes(backend)
        end_of_text_id = backend.token_to_id(END_OF_TEXT)
        if end_of_text_id is None:
            raise DataError(f"no token {END_OF_TEXT} in the vocabulary")
        self._end_of_text_id = end_of_text_id

    @classmethod
    def from_file(cls, path: Path) -> Tokenizer:
        """Read a tokenizer.json.

        Raises:
            MissingInputError: It is not there.
            DataError: It is damaged, or not a byte-level tokenizer with END_OF_TEXT.
        """
        try:
            content = path.read_bytes().decode("utf-8")
        except OSError as error:
            raise MissingInputError(f"{path}: cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: damaged: not UTF-8 at byte {error.start:,}") from error
        try:
            backend = tokenizers.Tokenizer.from_str(content)
        except Exception as error:  # the library raises nothing more exact
            raise DataError(f"{path}: damaged, or no tokenizer.json: {error}") from error
        try:
            return cls(backend)
        except DataError as error:
            raise DataError(f"{path}: {error}") from error

    @property
    def vocab_size(self) -> int:
        """V: every id is below it."""
        return len(self._token_bytes)

    @property
    def end_of_text_id(self) -> int:
        """The id of END_OF_TEXT, which ends each document."""
        return self._end_of_text_id

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, and nothing before or after them.

        Raises:
            DataError: The text holds a lone surrogate, which UTF-8 cannot express.
        """
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text, encoded on all cores; see `encode`."""
        try:
            encodings = self._backend.encode_batch_fast(list(texts), add_special_tokens=False)
        except TypeError:
            for text in texts:
                _refuse_surrogates(text)
            raise
        return [encoding.ids for encoding in encodings]

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ids; bytes that are no UTF-8 become U+FFFD, special tokens nothing."""
        return b"".join(map(self.token_bytes, ids)).decode("utf-8", "replace")

    def token_bytes(self, token: int) -> bytes:
        """Return the bytes that an id stands for; none for a special token.

        Raises:
            ValueError: There is no such id.
        """
        if not 0 <= token < len(self._token_bytes):
            raise ValueError(f"the id {token}, expected 0 to {len(self._token_bytes) - 1}")
        return self._token_bytes[token]

    def byte_lengths(self) -> NDArray[np.int32]:
        """Return how many bytes each id stands for, shape (V,); 0 for special tokens."""
        return self._byte_lengths_V

    @cached_property
    def _byte_lengths_V(self) -> NDArray[np.int32]:  # noqa: N802
        return np.array([len(content) for content in self._token_bytes], dtype=np.int32)


def byte_characters() -> dict[int, str]:
    """Return the printable character that stands for each byte in a byte-level vocabulary.

    Printable Latin-1 bytes stand for themselves; the others, in order, for U+0100 and on.

    Source: `bytes_to_unicode` of GPT-2's encoder.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in printable]
    moved = {byte: chr(0x100 + index) for index, byte in enumerate(others)}
    return {byte: chr(byte) for byte in printable} | moved


def _token_bytes(backend: tokenizers.Tokenizer) -> list[bytes]:
    byte_of = {character: byte for byte, character in byte_characters().items()}
    added = backend.get_added_tokens_decoder()
    found: dict[int, bytes] = {}
    for token, index in backend.get_vocab(with_added_tokens=True).items():
        if index in added:
            found[index] = b"" if added[index].special else token.encode("utf-8")
            continue
        try:
            found[index] = bytes([byte_of[character] for character in token])
        except KeyError as error:
            raise DataError(
                f"not a byte-level tokenizer: the token {token!r} holds {error.args[0]!r}"
            ) from None
    missing = {bytes([byte]) for byte in range(0x100)} - set(found.values())
    if missing:
        raise DataError(
            f"not a lossless tokenizer: no token for the byte 0x{min(missing).hex()}"
            f" and {len(missing) - 1} others"
        )
    # An id that the vocabulary skips stands for nothing.
    return [found.get(index, b"") for index in range(max(found) + 1)]


def _refuse_surrogates(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(
            f"the text holds half a character, U+{ord(text[error.start]):04X} at character "
            f"{error.start:,}; remove it"
        ) from None
