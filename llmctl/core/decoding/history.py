"""What a row has read and written, kept so that a step costs little however long the text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class History:
    """The ids of a row's prompt and of its text so far.

    Args:
        prompt: Ids read before anything is written.
        ngram: Length of the runs whose repetition is asked for; None: never asked.

    Attributes:
        num_prompt: Tokens of the prompt.
    """

    def __init__(self, prompt: Sequence[int], ngram: int | None = None) -> None:
        self.num_prompt = len(prompt)
        self._ngram = ngram
        self._ids = np.empty(len(prompt) + 64, dtype=np.int64)
        self._num_ids = 0
        self._counts: dict[int, int] = {}
        self._followers: dict[tuple[int, ...], set[int]] = {}
        for token_id in prompt:
            self._add(token_id)

    def append(self, token_id: int) -> None:
        """Add a token that was written."""
        self._add(token_id)
        self._counts[token_id] = self._counts.get(token_id, 0) + 1

    def extended(self, token_id: int) -> History:
        """Return a copy with one more token written."""
        copy = History((), self._ngram)
        copy.num_prompt = self.num_prompt
        copy._ids = self._ids.copy()
        copy._num_ids = self._num_ids
        copy._counts = dict(self._counts)
        copy._followers = {run: set(ids) for run, ids in self._followers.items()}
        copy.append(token_id)
        return copy

    @property
    def num_written(self) -> int:
        """Tokens written so far."""
        return self._num_ids - self.num_prompt

    @property
    def ids(self) -> NDArray[np.int64]:
        """All ids, those of the prompt first; a view, valid until the next `append`."""
        return self._ids[: self._num_ids]

    @property
    def written(self) -> list[int]:
        """The ids written so far, in order."""
        return self.ids[self.num_prompt :].tolist()

    @property
    def counts(self) -> dict[int, int]:
        """How often each id was written; those of the prompt do not count."""
        return self._counts

    @property
    def followers(self) -> set[int]:
        """The ids that would end a run of `ngram` tokens found before."""
        return self._followers.get(self._end(), set()) if self._ngram is not None else set()

    def _add(self, token_id: int) -> None:
        if self._ngram is not None and self._num_ids >= self._ngram - 1:
            self._followers.setdefault(self._end(), set()).add(token_id)
        if self._num_ids == len(self._ids):
            self._ids = np.concatenate([self._ids, np.empty_like(self._ids)])
        self._ids[self._num_ids] = token_id
        self._num_ids += 1

    def _end(self) -> tuple[int, ...]:
        """The last `ngram` - 1 ids."""
        first = self._num_ids - (self._ngram or 1) + 1
        return tuple(self.ids[max(first, 0) :].tolist())
