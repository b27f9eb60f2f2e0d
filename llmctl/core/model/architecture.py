"""What a Transformer of any family consists of, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from llmctl.core.model.rotary import Rotary
from llmctl.core.recipe import ModelShape

Activation = Literal["silu", "gelu", "gelu_tanh", "relu"]


@dataclass(frozen=True)
class Norm:
    """How rows are normalised.

    Attributes:
        epsilon: Added to the mean square or the variance.
        kind: "rms", or "layer" for a mean taken away and a bias added.
        gain_offset: Added to the gain that is stored; Gemma stores gain - 1.
    """

    epsilon: float
    kind: Literal["rms", "layer"] = "rms"
    gain_offset: float = 0.0


@dataclass(frozen=True)
class Experts:
    """A layer of many MLPs of which each token passes through a few.

    Attributes:
        num_experts: MLPs there are.
        num_chosen: MLPs a token passes through.
        width: Inner width of each.
        is_normalised: The weights of those chosen are made to sum to 1.
    """

    num_experts: int
    num_chosen: int
    width: int
    is_normalised: bool


@dataclass(frozen=True)
class Layer:
    """What may differ from layer to layer.

    Attributes:
        scale: Multiplies queries times keys.
        rotary: Rotary positions, or None for none.
        window: A token sees itself and window - 1 tokens before it; None: all before it.
        experts: In the place of the one MLP, or None.
    """

    scale: float
    rotary: Rotary | None = None
    window: int | None = None
    experts: Experts | None = None


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A decoder of any family; the defaults are Llama's.

    Attributes:
        vocab_size: Entries of the embedding.
        width: Of the residual stream.
        num_heads: Query heads.
        num_key_value_heads: Key and value heads, each serving as many query heads.
        head_width: Of one head.
        mlp_width: Inner width of the MLPs that are no experts.
        context_tokens: Longest text.
        layers: Each block's own.
        norm: Of the stream, and of queries and keys where they have one.
        tie_embeddings: The embedding is the output matrix too.
        activation: Inside the MLPs.
        has_gate: (act(x G) * x U) D, else act(x U) D.
        norms_before: Attention and MLP read a normalised stream.
        norms_after: What they add to it is normalised.
        query_key_norm: "head" by head, over the whole "width", or None.
        query_key_value_bias: Those projections have one.
        attention_output_bias: That projection has one.
        mlp_bias: All projections of the MLPs have one.
        has_position_table: Learned positions are added to the embedding.
        embedding_scale: Multiplies the embedding, rounded to its type.
        attention_softcap: c in c tanh(x / c) of the logits of attention, or None.
        logit_softcap: The same of the output's.
    """

    vocab_size: int
    width: int
    num_heads: int
    num_key_value_heads: int
    head_width: int
    mlp_width: int
    context_tokens: int
    layers: tuple[Layer, ...]
    norm: Norm
    tie_embeddings: bool
    activation: Activation = "silu"
    has_gate: bool = True
    norms_before: bool = True
    norms_after: bool = False
    query_key_norm: Literal["head", "width"] | None = None
    query_key_value_bias: bool = False
    attention_output_bias: bool = False
    mlp_bias: bool = False
    has_position_table: bool = False
    embedding_scale: float = 1.0
    attention_softcap: float | None = None
    logit_softcap: float | None = None

    @classmethod
    def from_shape(cls, shape: ModelShape, vocab_size: int) -> Architecture:
        """Return what `llmctl train` trains: mathematically a Qwen3."""
        rotary = Rotary(shape.rotary_base, shape.head_width)
        return cls(
            vocab_size=vocab_size,
            width=shape.width,
            num_heads=shape.num_heads,
            num_key_value_heads=shape.num_key_value_heads,
            head_width=shape.head_width,
            mlp_width=shape.mlp_width,
            context_tokens=shape.context_tokens,
            layers=(Layer(shape.head_width**-0.5, rotary),) * shape.num_layers,
            norm=Norm(shape.norm_epsilon),
            tie_embeddings=shape.tie_embeddings,
            query_key_norm="head",
        )
