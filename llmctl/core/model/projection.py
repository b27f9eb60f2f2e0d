"""Matrices that hold arbitrary memory until they are initialised or loaded.

Unlike torch.nn's own they draw nothing from the global random numbers when made.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Projection(nn.Module):
    """x Wᵀ without a bias, the weight of shape (outputs, inputs)."""

    def __init__(self, num_inputs: int, num_outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_outputs, num_inputs))

    def forward(self, x: Tensor) -> Tensor:
        """Return x (…, inputs) projected to (…, outputs)."""
        return functional.linear(x, self.weight)


class Table(nn.Module):
    """A row of `width` numbers for each of `num_entries` ids."""

    def __init__(self, num_entries: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_entries, width))

    def forward(self, ids: Tensor) -> Tensor:
        """Return the rows of ids (…) as (…, width)."""
        return functional.embedding(ids, self.weight)
