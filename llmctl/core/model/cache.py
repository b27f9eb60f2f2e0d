"""Keys and values of the tokens read so far.

Shapes: B batch, T time, S slots, G key heads, K head width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from llmctl.core.recipe import ModelShape


@dataclass(frozen=True)
class Span:
    """Where the tokens of one forward pass go and what they see.

    Attributes:
        positions: (T,) where all rows have read equally much, else (B, T).
        num_slots: S, the slots that are looked at.
        mask: True where a token sees a slot, (T, S) or (B, 1, T, S); None where each
            sees all slots, or where `is_causal` says it.
        is_causal: Nothing was read before: token t sees tokens 0 … t.
    """

    positions: Tensor
    num_slots: int
    mask: Tensor | None
    is_causal: bool


class KeyValueCache:
    """Preallocated keys and values, one slot per position, written in place.

    Row b's token at position t always lies in slot t. A row shorter than its
    neighbours is read with padding at its right: what the padding left behind in later
    slots is overwritten by the row's next tokens before any of them can see it.

    Args:
        shape: The model's shape.
        batch_size: B.
        num_slots: Positions to hold, at most the model's context.
        dtype: Of keys and values.
        device: Of keys and values.
    """

    def __init__(
        self,
        shape: ModelShape,
        batch_size: int,
        num_slots: int,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        size = (batch_size, shape.num_key_value_heads, num_slots, shape.head_width)
        # Zeros, because a masked slot still enters a product, and 0 * NaN is NaN.
        self._keys = [
            torch.zeros(size, dtype=dtype, device=device) for _ in range(shape.num_layers)
        ]
        self._values = [torch.zeros_like(keys) for keys in self._keys]
        self.num_slots = num_slots
        self.lengths = [0] * batch_size

    def extend(self, batch_size: int, num_tokens: int) -> Span:
        """Return the span of each row's next `num_tokens` tokens, and count them as read.

        Raises:
            ValueError: Another number of rows, or more tokens than free slots.
        """
        if batch_size != len(self.lengths):
            raise ValueError(f"the cache holds {len(self.lengths)} rows, got {batch_size}")
        stop = max(self.lengths) + num_tokens
        if stop > self.num_slots:
            raise ValueError(f"{stop} tokens do not fit into {self.num_slots} slots")
        span = self._span(num_tokens, stop)
        self.lengths = [length + num_tokens for length in self.lengths]
        return span

    def _span(self, num_tokens: int, stop: int) -> Span:
        device = self._keys[0].device
        start = self.lengths[0]
        if all(length == start for length in self.lengths):
            positions_T = torch.arange(start, stop, device=device)
            if start == 0 or num_tokens == 1:
                return Span(positions_T, stop, None, is_causal=start == 0 and num_tokens > 1)
            slots_S = torch.arange(stop, device=device)
            return Span(positions_T, stop, slots_S <= positions_T[:, None], is_causal=False)
        starts_B = torch.tensor(self.lengths, device=device)
        positions_BT = starts_B[:, None] + torch.arange(num_tokens, device=device)
        slots_S = torch.arange(stop, device=device)
        mask_BTS = slots_S <= positions_BT[..., None]
        return Span(positions_BT, stop, mask_BTS[:, None], is_causal=False)

    def append(
        self, layer: int, span: Span, k_BTGK: Tensor, v_BTGK: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Write one layer's keys and values; return all of them so far, each (B, G, S, K)."""
        keys, values = self._keys[layer], self._values[layer]
        k_BGTK, v_BGTK = k_BTGK.transpose(1, 2), v_BTGK.transpose(1, 2)
        if span.positions.ndim == 1:
            first = span.num_slots - k_BGTK.shape[2]
            keys[:, :, first : span.num_slots] = k_BGTK
            values[:, :, first : span.num_slots] = v_BGTK
        else:
            index = span.positions[:, None, :, None].expand_as(k_BGTK)
            keys.scatter_(2, index, k_BGTK)
            values.scatter_(2, index, v_BGTK)
        return keys[:, :, : span.num_slots], values[:, :, : span.num_slots]

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
        """Keep only these rows, in this order."""
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
