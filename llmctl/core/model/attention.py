"""Grouped-query attention with normalised queries and keys.

Shapes: B batch, T time, S slots seen, D width, H query heads, G key heads, K head width.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from llmctl.core.model.cache import KeyValueCache, Span
from llmctl.core.model.normalisation import RMSNorm
from llmctl.core.model.projection import Projection
from llmctl.core.model.rotary import rotate
from llmctl.core.recipe import ModelShape


@dataclass(frozen=True)
class Context:
    """What every layer of one forward pass shares.

    Attributes:
        cosines: Rotary cosines of the tokens' positions, (T, 1, K) or (B, T, 1, K).
        signed_sines: Rotary sines, likewise.
        cache: Keys and values of earlier tokens, or None.
        span: Where in the cache the tokens go; None without one.
    """

    cosines: Tensor
    signed_sines: Tensor
    cache: KeyValueCache | None = None
    span: Span | None = None


class Attention(nn.Module):
    """softmax(Q Kᵀ / sqrt(K)) V, each key head serving H / G query heads.

    Queries and keys are normalised per head with a learned gain, then rotated.

    Args:
        shape: The model's shape.
        layer: Which layer's slots of the cache are this one's.

    Source: Vaswani et al. 2017, section 3.2.1; Ainslie et al. 2023, "GQA", section 2.2;
    normalised queries and keys: Dehghani et al. 2023, "Scaling Vision Transformers to
    22 Billion Parameters", section 2.
    """

    def __init__(self, shape: ModelShape, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.num_heads = shape.num_heads
        self.num_key_value_heads = shape.num_key_value_heads
        self.head_width = shape.head_width
        query_width = shape.num_heads * shape.head_width
        key_width = shape.num_key_value_heads * shape.head_width
        self.query = Projection(shape.width, query_width)
        self.key = Projection(shape.width, key_width)
        self.value = Projection(shape.width, key_width)
        self.output = Projection(query_width, shape.width)
        self.query_norm = RMSNorm(shape.head_width, shape.norm_epsilon)
        self.key_norm = RMSNorm(shape.head_width, shape.norm_epsilon)

    def forward(self, x_BTD: Tensor, context: Context) -> Tensor:
        """Return what the tokens gather from one another and from the cache, (B, T, D)."""
        batch_size, num_tokens, _ = x_BTD.shape
        per_query_head = (batch_size, num_tokens, self.num_heads, self.head_width)
        per_key_head = (batch_size, num_tokens, self.num_key_value_heads, self.head_width)
        turns = context.cosines, context.signed_sines
        q_BTHK = rotate(self.query_norm(self.query(x_BTD).view(per_query_head)), *turns)
        k_BTGK = rotate(self.key_norm(self.key(x_BTD).view(per_key_head)), *turns)
        v_BTGK = self.value(x_BTD).view(per_key_head)
        mixed_BTHK = self._attend(q_BTHK, k_BTGK, v_BTGK, context)
        return self.output(mixed_BTHK.reshape(batch_size, num_tokens, -1))

    def _attend(self, q_BTHK: Tensor, k_BTGK: Tensor, v_BTGK: Tensor, context: Context) -> Tensor:
        mask, is_causal = None, True
        k_BGSK, v_BGSK = k_BTGK.transpose(1, 2), v_BTGK.transpose(1, 2)
        if context.cache is not None and context.span is not None:
            mask, is_causal = context.span.mask, context.span.is_causal
            k_BGSK, v_BGSK = context.cache.append(self.layer, context.span, k_BTGK, v_BTGK)
        mixed_BHTK = functional.scaled_dot_product_attention(
            q_BTHK.transpose(1, 2),
            k_BGSK,
            v_BGSK,
            attn_mask=mask,
            is_causal=is_causal,
            enable_gqa=self.num_heads != self.num_key_value_heads,
        )
        return mixed_BHTK.transpose(1, 2)
