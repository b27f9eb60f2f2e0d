"""Grouped-query attention.

Shapes: B batch, T time, S slots seen, D width, H query heads, G key heads, K head width,
R query heads that share a key head, H = G R.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from llmctl.core.model.architecture import Architecture, Layer
from llmctl.core.model.normalisation import make_norm
from llmctl.core.model.projection import FusedProjection, Projection
from llmctl.core.model.reading import Reading, View


class Attention(nn.Module):
    """softmax(Q Kᵀ scale) V, each key head serving H / G query heads.

    Args:
        architecture: Heads, biases, norms.
        layer: Its scale, window and positions.
        index: Which layer's slots of the cache are this one's.

    Source: Vaswani et al. 2017, section 3.2.1; Ainslie et al. 2023, "GQA", section 2.2;
    normalised queries and keys: Dehghani et al. 2023, "Scaling Vision Transformers to
    22 Billion Parameters", section 2.
    """

    def __init__(self, architecture: Architecture, layer: Layer, index: int) -> None:
        super().__init__()
        self.layer = layer
        self.index = index
        self.num_heads = architecture.num_heads
        self.num_key_value_heads = architecture.num_key_value_heads
        self.head_width = architecture.head_width
        self.softcap = architecture.attention_softcap
        query_width = self.num_heads * self.head_width
        key_width = self.num_key_value_heads * self.head_width
        self.qkv = FusedProjection(
            architecture.width,
            {"query": query_width, "key": key_width, "value": key_width},
            architecture.query_key_value_bias,
        )
        self.output = Projection(
            query_width, architecture.width, architecture.attention_output_bias
        )
        self.normalises_heads = architecture.query_key_norm == "head"
        self.query_norm = self.key_norm = None
        if architecture.query_key_norm is not None:
            widths = (self.head_width,) * 2 if self.normalises_heads else (query_width, key_width)
            self.query_norm = make_norm(widths[0], architecture.norm)
            self.key_norm = make_norm(widths[1], architecture.norm)

    def forward(self, x_BTD: Tensor, reading: Reading) -> Tensor:
        """Return what the tokens gather from one another and from the cache, (B, T, D)."""
        batch_size, num_tokens, _ = x_BTD.shape
        q_BTHK, k_BTGK, v_BTGK = self._queries_keys_values(x_BTD, reading)
        view = reading.view(self.layer.window)
        k_BGSK, v_BGSK = k_BTGK.transpose(1, 2), v_BTGK.transpose(1, 2)
        if reading.cache is not None:
            k_BGSK, v_BGSK = reading.cache.append(self.index, reading, k_BGSK, v_BGSK)
            if view.first_slot:
                k_BGSK, v_BGSK = k_BGSK[:, :, view.first_slot :], v_BGSK[:, :, view.first_slot :]
        if self.softcap is None and self.index not in reading.watched:
            mixed_BTHK = self._attend(q_BTHK, k_BGSK, v_BGSK, view)
        else:
            mixed_BTHK = self._attend_in_the_open(q_BTHK, k_BGSK, v_BGSK, view, reading)
        return self.output(mixed_BTHK.reshape(batch_size, num_tokens, -1))

    def _queries_keys_values(
        self, x_BTD: Tensor, reading: Reading
    ) -> tuple[Tensor, Tensor, Tensor]:
        batch_size, num_tokens, _ = x_BTD.shape
        num_queries, num_keys = self.num_heads, self.num_key_value_heads
        qkv = self.qkv(x_BTD)
        if self.query_norm is not None and self.key_norm is not None:
            if self.normalises_heads:
                qkv = qkv.view(batch_size, num_tokens, -1, self.head_width)
                q, k, v = qkv.split((num_queries, num_keys, num_keys), dim=2)
            else:
                q, k, v = qkv.split(tuple(self.qkv.outputs.values()), dim=-1)
            heads = (batch_size, num_tokens, -1, self.head_width)
            q = reading.rotate(self.query_norm(q).view(heads), self.layer.rotary)
            k = reading.rotate(self.key_norm(k).view(heads), self.layer.rotary)
            return q, k, v.view(heads)
        qkv = qkv.view(batch_size, num_tokens, -1, self.head_width)
        qk, v = qkv.split((num_queries + num_keys, num_keys), dim=2)
        qk = reading.rotate(qk, self.layer.rotary)
        return qk[:, :, :num_queries], qk[:, :, num_queries:], v

    def _attend(self, q_BTHK: Tensor, k_BGSK: Tensor, v_BGSK: Tensor, view: View) -> Tensor:
        batch_size, num_tokens, num_heads, head_width = q_BTHK.shape
        num_groups = k_BGSK.shape[1]
        # One token's queries that share a key head are rows of one product.
        is_single = num_tokens == 1 and num_heads != num_groups
        queries = (
            q_BTHK.view(batch_size, num_groups, -1, head_width)
            if is_single
            else q_BTHK.transpose(1, 2)
        )
        mixed = functional.scaled_dot_product_attention(
            queries,
            k_BGSK,
            v_BGSK,
            attn_mask=view.mask,
            is_causal=view.is_causal,
            scale=self.layer.scale,
            enable_gqa=queries.shape[1] != num_groups,
        )
        return mixed if is_single else mixed.transpose(1, 2)

    def _attend_in_the_open(
        self, q_BTHK: Tensor, k_BGSK: Tensor, v_BGSK: Tensor, view: View, reading: Reading
    ) -> Tensor:
        """Attention step by step, where its logits are capped or its weights asked for."""
        batch_size, num_tokens, _, head_width = q_BTHK.shape
        num_groups, num_slots = k_BGSK.shape[1:3]
        q_BGRTK = q_BTHK.view(batch_size, num_tokens, num_groups, -1, head_width).permute(
            0, 2, 3, 1, 4
        )
        logits = q_BGRTK @ k_BGSK.unsqueeze(2).transpose(-2, -1) * self.layer.scale
        if self.softcap is not None:
            logits = (logits / self.softcap).tanh() * self.softcap
        mask = view.explicit_mask(num_tokens, num_slots, logits.device)
        if mask is not None:
            mask = mask if mask.ndim == 2 else mask.unsqueeze(1)
            logits = logits.masked_fill(~mask, -torch.inf)
        weights_BGRTS = logits.softmax(dim=-1, dtype=torch.float32).to(q_BTHK.dtype)
        if self.index in reading.watched:
            reading.attentions.append(weights_BGRTS.flatten(1, 2))
        mixed_BGRTK = weights_BGRTS @ v_BGSK.unsqueeze(2)
        return mixed_BGRTK.permute(0, 3, 1, 2, 4).flatten(2, 3)
