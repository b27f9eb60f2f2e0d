"""A text's tokens beside the characters that they are from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llmctl.core.tokens.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class TextToken:
    """A token where it stands in a text.

    Attributes:
        token_id: Its id.
        piece: In a form for people; see `Tokenizer.piece`.
        content: The bytes it stands for; a space may be among them that the encoder put first.
        start: The first character of the text that it holds, or holds a part of.
        end: The one after the last of them.
    """

    token_id: int
    piece: str
    content: bytes
    start: int
    end: int

    @property
    def is_whole(self) -> bool:
        """Whether it holds whole characters only."""
        try:
            self.content.decode("utf-8")
        except UnicodeDecodeError:
            return False
        return True


@dataclass(frozen=True, slots=True)
class TokenGroup:
    """Tokens that belong together in showing: one, or those that share characters.

    Attributes:
        tokens: In order.
        characters: What is spread over them, "" for a token alone.
    """

    tokens: tuple[TextToken, ...]
    characters: str


def tokens_of(tokenizer: Tokenizer, text: str) -> list[TextToken]:
    """Return the tokens of a text; special tokens in it stay text.

    Raises:
        DataError: The text cannot be encoded; see `Tokenizer.encode`.
    """
    return [
        TextToken(token, tokenizer.piece(token), tokenizer.token_bytes(token), start, end)
        for token, start, end in tokenizer.encode_with_offsets(text)
    ]


def token_groups(tokens: Sequence[TextToken], text: str) -> list[TokenGroup]:
    """Put tokens together that hold parts of the same character."""
    groups: list[TokenGroup] = []
    before: TextToken | None = None
    for token in tokens:
        if before is None or token.start >= before.end or before.is_whole or token.is_whole:
            groups.append(TokenGroup((token,), ""))
        else:
            group, shared = groups[-1], text[token.start : before.end]
            is_new = len(group.tokens) == 1 or token.start >= group.tokens[-2].end
            characters = group.characters + shared if is_new else group.characters
            groups[-1] = TokenGroup((*group.tokens, token), characters)
        before = token
    return groups
