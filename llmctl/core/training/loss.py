"""The loss over the vocabulary, without ever holding all the logits.

N tokens, C tokens of a chunk, D width, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

# 1,024 rows of 4,096 logits are 16 MB: they stay in the caches between being made and used.
CHUNK_TOKENS = 1024


def cross_entropy_sum(states_ND: Tensor, output_weight_VD: Tensor, targets_N: Tensor) -> Tensor:
    """Return the summed cross-entropy, in nats, of the targets given the final states.

    Logits are made a chunk of tokens at a time, and turned into the gradients of both
    factors at once, so that they are neither kept nor made again: memory grows with the
    vocabulary or with the tokens, not with their product.
    """
    weight = output_weight_VD.to(states_ND.dtype)
    total: Tensor = _ChunkedCrossEntropy.apply(states_ND, weight, targets_N)  # pyright: ignore
    return total


class _ChunkedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states_ND: Tensor, weight_VD: Tensor, targets_N: Tensor) -> Tensor:
        needs_gradient = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        total = torch.zeros((), device=states_ND.device)
        states_gradient_ND = torch.empty_like(states_ND)
        # A sum over many chunks would lose its small parts in a narrow type.
        weight_gradient_VD = torch.zeros_like(weight_VD, dtype=torch.float32)
        for start in range(0, len(targets_N), CHUNK_TOKENS):
            part = slice(start, start + CHUNK_TOKENS)
            targets_C1 = targets_N[part].unsqueeze(1)
            logits_CV = functional.linear(states_ND[part], weight_VD).float()
            log_probabilities_CV = functional.log_softmax(logits_CV, dim=-1)
            target_log_probabilities_C1 = log_probabilities_CV.gather(1, targets_C1)
            total -= target_log_probabilities_C1.sum()
            if needs_gradient:
                # The gradient of the logits is softmax minus the target's one-hot vector.
                errors_CV = log_probabilities_CV.exp_()
                errors_CV.scatter_(1, targets_C1, target_log_probabilities_C1.expm1_())
                errors_CV = errors_CV.to(weight_VD.dtype)
                torch.mm(errors_CV, weight_VD, out=states_gradient_ND[part])
                weight_gradient_VD += errors_CV.T @ states_ND[part]
        ctx.save_for_backward(states_gradient_ND, weight_gradient_VD.to(weight_VD.dtype))
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        states_gradient_ND, weight_gradient_VD = ctx.saved_tensors
        scale = gradients[0]
        return states_gradient_ND * scale, weight_gradient_VD * scale, None
