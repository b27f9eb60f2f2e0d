"""What each token computes by itself. Shapes: B batch, T time, N tokens, D width, M inner width."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from llmctl.core.model.architecture import Activation, Architecture, Experts
from llmctl.core.model.projection import FusedProjection, Projection, linear


def _gelu_tanh(x: Tensor) -> Tensor:
    """Hendrycks and Gimpel 2016, "Gaussian Error Linear Units", section 2's approximation."""
    return functional.gelu(x, approximate="tanh")


ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "silu": functional.silu,
    "gelu": functional.gelu,
    "gelu_tanh": _gelu_tanh,
    "relu": functional.relu,
}


class MLP(nn.Module):
    """act(x U) D, or with a gate (act(x G) * x U) D.

    Source: Shazeer 2020, "GLU Variants Improve Transformer", equation 6.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        width, inner, bias = architecture.width, architecture.mlp_width, architecture.mlp_bias
        self.activation = ACTIVATIONS[architecture.activation]
        self.gate_up: FusedProjection | None = None
        self.up: Projection | None = None
        if architecture.has_gate:
            self.gate_up = FusedProjection(width, {"gate": inner, "up": inner}, bias)
        else:
            self.up = Projection(width, inner, bias)
        self.down = Projection(inner, width, bias)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Return each token's update, (B, T, D)."""
        if self.gate_up is None:
            assert self.up is not None
            return self.down(self.activation(self.up(x_BTD)))
        gate_BTM, up_BTM = self.gate_up(x_BTD).chunk(2, dim=-1)
        return self.down(self.activation(gate_BTM) * up_BTM)


class ExpertMLPs(nn.Module):
    """Many gated MLPs of which each token passes through a few, weighted by a router.

    Source: Shazeer et al. 2017, "Outrageously Large Neural Networks", section 2; the
    softmax before the choice as in Qwen3-MoE.
    """

    def __init__(self, architecture: Architecture, experts: Experts) -> None:
        super().__init__()
        count, inner, width = experts.num_experts, experts.width, architecture.width
        self.experts = experts
        self.activation = ACTIVATIONS[architecture.activation]
        self.router = Projection(width, count)
        self.gate_up = nn.Parameter(torch.empty(count, 2 * inner, width))
        self.down = nn.Parameter(torch.empty(count, width, inner))

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Return each token's update, (B, T, D)."""
        x_ND = x_BTD.reshape(-1, x_BTD.shape[-1])
        probabilities = self.router(x_ND).softmax(dim=-1, dtype=torch.float32)
        weights, chosen = probabilities.topk(self.experts.num_chosen, dim=-1)
        if self.experts.is_normalised:
            weights = weights / weights.sum(dim=-1, keepdim=True)
        weights = weights.to(x_ND.dtype)
        sums_ND = torch.zeros_like(x_ND)
        for expert in chosen.unique().tolist():
            tokens_N, places_N = torch.where(chosen == expert)
            update_ND = self._expert(expert, x_ND[tokens_N]) * weights[tokens_N, places_N, None]
            sums_ND.index_add_(0, tokens_N, update_ND)
        return sums_ND.view_as(x_BTD)

    def _expert(self, expert: int, x_ND: Tensor) -> Tensor:
        gate_NM, up_NM = linear(x_ND, self.gate_up[expert]).chunk(2, dim=-1)
        return linear(self.activation(gate_NM) * up_NM, self.down[expert])
