"""Keys and values of the tokens read so far.

Shapes: B batch, T time, S slots, G key heads, K head width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from llmctl.core.model.architecture import Architecture

if TYPE_CHECKING:
    from llmctl.core.model.reading import Reading


class KeyValueCache:
    """Preallocated keys and values, one slot per position, written in place.

    Row b's token at position t always lies in slot t. A row shorter than its
    neighbours is read with padding at its right: what the padding left behind in later
    slots is overwritten by the row's next tokens before any of them can see it.

    Args:
        architecture: Layers and heads.
        batch_size: B.
        num_slots: Positions to hold, at most the model's context.
        dtype: Of keys and values.
        device: Of keys and values.
    """

    def __init__(
        self,
        architecture: Architecture,
        batch_size: int,
        num_slots: int,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        size = (batch_size, architecture.num_key_value_heads, num_slots, architecture.head_width)
        # Zeros, because a masked slot still enters a product, and 0 * NaN is NaN.
        self._keys = [torch.zeros(size, dtype=dtype, device=device) for _ in architecture.layers]
        self._values = [torch.zeros_like(keys) for keys in self._keys]
        self.num_slots = num_slots
        self.lengths = [0] * batch_size

    def extend(self, batch_size: int, num_tokens: int) -> list[int]:
        """Count each row's next `num_tokens` tokens as read; return where they begin.

        Raises:
            ValueError: Another number of rows, or more tokens than free slots.
        """
        if batch_size != len(self.lengths):
            raise ValueError(f"the cache holds {len(self.lengths)} rows, got {batch_size}")
        stop = max(self.lengths) + num_tokens
        if stop > self.num_slots:
            raise ValueError(f"{stop} tokens do not fit into {self.num_slots} slots")
        starts = self.lengths
        self.lengths = [length + num_tokens for length in starts]
        return starts

    def append(
        self, layer: int, reading: Reading, k_BGTK: Tensor, v_BGTK: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Write one layer's keys and values; return all of them so far, each (B, G, S, K)."""
        keys, values = self._keys[layer], self._values[layer]
        stop = reading.num_slots
        if reading.is_even:
            keys[:, :, reading.first_slot : stop] = k_BGTK
            values[:, :, reading.first_slot : stop] = v_BGTK
        else:
            # Not scatter_, which takes a hundred times as long in bfloat16 on the CPU.
            rows_B1 = torch.arange(len(keys), device=keys.device)[:, None]
            keys[rows_B1, :, reading.positions] = k_BGTK.transpose(1, 2)
            values[rows_B1, :, reading.positions] = v_BGTK.transpose(1, 2)
        return keys[:, :, :stop], values[:, :, :stop]

    def truncate(self, lengths: Sequence[int]) -> None:
        """Forget what each row read beyond its length: padding, or a rejected guess.

        Raises:
            ValueError: Another number of rows, or a row that has not read so much.
        """
        if len(lengths) != len(self.lengths):
            raise ValueError(f"the cache holds {len(self.lengths)} rows, got {len(lengths)}")
        if any(new > old for new, old in zip(lengths, self.lengths, strict=True)):
            raise ValueError(f"rows of {self.lengths} tokens cannot be cut to {list(lengths)}")
        self.lengths = list(lengths)

    def keep(self, rows: Sequence[int]) -> None:
        """Keep only these rows, in this order; one may be named more than once."""
        index = torch.tensor(rows, device=self._keys[0].device)
        self._keys = [keys.index_select(0, index) for keys in self._keys]
        self._values = [values.index_select(0, index) for values in self._values]
        self.lengths = [self.lengths[row] for row in rows]

    def grow(self, num_slots: int) -> None:
        """Make room for more positions; what was read stays."""
        extra = num_slots - self.num_slots
        if extra <= 0:
            return
        self._keys = [functional.pad(keys, (0, 0, 0, extra)) for keys in self._keys]
        self._values = [functional.pad(values, (0, 0, 0, extra)) for values in self._values]
        self.num_slots = num_slots

    def put(self, places: Sequence[int], other: KeyValueCache, rows: Sequence[int]) -> None:
        """Give each place what a row of another cache has read; a row may go to several.

        Raises:
            ValueError: A row has read more tokens than there are slots.
        """
        lengths = [other.lengths[row] for row in rows]
        num_slots = max(lengths, default=0)
        if num_slots > self.num_slots:
            raise ValueError(f"{num_slots} tokens do not fit into {self.num_slots} slots")
        device = self._keys[0].device
        into, index = torch.tensor(places, device=device), torch.tensor(rows, device=device)
        for ours, theirs in ((self._keys, other._keys), (self._values, other._values)):
            for layer, found in zip(ours, theirs, strict=True):
                layer[into, :, :num_slots] = found.index_select(0, index)[:, :, :num_slots]
        for place, length in zip(places, lengths, strict=True):
            self.lengths[place] = length
