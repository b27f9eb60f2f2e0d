"""Which tokens a step learns from: a pure function of the seed and the step.

B sequences in the batch, T tokens in a sequence.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from llmctl.core.artifacts.shards import TokenSplit, TokenView
from llmctl.core.errors import DataError

UNLEARNED = -1  # in the place of a target that is to be read and not learned


class Batches:
    """Sequences cut from the documents laid end to end, in a new order each epoch.

    An epoch cuts the stream at a drawn offset into windows that follow one another
    without a gap and visits each window once, so that from epoch to epoch a token
    stands at other places of its window. Nothing is remembered from step to step:
    a resumed training reads what the uninterrupted one would have read.

    Args:
        split: The documents' tokens.
        context_tokens: T, the length of a sequence.
        sequences_per_step: B.
        seed: Decides offsets and orders.

    Raises:
        DataError: The split is too short for one batch.
    """

    def __init__(
        self, split: TokenSplit, context_tokens: int, sequences_per_step: int, seed: int
    ) -> None:
        self._split = split
        self._context = context_tokens
        self._sequences_per_step = sequences_per_step
        self._seed = seed
        # One token more than the window is its last target; the drawn offset costs a window.
        self.windows_per_epoch = (split.num_tokens - 1) // context_tokens - 1
        if self.windows_per_epoch < sequences_per_step:
            needed = (sequences_per_step + 1) * context_tokens + 1
            raise DataError(
                f"the training split has {split.num_tokens:,} tokens and one step of "
                f"{sequences_per_step} x {context_tokens} needs at least {needed:,}; clean more "
                "text, or lower train.tokens_per_step or model.context_tokens"
            )

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Return inputs_BT and targets_BT (int64) of a step, counted from 0.

        A target that is not learned is UNLEARNED.
        """
        first = step * self._sequences_per_step
        windows = [self._window(first + row) for row in range(self._sequences_per_step)]
        tokens = self._rows(self._split.tokens, windows)
        inputs_BT, targets_BT = tokens[:, :-1], tokens[:, 1:]
        if self._split.masks is not None:
            learned_BT = self._rows(self._split.masks, windows)[:, 1:] == 1
            targets_BT = targets_BT.where(learned_BT, UNLEARNED)
        return inputs_BT, targets_BT

    @staticmethod
    def _rows(view: TokenView, windows: list[slice]) -> Tensor:
        return torch.from_numpy(np.stack([view[window] for window in windows]).astype(np.int64))

    def _window(self, index: int) -> slice:
        epoch, position = divmod(index, self.windows_per_epoch)
        offset, order = self._epoch(epoch)
        start = offset + int(order[position]) * self._context
        return slice(start, start + self._context + 1)

    def _epoch(self, epoch: int) -> tuple[int, np.ndarray]:
        return _draw_epoch(self._seed, epoch, self._context, self.windows_per_epoch)


@lru_cache(maxsize=2)
def _draw_epoch(seed: int, epoch: int, context: int, num_windows: int) -> tuple[int, np.ndarray]:
    generator = np.random.default_rng([seed, epoch])
    offset = int(generator.integers(context))
    return offset, generator.permutation(num_windows)
