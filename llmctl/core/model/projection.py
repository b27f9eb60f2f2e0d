"""Matrices that hold arbitrary memory until they are initialised or loaded.

Unlike torch.nn's own they draw nothing from the global random numbers when made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

Index = tuple[int | slice, ...]


@dataclass(frozen=True)
class Part:
    """A piece of a parameter that has a name and a meaning of its own.

    Queries, keys and values are one product, and so one parameter; optimizers and files
    know them apart.

    Attributes:
        name: Of the piece in the model.
        parameter: What it is a piece of.
        index: Where in it.
    """

    name: str
    parameter: nn.Parameter
    index: Index = ()

    @property
    def tensor(self) -> Tensor:
        """The piece, sharing the parameter's memory, outside of autograd."""
        return self.parameter.detach()[self.index]

    @property
    def gradient(self) -> Tensor:
        """The piece of the parameter's gradient.

        Raises:
            ValueError: There is none.
        """
        if self.parameter.grad is None:
            raise ValueError(f"{self.name} has no gradient; was backward run?")
        return self.parameter.grad[self.index]


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return x Wᵀ + b for x (…, inputs) and W (outputs, inputs).

    A single row in bfloat16 on the CPU is a matrix times a vector: PyTorch's kernel for it
    reads the weights 1.3 to 1.8 times as fast as the one for matrices. With a bias inside
    (addmv) it falls back to a slow one.
    """
    is_row = x.numel() == x.shape[-1] and x.dtype == torch.bfloat16
    if is_row and x.device.type == "cpu" and not torch.is_grad_enabled():
        row = torch.mv(weight, x.reshape(-1))
        row = row if bias is None else row.add_(bias)
        return row.view(*x.shape[:-1], -1)
    return functional.linear(x, weight, bias)


class Projection(nn.Module):
    """x Wᵀ + b, the weight of shape (outputs, inputs).

    Args:
        num_inputs: Width of x.
        num_outputs: Width of the result.
        has_bias: Whether there is a b.
    """

    def __init__(self, num_inputs: int, num_outputs: int, has_bias: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_outputs, num_inputs))
        self.bias = nn.Parameter(torch.empty(num_outputs)) if has_bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Return x (…, inputs) projected to (…, outputs)."""
        return linear(x, self.weight, self.bias)


class FusedProjection(Projection):
    """Several projections of one input as one product.

    Args:
        num_inputs: Width of x.
        outputs: Name → width of each part of the result, in order.
        has_bias: Whether each has a b.
    """

    def __init__(self, num_inputs: int, outputs: Mapping[str, int], has_bias: bool = False) -> None:
        super().__init__(num_inputs, sum(outputs.values()), has_bias)
        self.outputs = dict(outputs)

    def rows(self) -> Iterator[tuple[str, slice]]:
        """Yield each part's name and its rows of the weight."""
        start = 0
        for name, width in self.outputs.items():
            yield name, slice(start, start + width)
            start += width


class Table(nn.Module):
    """A row of `width` numbers for each of `num_entries` ids."""

    def __init__(self, num_entries: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_entries, width))

    def forward(self, ids: Tensor) -> Tensor:
        """Return the rows of ids (…) as (…, width)."""
        return functional.embedding(ids, self.weight)
