"""A text and a tokenizer → its tokens, and how many it takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from llmctl.core.tokenizing.token_facts import WHOLE_TOKEN, TokenFacts
from llmctl.core.tokens.text_tokens import TextToken, tokens_of
from llmctl.core.tokens.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class TokenFindings:
    """What `inspect_tokens` finds.

    Attributes:
        text: What was encoded.
        tokens: Its tokens.
        num_bytes: Of the text in UTF-8.
        tokens_per_han_character: What a character of the script Han costs, a token counting
            by the share of its bytes that belong to some; None where there is none.
    """

    text: str
    tokens: list[TextToken]
    num_bytes: int
    tokens_per_han_character: float | None

    @property
    def bytes_per_token(self) -> float | None:
        """None where there is no token."""
        return self.num_bytes / len(self.tokens) if self.tokens else None

    def summary(self) -> str:
        """Return all figures in a line."""
        counts = [
            _counted(len(self.tokens), "token"),
            _counted(len(self.text), "character"),
            _counted(self.num_bytes, "byte"),
        ]
        if self.bytes_per_token is not None:
            counts.append(f"{self.bytes_per_token:.2f} bytes/token")
        if self.tokens_per_han_character is not None:
            counts.append(f"{self.tokens_per_han_character:.2f} tokens per Han character")
        return ", ".join(counts)

    def record(self) -> dict[str, Any]:
        """Return everything as JSON has it."""
        return {
            "text": self.text,
            "num_tokens": len(self.tokens),
            "num_characters": len(self.text),
            "num_bytes": self.num_bytes,
            "bytes_per_token": self.bytes_per_token,
            "tokens_per_han_character": self.tokens_per_han_character,
            "tokens": [
                {
                    "token_id": token.token_id,
                    "piece": token.piece,
                    "bytes": token.content.hex(),
                    "start": token.start,
                    "end": token.end,
                }
                for token in self.tokens
            ],
        }


def inspect_tokens(tokenizer: Tokenizer, text: str) -> TokenFindings:
    """Return the tokens of a text, special tokens in it being text.

    Raises:
        DataError: The text cannot be encoded; see `Tokenizer.encode`.
    """
    tokens = tokens_of(tokenizer, text)
    ids = np.array([token.token_id for token in tokens], dtype=np.int64)
    han = TokenFacts(tokenizer).han(ids)
    num_han = int(han.characters_N.sum())
    cost = int(han.parts_N.sum()) / WHOLE_TOKEN / num_han if num_han else None
    return TokenFindings(text, tokens, len(text.encode("utf-8")), cost)


def _counted(number: int, name: str) -> str:
    return f"{number:,} {name}" if number == 1 else f"{number:,} {name}s"
