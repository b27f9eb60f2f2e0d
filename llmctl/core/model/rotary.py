"""Rotary positions in the half-split layout.

Shapes: B batch, T time, H heads, K head width, R rotated dimensions of a head, R <= K.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from llmctl.core.model.rotary_scaling import RotaryScaling


@dataclass(frozen=True)
class Rotary:
    """One kind of rotary positions; layers may differ in theirs.

    Attributes:
        base: Theta.
        num_dimensions: R, the first dimensions of each head, which turn; the others do not.
        scaling: Of the frequencies.
    """

    base: float
    num_dimensions: int
    scaling: RotaryScaling = field(default_factory=RotaryScaling)

    def tables(self, num_positions: int, regime: int = 0) -> tuple[Tensor, Tensor]:
        """Return cosines and signed sines of every position's angles, each (T, R).

        Dimension i < R/2 pairs with i + R/2; the sines of the first half carry the minus
        sign of the rotation.

        Args:
            num_positions: T.
            regime: Of the text's whole length; see `RotaryScaling.regime`.

        Source: Su et al. 2021, "RoFormer", section 3.2.2, in the half-split layout of
        Hugging Face's checkpoints.
        """
        frequencies = self.scaling.frequencies(self.base, self.num_dimensions, regime)
        positions = torch.arange(num_positions, dtype=torch.float32, device="cpu")
        angles = torch.outer(positions, frequencies)
        cosines = angles.cos() * self.scaling.attention_factor
        sines = angles.sin() * self.scaling.attention_factor
        return torch.cat((cosines, cosines), dim=-1), torch.cat((-sines, sines), dim=-1)


def rotate(x_BTHK: Tensor, cosines: Tensor, signed_sines: Tensor) -> Tensor:
    """Return each head's vector turned by its position's angles.

    Args:
        x_BTHK: Queries or keys.
        cosines: (T, 1, R), or (B, T, 1, R) where positions differ between rows.
        signed_sines: Of the same shape, from `Rotary.tables`.
    """
    if torch.is_grad_enabled():
        return _Rotate.apply(x_BTHK, cosines, signed_sines)  # pyright: ignore
    return _turn(x_BTHK, cosines, signed_sines, 1)


def _turn(x_BTHK: Tensor, cosines: Tensor, signed_sines: Tensor, direction: int) -> Tensor:
    num_dimensions = cosines.shape[-1]
    if num_dimensions < x_BTHK.shape[-1]:
        turned = _turn(x_BTHK[..., :num_dimensions], cosines, signed_sines, direction)
        return torch.cat((turned, x_BTHK[..., num_dimensions:]), dim=-1)
    partners = x_BTHK.roll(num_dimensions // 2, dims=-1)
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
