"""One forward pass: which tokens it reads, at which positions, and what each of them sees.

Shapes: B batch, T time, S slots, R rotated dimensions of a head.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from llmctl.core.model.rotary import Rotary, rotate

if TYPE_CHECKING:
    from llmctl.core.model.cache import KeyValueCache

Tables = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class View:
    """What the tokens of a pass see under one window.

    Attributes:
        first_slot: Slots before it are seen by none of them.
        mask: True where a token sees a slot from `first_slot` on, (T, S) or (B, 1, T, S);
            None where each sees all of them, or where `is_causal` says it.
        is_causal: Nothing was read before: token t sees tokens 0 … t.
    """

    first_slot: int
    mask: Tensor | None
    is_causal: bool

    def explicit_mask(self, num_tokens: int, num_slots: int, device: torch.device) -> Tensor | None:
        """Return the mask, also where `is_causal` says it."""
        if not self.is_causal:
            return self.mask
        return torch.ones(num_tokens, num_slots, dtype=torch.bool, device=device).tril()


class Reading:
    """What every layer of one forward pass shares.

    Args:
        starts: Position of each row's first token.
        num_tokens: T.
        lengths: Tokens of each row when all of its text that is at hand has been read,
            which decides the frequencies of some rotary positions.
        cache: Keys and values of earlier tokens, or None.
        tables: (rotary, positions, regime) → its tables; those of one model.
        device: Of the tensors.

    Attributes:
        num_slots: S: one beyond the last position.
        positions: (T,) where all rows begin at the same, else (B, T).
        watched: Numbers of the layers whose weights are wanted.
        attentions: Where these leave them, (B, H, T, S) each.
    """

    def __init__(
        self,
        starts: Sequence[int],
        num_tokens: int,
        lengths: Sequence[int],
        *,
        cache: KeyValueCache | None,
        tables: Callable[[Rotary, int, int], Tables],
        device: torch.device,
    ) -> None:
        self.cache = cache
        self.watched: frozenset[int] = frozenset()
        self.attentions: list[Tensor] = []
        self._starts = list(starts)
        self._lengths = list(lengths)
        self._num_tokens = num_tokens
        self._tables = tables
        self._device = device
        self.num_slots = max(self._starts) + num_tokens
        self.is_even = min(self._starts) == max(self._starts)
        tokens_T = torch.arange(num_tokens, device=device)
        if self.is_even:
            self.positions = tokens_T + self._starts[0] if self._starts[0] else tokens_T
        else:
            self.positions = torch.tensor(self._starts, device=device)[:, None] + tokens_T
        self._views: dict[int | None, View] = {}
        # By identity: layers share the objects, and hashing one takes longer than a product.
        self._turns: dict[tuple[int, torch.dtype], Tables] = {}

    @property
    def first_slot(self) -> int:
        """Where the tokens begin, if all rows begin there."""
        return self._starts[0]

    def view(self, window: int | None) -> View:
        """Return what the tokens see under a window; None for all before them."""
        if window not in self._views:
            self._views[window] = self._make_view(window)
        return self._views[window]

    def _make_view(self, window: int | None) -> View:
        start, stop = min(self._starts), self.num_slots
        first = 0
        if window is not None and self.cache is not None:
            first = max(0, start - window + 1)
        reaches_all = window is None or stop - first <= window
        if self.is_even and reaches_all:
            if self._num_tokens == 1:
                return View(first, None, is_causal=False)
            if start == 0:
                return View(first, None, is_causal=True)
        slots_S = torch.arange(first, stop, device=self._device)
        ends = self.positions.unsqueeze(-1)
        mask = slots_S <= ends
        if not reaches_all and window is not None:
            mask &= slots_S > ends - window
        return View(first, mask if self.is_even else mask[:, None], is_causal=False)

    def rotate(self, x_BTHK: Tensor, rotary: Rotary | None) -> Tensor:
        """Return queries or keys turned by their positions; as they are without a rotary."""
        if rotary is None:
            return x_BTHK
        key = (id(rotary), x_BTHK.dtype)
        if key not in self._turns:
            cosines, sines = self._turns_of(rotary)
            self._turns[key] = cosines.to(x_BTHK.dtype), sines.to(x_BTHK.dtype)
        return rotate(x_BTHK, *self._turns[key])

    def _turns_of(self, rotary: Rotary) -> Tables:
        """Cosines and signed sines, (T, 1, R) or (B, T, 1, R)."""
        regimes = [rotary.scaling.regime(length) for length in self._lengths]
        if min(regimes) == max(regimes):
            tables = self._tables(rotary, self.num_slots, regimes[0])
            cosines, sines = (table[self.positions].unsqueeze(-2) for table in tables)
            return cosines, sines
        positions_BT = self.positions.expand(len(regimes), -1)
        rows = [
            [table[positions_T] for table in self._tables(rotary, self.num_slots, regime)]
            for positions_T, regime in zip(positions_BT, regimes, strict=True)
        ]
        cosines, sines = (torch.stack(tables).unsqueeze(-2) for tables in zip(*rows, strict=True))
        return cosines, sines
