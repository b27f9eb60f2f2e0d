"""Ids, one after the other, → text as it becomes certain."""

from __future__ import annotations

import codecs

from llmctl.core.tokens.tokenizer import Tokenizer


class TextStream:
    """Decodes ids as they come, never giving out a part of a character.

    A Chinese character may be spread over three tokens: it is given out with the last of
    them. The pieces, joined, are what `Tokenizer.decode_continuation` makes of all ids: what
    comes first is taken to follow a prompt, and keeps the space that it begins with.

    Args:
        tokenizer: What the ids mean.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: int) -> str:
        """Return the text that this id completes; often "" where characters have many bytes."""
        return self._decoder.decode(self._tokenizer.token_bytes(token))

    def finish(self) -> str:
        """Return U+FFFD if the ids ended within a character, else ""; start afresh."""
        rest = self._decoder.decode(b"", final=True)
        self._decoder.reset()
        return rest
