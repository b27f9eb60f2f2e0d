"""Many lists of ids → the exact bytes that each stands for."""

from __future__ import annotations

from collections.abc import Sequence

from llmctl.core.tokens.tokenizer import Tokenizer


class IdsDecoder:
    """Decodes lists of ids, special tokens by their names.

    Args:
        tokenizer: What the ids mean.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._contents = _Contents(tokenizer)

    def text_bytes(self, ids: Sequence[int]) -> bytes:
        """Return the text of ids, without a space that encoding put first.

        Raises:
            ValueError: The vocabulary has no such id.
        """
        return self._tokenizer.whole_text(list(map(self._contents.__getitem__, ids)))


class _Contents(dict[int, bytes]):
    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__()
        self._tokenizer = tokenizer

    def __missing__(self, token: int) -> bytes:
        tokenizer = self._tokenizer
        if not tokenizer.has_id(token):
            raise ValueError(
                f"the id {token}, of {tokenizer.num_entries:,} entries of the vocabulary"
            )
        is_special = token in tokenizer.special_ids
        content = tokenizer.piece(token).encode() if is_special else tokenizer.token_bytes(token)
        self[token] = content
        return content
