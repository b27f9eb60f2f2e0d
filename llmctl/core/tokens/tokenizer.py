"""A `tokenizer.json`: strings ↔ ids, exactly."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import tokenizers

from llmctl.core.errors import DataError
from llmctl.core.tokens.bpe import END_OF_TEXT, NUM_BYTES


class Tokenizer:
    """Byte-level tokens of one `tokenizer.json`.

    Special tokens in a text are text: the string "<|endoftext|>" in a document is encoded
    letter by letter, so that no document can forge another's end.

    Args:
        library_tokenizer: The `tokenizers` library's object.

    Raises:
        DataError: It has no END_OF_TEXT.
    """

    def __init__(self, library_tokenizer: tokenizers.Tokenizer) -> None:
        self._library = library_tokenizer
        self._library.encode_special_tokens = True
        end_of_text_id = library_tokenizer.token_to_id(END_OF_TEXT)
        if end_of_text_id is None:
            raise DataError(f"the tokenizer has no {END_OF_TEXT}, which ends a document")
        self.end_of_text_id: int = end_of_text_id
        self.vocab_size: int = library_tokenizer.get_vocab_size(with_added_tokens=True)

    @classmethod
    def from_file(cls, path: Path) -> Tokenizer:
        """Read a `tokenizer.json`.

        Raises:
            DataError: It is missing, damaged, or not of this format.
        """
        try:
            return cls(tokenizers.Tokenizer.from_file(str(path)))
        except DataError:
            raise
        except Exception as error:  # noqa: BLE001 the library raises bare Exception
            raise DataError(f"{path}: not a readable tokenizer.json: {error}") from error

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text; nothing is added."""
        return self._library.encode(text, add_special_tokens=False).ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text, worked out on all cores."""
        encodings = self._library.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of the ids, without special tokens.

        Bytes that make no character, as where a character was cut, become U+FFFD.
        """
        return b"".join(map(self.token_bytes, ids)).decode("utf-8", "replace")

    def token_bytes(self, token_id: int) -> bytes:
        """Return the bytes that a token stands for; none for a special token.

        Raises:
            ValueError: There is no such id.
        """
        if not 0 <= token_id < self.vocab_size:
            raise ValueError(f"id {token_id} is outside 0 … {self.vocab_size - 1}")
        return self._token_bytes[token_id]

    def byte_lengths(self) -> np.ndarray:
        """Return the number of bytes of each token, shape (vocab_size,), int32."""
        return np.array([len(token) for token in self._token_bytes], dtype=np.int32)

    @cached_property
    def _token_bytes(self) -> list[bytes]:
        special = {
            token_id
            for token_id, token in self._library.get_added_tokens_decoder().items()
            if token.special
        }
        byte_of = {character: byte for byte, character in enumerate(byte_alphabet())}
        found: list[bytes] = []
        for token_id in range(self.vocab_size):
            token = self._library.id_to_token(token_id)
            if token is None or token_id in special:
                found.append(b"")
            else:
                found.append(bytes(byte_of[character] for character in token))
        return found


def byte_alphabet() -> str:
    """Return the 256 characters that stand for the bytes 0 … 255 in a byte-level vocabulary.

    Printable Latin-1 characters stand for themselves, the others for U+0100 and upwards,
    in order. Source: openai/gpt-2, src/encoder.py, bytes_to_unicode.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(NUM_BYTES, 2 * NUM_BYTES))
    return "".join(chr(byte if byte in printable else next(others)) for byte in range(NUM_BYTES))
