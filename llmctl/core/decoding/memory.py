"""What was read for the last text, kept for one that begins alike: the next turn of a chat."""

from __future__ import annotations

from collections.abc import Sequence

from llmctl.core.decoding.reading import CHUNK_TOKENS, ReadPrompts, read_prompts
from llmctl.core.model.cache import KeyValueCache
from llmctl.core.model.transformer import Transformer


class Memory:
    """Keys and values of one text.

    Attributes:
        num_reused: Tokens that the last prompt did not have to be read for.
    """

    def __init__(self) -> None:
        self.num_reused = 0
        self._ids: list[int] = []
        self._cache: KeyValueCache | None = None

    def keep(self, ids: Sequence[int], cache: KeyValueCache) -> None:
        """Take over the cache of a text, a row of which these ids have been read."""
        self._ids, self._cache = list(ids), cache

    def read(
        self, model: Transformer, prompt: Sequence[int], chunk_tokens: int = CHUNK_TOKENS
    ) -> ReadPrompts:
        """Read a prompt, as `read_prompts` does, from where it differs from what is kept."""
        cache, self._cache = self._cache, None
        # The last token is read in any case, for the logits that follow it.
        self.num_reused = min(_num_alike(self._ids, prompt), len(prompt) - 1)
        if cache is None or model.regimes(len(self._ids)) != model.regimes(len(prompt)):
            self.num_reused = 0
            read = read_prompts(model, [prompt], chunk_tokens)
        else:
            cache.truncate([self.num_reused])
            read = read_prompts(model, [prompt], chunk_tokens, cache=cache)
        self.keep(prompt, read.cache)
        return read


def _num_alike(first: Sequence[int], second: Sequence[int]) -> int:
    pairs = zip(first, second, strict=False)
    shorter = min(len(first), len(second))
    return next((at for at, (one, other) in enumerate(pairs) if one != other), shorter)
