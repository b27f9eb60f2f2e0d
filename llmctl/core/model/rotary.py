"""Rotary positions in the half-split layout. Shapes: B batch, T time, H heads, K head width."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def rotary_tables(num_positions: int, head_width: int, base: float) -> tuple[Tensor, Tensor]:
    """Return cosines and signed sines of every position's angles, each (T, K).

    Dimension i < K/2 pairs with i + K/2 and turns by position * base^(-2i/K); the sines
    of the first half carry the minus sign of the rotation.

    Source: Su et al. 2021, "RoFormer", section 3.2.2, in the half-split layout of
    Hugging Face's checkpoints. Angles are in float32, as there.
    """
    dimensions = torch.arange(0, head_width, 2, dtype=torch.float32, device="cpu")
    frequencies = 1.0 / base ** (dimensions / head_width)
    positions = torch.arange(num_positions, dtype=torch.float32, device="cpu")
    angles = torch.outer(positions, frequencies)
    cosines, sines = angles.cos(), angles.sin()
    return torch.cat((cosines, cosines), dim=-1), torch.cat((-sines, sines), dim=-1)


def rotate(x_BTHK: Tensor, cosines: Tensor, signed_sines: Tensor) -> Tensor:
    """Return each head's vector turned by its position's angles.

    Args:
        x_BTHK: Queries or keys.
        cosines: (T, 1, K), or (B, T, 1, K) where positions differ between rows.
        signed_sines: Of the same shape, from `rotary_tables`.
    """
    if torch.is_grad_enabled():
        return _Rotate.apply(x_BTHK, cosines, signed_sines)  # pyright: ignore
    return _turn(x_BTHK, cosines, signed_sines, 1)


def _turn(x_BTHK: Tensor, cosines: Tensor, signed_sines: Tensor, direction: int) -> Tensor:
    partners = x_BTHK.roll(x_BTHK.shape[-1] // 2, dims=-1)
    return (x_BTHK * cosines).addcmul_(partners, signed_sines, value=direction)


class _Rotate(torch.autograd.Function):
    """A rotation's gradient is the rotation back: nothing but the angles is kept for it."""

    @staticmethod
    def forward(ctx: Any, x_BTHK: Tensor, cosines: Tensor, signed_sines: Tensor) -> Tensor:
        ctx.save_for_backward(cosines, signed_sines)
        return _turn(x_BTHK, cosines, signed_sines, 1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        cosines, signed_sines = ctx.saved_tensors
        return _turn(gradients[0], cosines, signed_sines, -1), None, None
