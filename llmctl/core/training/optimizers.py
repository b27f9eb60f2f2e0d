"""Muon for the matrices, AdamW for the rest, stepped together.

G matrices of one shape (M, N) are updated as one stack, since many small products cost
more in calls than in arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from llmctl.core.model.projection import Part
from llmctl.core.recipe import TrainPlan

# Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks": the
# quintic's coefficients are chosen for a steep slope at zero, not for convergence to 1.
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS = 5
ADAM_BETAS = (0.9, 0.95)
ADAM_EPSILON = 1e-10


def orthogonalise(stack_GMN: Tensor) -> Tensor:
    """Return for each matrix nearly the U Vᵀ of its singular value decomposition U S Vᵀ.

    Five Newton–Schulz iterations X ← aX + (bA + cA²)X with A = XXᵀ take every singular
    value from (0, 1] to about 0.7 … 1.2.

    Source: Jordan et al. 2024, "Muon", kellerjordan.github.io/posts/muon.
    """
    tall = stack_GMN.shape[-2] > stack_GMN.shape[-1]
    matrices = stack_GMN.mT if tall else stack_GMN
    matrices = matrices / matrices.norm(dim=(-2, -1), keepdim=True).clamp_min(1e-7)
    a, b, c = NEWTON_SCHULZ
    for _ in range(NEWTON_SCHULZ_STEPS):
        squares = matrices @ matrices.mT
        polynomial = torch.baddbmm(squares, squares, squares, beta=b, alpha=c)
        matrices = torch.baddbmm(matrices, polynomial, matrices, beta=a)
    return matrices.mT if tall else matrices


class Optimizer:
    """Both rules over one model's parameters.

    Matrices inside the blocks go to Muon, the embedding and the output matrix to AdamW at
    their own rate, vectors (gains of the norms) to AdamW at theirs.

    Args:
        parts: The model's `parts()`.
        table_names: The names of the embedding and the output matrix.
        plan: Rates, momentum, weight decay.
    """

    def __init__(
        self,
        parts: Iterable[tuple[str, Sequence[Part]]],
        table_names: frozenset[str],
        plan: TrainPlan,
    ) -> None:
        self._plan = plan
        self._matrices: dict[torch.Size, list[Part]] = {}
        self._others: list[tuple[Part, float]] = []
        for parameter_name, members in parts:
            for part in members:
                if parameter_name in table_names:
                    self._others.append((part, plan.embedding_learning_rate))
                elif part.tensor.ndim == 2:
                    self._matrices.setdefault(part.tensor.shape, []).append(part)
                else:
                    self._others.append((part, plan.norm_learning_rate))
        self._momenta = {
            shape: torch.zeros(len(members), *shape, device=members[0].parameter.device)
            for shape, members in self._matrices.items()
        }
        self._means = {part.name: torch.zeros_like(part.tensor) for part, _ in self._others}
        self._squares = {part.name: torch.zeros_like(part.tensor) for part, _ in self._others}
        self._num_steps = 0

    @torch.no_grad()
    def step(self, factor: float) -> None:
        """Update every parameter from its gradient, all rates multiplied by `factor`."""
        self._num_steps += 1
        for shape in self._matrices:
            self._step_muon(shape, factor)
        for part, learning_rate in self._others:
            self._step_adam(part, learning_rate * factor)

    def _step_muon(self, shape: torch.Size, factor: float) -> None:
        plan, members = self._plan, self._matrices[shape]
        gradients = torch.stack([part.gradient for part in members])
        momenta = self._momenta[shape]
        momenta.lerp_(gradients, 1 - plan.momentum)
        updates = orthogonalise(gradients.lerp_(momenta, plan.momentum))  # Nesterov's look ahead
        rate = plan.learning_rate * factor
        # A wide output takes a larger step, so that the change of the activations is alike.
        scale = rate * math.sqrt(max(1.0, shape[0] / shape[1]))
        for part, update in zip(members, updates, strict=True):
            part.tensor.mul_(1 - rate * plan.weight_decay).sub_(update, alpha=scale)

    def _step_adam(self, part: Part, rate: float) -> None:
        beta_mean, beta_square = ADAM_BETAS
        gradient = part.gradient
        mean, square = self._means[part.name], self._squares[part.name]
        mean.lerp_(gradient, 1 - beta_mean)
        square.mul_(beta_square).addcmul_(gradient, gradient, value=1 - beta_square)
        mean_bias = 1 - beta_mean**self._num_steps
        square_bias = 1 - beta_square**self._num_steps
        denominator = square.sqrt().div_(math.sqrt(square_bias)).add_(ADAM_EPSILON)
        part.tensor.addcdiv_(mean, denominator, value=-rate / mean_bias)

    def state(self) -> dict[str, Tensor]:
        """Return everything a resumed training needs, by parameter name."""
        found = {"num_steps": torch.tensor(self._num_steps)}
        for shape, members in self._matrices.items():
            for part, momentum in zip(members, self._momenta[shape], strict=True):
                found[f"momentum.{part.name}"] = momentum
        for part, _ in self._others:
            found[f"mean.{part.name}"] = self._means[part.name]
            found[f"square.{part.name}"] = self._squares[part.name]
        return found

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` returned."""
        self._num_steps = int(state["num_steps"])
        for name, tensor in self.state().items():
            if name != "num_steps":
                tensor.copy_(state[name])
