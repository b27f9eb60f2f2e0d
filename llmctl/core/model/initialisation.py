"""The weights that training starts from, decided by a seed alone."""

from __future__ import annotations

import math

import torch
from torch import nn

from llmctl.core.model.transformer import EMBEDDING_NAME, OUTPUT_NAME, Transformer

EMBEDDING_STANDARD_DEVIATION = 0.02
# What these add to the residual stream starts at zero, so that each block starts as the
# identity: Zhang et al. 2019, "Fixup Initialization", section 3.
_WRITES_TO_STREAM = ("attention.output.weight", "mlp.down.weight")


@torch.no_grad()
def initialise(model: Transformer, seed: int) -> None:
    """Fill every parameter of a new model.

    Gains are 1; projections onto the residual stream and an untied output are 0, so that
    an untied model starts at the uniform distribution; the embedding is drawn with a
    deviation so small that a tied one starts near it; all other projections with a
    variance of 1 / inputs, which keeps the variance of a normalised input
    (LeCun et al. 1998, "Efficient BackProp", section 4.6).

    Draws are uniform, not normal: they come out bit for bit the same on every processor,
    where a normal draw passes through a logarithm that vector units round differently.
    Always drawn on the CPU, from a generator of its own.
    """
    generator = torch.Generator(device="cpu").manual_seed(seed)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            parameter.fill_(1.0)
        elif name == OUTPUT_NAME or name.endswith(_WRITES_TO_STREAM):
            parameter.zero_()
        elif name == EMBEDDING_NAME:
            _draw(parameter, EMBEDDING_STANDARD_DEVIATION, generator)
        else:
            _draw(parameter, 1 / math.sqrt(parameter.shape[1]), generator)


def _draw(parameter: nn.Parameter, deviation: float, generator: torch.Generator) -> None:
    bound = math.sqrt(3) * deviation  # a uniform variable on ±b has the variance b²/3
    drawn = torch.empty(parameter.shape).uniform_(-bound, bound, generator=generator)
    parameter.copy_(drawn)
