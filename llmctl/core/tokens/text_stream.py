"""Ids → text as they come, never a part of a character."""

from __future__ import annotations

import codecs

from llmctl.core.tokens.tokenizer import Tokenizer


class TextStream:
    """Decodes ids one at a time; what it returns, joined, is the tokenizer's `decode`.

    A token may end in the middle of a character's bytes; these are held back until the
    rest has come.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token_id: int) -> str:
        """Return the characters that are whole with this token."""
        return self._decoder.decode(self._tokenizer.token_bytes(token_id))

    def finish(self) -> str:
        """Return what is left: U+FFFD for a character that never became whole."""
        return self._decoder.decode(b"", final=True)
