"""What each id of a tokenizer stands for, as arrays. V vocabulary, N tokens."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from llmctl.core.text.code_points import CodePointTable, code_points
from llmctl.core.tokens.tokenizer import Tokenizer

# The least common multiple of 1 to 16: in such parts the shares of all tokens of up to 16 bytes
# are whole numbers, so that sums of shares are exact in any order.
WHOLE_TOKEN = 720_720

# Unicode 17, Scripts.txt, Han; planes 2 and 3 are set aside for it and taken whole.
HAN = (
    "\u2e80-\u2e99\u2e9b-\u2ef3\u2f00-\u2fd5\u3005\u3007\u3021-\u3029\u3038-\u303b"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufa6d\ufa70-\ufad9"
    "\U00016fe2\U00016fe3\U00016ff0-\U00016ff6\U00020000-\U0003ffff"
)
"""The script Han, for a class of a regular expression."""

_HAN_CHARACTER = re.compile(f"[{HAN}]")
_IS_HAN = CodePointTable(lambda character: bool(_HAN_CHARACTER.match(character)), np.uint8)


@dataclass(frozen=True, slots=True)
class HanTokens:
    """How much of each of N tokens is Han.

    Attributes:
        parts_N: Share of its bytes that belong to Han characters, in 1/`WHOLE_TOKEN`.
        characters_N: Han characters that begin in it.
    """

    parts_N: NDArray[np.int64]
    characters_N: NDArray[np.int64]


class TokenFacts:
    """A tokenizer's entries, looked at once; about a microsecond an entry.

    Attributes:
        tokenizer: Theirs.
        vocab_size: V.
        contents: Bytes of each id; none for special tokens and for ids that are skipped.
        byte_lengths_V: How many these are.
        is_whole_V: Whether they are whole characters; so are no bytes.
        is_single_byte_V: Whether they are one byte of a character of several.
        is_special_V: Whether the id is a special token.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.vocab_size = tokenizer.vocab_size
        self.contents = tokenizer.contents
        self.byte_lengths_V = tokenizer.byte_lengths().astype(np.int64)
        self.is_whole_V = np.fromiter(map(_is_whole, self.contents), bool, self.vocab_size)
        self.is_single_byte_V = ~self.is_whole_V & (self.byte_lengths_V == 1)
        self.is_special_V = np.zeros(self.vocab_size, dtype=bool)
        self.is_special_V[sorted(tokenizer.special_ids)] = True
        self._bytes = np.frombuffer(b"".join(self.contents), dtype=np.uint8)
        self._starts_V = np.cumsum(self.byte_lengths_V) - self.byte_lengths_V

    def han(self, ids_N: NDArray[np.int64]) -> HanTokens:
        """Return how much of each token of a text is Han.

        A token that is part of a character is judged by the whole of it: its neighbours in
        the text bring the rest, and these are parts of characters too.
        """
        whole = self._han_of_whole
        found = HanTokens(whole.parts_N[ids_N], whole.characters_N[ids_N])
        if self.is_whole_V.all():
            return found
        places = np.flatnonzero(~self.is_whole_V[ids_N])
        parts = self._han_of_stream(ids_N[places])
        found.parts_N[places] = parts.parts_N
        found.characters_N[places] = parts.characters_N
        return found

    @cached_property
    def _han_of_whole(self) -> HanTokens:
        found = HanTokens(*(np.zeros(self.vocab_size, dtype=np.int64) for _ in range(2)))
        places = np.flatnonzero(self.is_whole_V & (self.byte_lengths_V > 0))
        parts = self._han_of_stream(places)
        found.parts_N[places] = parts.parts_N
        found.characters_N[places] = parts.characters_N
        return found

    def _han_of_stream(self, ids_N: NDArray[np.int64]) -> HanTokens:
        """Return the same of tokens of at least a byte that follow one another."""
        lengths_N = self.byte_lengths_V[ids_N]
        if not len(lengths_N):
            return HanTokens(lengths_N, lengths_N)
        first_N = np.cumsum(lengths_N) - lengths_N
        places = np.repeat(self._starts_V[ids_N] - first_N, lengths_N)
        content = self._bytes[places + np.arange(len(places))]
        # A byte that belongs to no character is one of its own here.
        points = code_points(content.tobytes().decode("utf-8", "surrogateescape"))
        is_escaped = (points >= 0xDC80) & (points <= 0xDCFF)
        widths = 1 + (points >= 0x80).astype(np.int64) + (points >= 0x800) + (points >= 0x10000)
        widths[is_escaped] = 1
        is_han = np.repeat(_IS_HAN.of(points), widths)
        han_bytes_N = np.add.reduceat(is_han, first_N, dtype=np.int64)
        begins = is_han.astype(bool) & (content >= 0xC0)
        return HanTokens(
            np.rint(han_bytes_N * WHOLE_TOKEN / lengths_N).astype(np.int64),
            np.add.reduceat(begins, first_N, dtype=np.int64),
        )


def _is_whole(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True
