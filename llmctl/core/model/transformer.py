"""The one Transformer of every model. Shapes: B batch, T time, D width, V vocabulary."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from llmctl.core.model.attention import Attention, Context
from llmctl.core.model.cache import KeyValueCache
from llmctl.core.model.normalisation import RMSNorm
from llmctl.core.model.projection import Projection, Table
from llmctl.core.model.rotary import rotary_tables
from llmctl.core.recipe import ModelShape

EMBEDDING_NAME = "embedding.weight"
OUTPUT_NAME = "output.weight"


class MLP(nn.Module):
    """SwiGLU: (silu(x G) * x U) D.

    Source: Shazeer 2020, "GLU Variants Improve Transformer", equation 6.
    """

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.gate = Projection(shape.width, shape.mlp_width)
        self.up = Projection(shape.width, shape.mlp_width)
        self.down = Projection(shape.mlp_width, shape.width)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Return each token's update, (B, T, D)."""
        return self.down(functional.silu(self.gate(x_BTD)) * self.up(x_BTD))


class Block(nn.Module):
    """Attention, then the MLP, each reading a normalised stream and adding to it."""

    def __init__(self, shape: ModelShape, layer: int) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(shape.width, shape.norm_epsilon)
        self.attention = Attention(shape, layer)
        self.mlp_norm = RMSNorm(shape.width, shape.norm_epsilon)
        self.mlp = MLP(shape)

    def forward(self, x_BTD: Tensor, context: Context) -> Tensor:
        """Return the residual stream after this block, (B, T, D)."""
        x_BTD = x_BTD + self.attention(self.attention_norm(x_BTD), context)
        return x_BTD + self.mlp(self.mlp_norm(x_BTD))


class Transformer(nn.Module):
    """A decoder of pre-normalised blocks with rotary positions, mathematically a Qwen3.

    Its matrices hold arbitrary memory until `initialise` or a checkpoint fills them.

    Args:
        shape: Layers, widths, heads, context.
        vocab_size: V.

    Attributes:
        shape: As given.
        vocab_size: As given.
    """

    def __init__(self, shape: ModelShape, vocab_size: int) -> None:
        super().__init__()
        self.shape = shape
        self.vocab_size = vocab_size
        self.embedding = Table(vocab_size, shape.width)
        self.blocks = nn.ModuleList(Block(shape, layer) for layer in range(shape.num_layers))
        self.final_norm = RMSNorm(shape.width, shape.norm_epsilon)
        self.output = None if shape.tie_embeddings else Projection(shape.width, vocab_size)
        self._tables: tuple[Tensor, Tensor] | None = None

    @property
    def table_names(self) -> frozenset[str]:
        """Names of the parameters with a row per vocabulary entry."""
        return frozenset({EMBEDDING_NAME} if self.output is None else {EMBEDDING_NAME, OUTPUT_NAME})

    @property
    def output_weight(self) -> Tensor:
        """The matrix from states to logits, (V, D): the embedding's where they are tied."""
        return self.embedding.weight if self.output is None else self.output.weight

    @property
    def context_tokens(self) -> int:
        """The longest sequence that can be read."""
        return self.shape.context_tokens

    def new_cache(self, batch_size: int, num_slots: int) -> KeyValueCache:
        """Return an empty cache of so many rows and positions, where the weights are."""
        weight = self.output_weight
        return KeyValueCache(
            self.shape, batch_size, num_slots, dtype=weight.dtype, device=weight.device
        )

    def forward(self, tokens_BT: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        """Return the logits of each next token, (B, T, V); see `hidden`."""
        return self.logits(self.hidden(tokens_BT, cache))

    def logits(self, states: Tensor) -> Tensor:
        """Return the logits (…, V) of states (…, D) after the final norm."""
        return functional.linear(states, self.output_weight)

    def hidden(self, tokens_BT: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        """Return the states after the final norm, (B, T, D).

        Args:
            tokens_BT: Token ids, int64. Each sees itself and those before it.
            cache: Earlier tokens of the same rows; these are appended to it.

        Raises:
            ValueError: More tokens than the context or the cache holds.
        """
        x_BTD = self.embedding(tokens_BT)
        context = self._context(tokens_BT, cache, x_BTD.dtype)
        for block in self.blocks:
            x_BTD = block(x_BTD, context)
        return self.final_norm(x_BTD)

    def _context(
        self, tokens_BT: Tensor, cache: KeyValueCache | None, dtype: torch.dtype
    ) -> Context:
        batch_size, num_tokens = tokens_BT.shape
        if cache is None:
            span, last, positions = None, num_tokens, slice(num_tokens)
        else:
            span = cache.extend(batch_size, num_tokens)
            last, positions = span.num_slots, span.positions
        if last > self.shape.context_tokens:
            raise ValueError(
                f"{last} tokens exceed the model's context of {self.shape.context_tokens}"
            )
        cosines_TK, signed_sines_TK = self._rotary_tables(last, tokens_BT.device)
        return Context(
            cosines=cosines_TK[positions].unsqueeze(-2).to(dtype),
            signed_sines=signed_sines_TK[positions].unsqueeze(-2).to(dtype),
            cache=cache,
            span=span,
        )

    def _rotary_tables(self, num_positions: int, device: torch.device) -> tuple[Tensor, Tensor]:
        # Grown as needed: the context that a config claims may be absurdly long.
        tables = self._tables
        if tables is None or len(tables[0]) < num_positions or tables[0].device != device:
            grown = min(self.shape.context_tokens, 2 * num_positions)
            with torch.inference_mode(mode=False):  # or a later backward could not use them
                cosines, signed_sines = rotary_tables(
                    grown, self.shape.head_width, self.shape.rotary_base
                )
                tables = cosines.to(device), signed_sines.to(device)
            self._tables = tables
        return tables
