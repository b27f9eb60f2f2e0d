"""How rotary frequencies are stretched for contexts longer than those of pretraining.

R rotated dimensions of a head, so R / 2 frequencies. Angles and frequencies are in float32,
as in Hugging Face's implementation, whose names of the parameters are kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor


def plain_frequencies(base: float, num_dimensions: int) -> Tensor:
    """Return base^(-2i / R) for i < R / 2.

    Source: Su et al. 2021, "RoFormer", section 3.2.2.
    """
    return 1.0 / base ** _exponents(num_dimensions)


def _exponents(num_dimensions: int) -> Tensor:
    dimensions = torch.arange(0, num_dimensions, 2, dtype=torch.float32, device="cpu")
    return dimensions / num_dimensions


@dataclass(frozen=True)
class RotaryScaling:
    """None: the frequencies of pretraining.

    Attributes:
        attention_factor: Multiplies cosines and sines, and so the logits of attention twice.
        depends_on_length: There is more than one regime.
    """

    depends_on_length: ClassVar[bool] = False
    attention_factor: float = 1.0

    def regime(self, num_tokens: int) -> int:
        """Return what of a text's length decides its frequencies; equal numbers, equal ones."""
        del num_tokens
        return 0

    def frequencies(self, base: float, num_dimensions: int, regime: int) -> Tensor:
        """Return the frequencies in a regime, (R / 2,)."""
        del regime
        return plain_frequencies(base, num_dimensions)


@dataclass(frozen=True, kw_only=True)
class LinearScaling(RotaryScaling):
    """All frequencies divided by a factor.

    Source: Chen et al. 2023, "Extending Context Window of Large Language Models via
    Positional Interpolation", section 2.3.
    """

    factor: float

    def frequencies(self, base: float, num_dimensions: int, regime: int) -> Tensor:  # noqa: D102
        return super().frequencies(base, num_dimensions, regime) / self.factor


@dataclass(frozen=True, kw_only=True)
class DynamicScaling(RotaryScaling):
    """A base that grows with the text beyond the original context ("dynamic NTK").

    Source: Peng et al. 2023, "YaRN", section 3.3; the base as in Hugging Face's code.
    """

    depends_on_length: ClassVar[bool] = True
    factor: float
    original_context_tokens: int

    def regime(self, num_tokens: int) -> int:  # noqa: D102
        return max(num_tokens, self.original_context_tokens)

    def frequencies(self, base: float, num_dimensions: int, regime: int) -> Tensor:  # noqa: D102
        stretch = self.factor * regime / self.original_context_tokens - (self.factor - 1)
        grown = base * stretch ** (num_dimensions / (num_dimensions - 2))
        return plain_frequencies(grown, num_dimensions)


@dataclass(frozen=True, kw_only=True)
class Llama3Scaling(RotaryScaling):
    """Long waves divided by a factor, short ones kept, those between blended.

    Source: Grattafiori et al. 2024, "The Llama 3 Herd of Models", and Meta's code for 3.1.
    """

    factor: float
    low_frequency_factor: float
    high_frequency_factor: float
    original_context_tokens: int

    def frequencies(self, base: float, num_dimensions: int, regime: int) -> Tensor:  # noqa: D102
        plain = super().frequencies(base, num_dimensions, regime)
        turns = self.original_context_tokens * plain / (2 * math.pi)
        spread = self.high_frequency_factor - self.low_frequency_factor
        kept = ((turns - self.low_frequency_factor) / spread).clamp(0, 1)
        return (1 - kept) * plain / self.factor + kept * plain


@dataclass(frozen=True, kw_only=True)
class YarnScaling(RotaryScaling):
    """Few turns within the original context: divided; many turns: kept; a ramp between.

    Source: Peng et al. 2023, "YaRN", section 3.2, equations 13 to 18.
    """

    factor: float
    fast_turns: float
    slow_turns: float
    original_context_tokens: int
    is_truncated: bool

    def frequencies(self, base: float, num_dimensions: int, regime: int) -> Tensor:  # noqa: D102
        plain = super().frequencies(base, num_dimensions, regime)
        low = self._dimension(self.fast_turns, base, num_dimensions)
        high = self._dimension(self.slow_turns, base, num_dimensions)
        if self.is_truncated:
            low, high = math.floor(low), math.ceil(high)
        low, high = max(low, 0), min(high, num_dimensions - 1)
        width = high - low if high != low else 0.001
        ramp = (torch.arange(num_dimensions // 2, dtype=torch.float32) - low) / width
        divided = ramp.clamp(0, 1)
        return plain / self.factor * divided + plain * (1 - divided)

    def _dimension(self, turns: float, base: float, num_dimensions: int) -> float:
        """The dimension whose angle makes so many turns within the original context."""
        wave_tokens = self.original_context_tokens / (turns * 2 * math.pi)
        return num_dimensions * math.log(wave_tokens) / (2 * math.log(base))


@dataclass(frozen=True, kw_only=True)
class LongRopeScaling(RotaryScaling):
    """A divisor for each frequency, one set within the original context, another beyond.

    Source: Ding et al. 2024, "LongRoPE", section 3.
    """

    depends_on_length: ClassVar[bool] = True
    short_factors: tuple[float, ...]
    long_factors: tuple[float, ...]
    original_context_tokens: int

    def regime(self, num_tokens: int) -> int:  # noqa: D102
        return int(num_tokens > self.original_context_tokens)

    def frequencies(self, base: float, num_dimensions: int, regime: int) -> Tensor:  # noqa: D102
        factors = torch.tensor(self.long_factors if regime else self.short_factors)
        return 1.0 / (factors * base ** _exponents(num_dimensions))
