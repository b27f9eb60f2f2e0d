"""The one Transformer of every model. Shapes: B batch, T time, D width, V vocabulary."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from llmctl.core.model.architecture import Architecture, Layer
from llmctl.core.model.attention import Attention
from llmctl.core.model.cache import KeyValueCache
from llmctl.core.model.mlp import MLP, ExpertMLPs
from llmctl.core.model.normalisation import make_norm
from llmctl.core.model.projection import FusedProjection, Index, Part, Projection, Table, linear
from llmctl.core.model.reading import Reading, Tables
from llmctl.core.model.rotary import Rotary

EMBEDDING_NAME = "embedding.weight"
OUTPUT_NAME = "output.weight"
_MOST_TABLES = 8


@dataclass(frozen=True)
class Trace:
    """What a forward pass computed on its way.

    Attributes:
        states: (B, T, D) each: the embedded tokens, then the stream after each block, the
            last of them after the final norm.
        attentions: The weights of each layer that was watched, (B, H, T, T).
        logits: (B, T, V).
    """

    states: list[Tensor]
    attentions: list[Tensor]
    logits: Tensor


class Block(nn.Module):
    """Attention, then the MLP, each reading the stream and adding to it."""

    def __init__(self, architecture: Architecture, layer: Layer, index: int) -> None:
        super().__init__()
        width, norm = architecture.width, architecture.norm
        self.attention_norm = make_norm(width, norm) if architecture.norms_before else None
        self.attention = Attention(architecture, layer, index)
        self.attention_post_norm = make_norm(width, norm) if architecture.norms_after else None
        self.mlp_norm = make_norm(width, norm) if architecture.norms_before else None
        self.mlp = MLP(architecture) if layer.experts is None else None
        self.experts = layer.experts and ExpertMLPs(architecture, layer.experts)
        self.mlp_post_norm = make_norm(width, norm) if architecture.norms_after else None

    def forward(self, x_BTD: Tensor, reading: Reading) -> Tensor:
        """Return the residual stream after this block, (B, T, D)."""
        update_BTD = x_BTD if self.attention_norm is None else self.attention_norm(x_BTD)
        update_BTD = self.attention(update_BTD, reading)
        if self.attention_post_norm is not None:
            update_BTD = self.attention_post_norm(update_BTD)
        x_BTD = x_BTD + update_BTD
        update_BTD = x_BTD if self.mlp_norm is None else self.mlp_norm(x_BTD)
        update_BTD = (self.mlp or self.experts)(update_BTD)  # pyright: ignore[reportOptionalCall]
        if self.mlp_post_norm is not None:
            update_BTD = self.mlp_post_norm(update_BTD)
        return x_BTD + update_BTD


class Transformer(nn.Module):
    """A decoder of any family.

    Its matrices hold arbitrary memory until `initialise` or a checkpoint fills them.

    Args:
        architecture: What it consists of.

    Attributes:
        architecture: As given.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        width, vocab_size = architecture.width, architecture.vocab_size
        self.embedding = Table(vocab_size, width)
        self.position_table = (
            Table(architecture.context_tokens, width) if architecture.has_position_table else None
        )
        self.blocks = nn.ModuleList(
            Block(architecture, layer, index) for index, layer in enumerate(architecture.layers)
        )
        self.final_norm = make_norm(width, architecture.norm)
        self.output = None if architecture.tie_embeddings else Projection(width, vocab_size)
        self._tables: dict[tuple[Rotary, int], Tables] = {}
        rotaries = dict.fromkeys(layer.rotary for layer in architecture.layers if layer.rotary)
        self._scalings_by_length = [
            rotary.scaling for rotary in rotaries if rotary.scaling.depends_on_length
        ]

    @property
    def context_tokens(self) -> int:
        """Longest text."""
        return self.architecture.context_tokens

    @property
    def vocab_size(self) -> int:
        """V."""
        return self.architecture.vocab_size

    @property
    def table_names(self) -> frozenset[str]:
        """Names of the parameters with a row per vocabulary entry or position."""
        tables = [name for name, module in self.named_modules() if isinstance(module, Table)]
        outputs = [] if self.output is None else [OUTPUT_NAME]
        return frozenset([*(f"{name}.weight" for name in tables), *outputs])

    @property
    def output_weight(self) -> Tensor:
        """The matrix from states to logits, (V, D): the embedding's where they are tied."""
        return self.embedding.weight if self.output is None else self.output.weight

    def parts(self) -> Iterator[tuple[str, list[Part]]]:
        """Yield each parameter's name and the parts that it consists of, in order."""
        indices: dict[str, list[tuple[str, Index]]] = {}
        for path, module in self.named_modules():
            parent = path.rpartition(".")[0]
            if isinstance(module, FusedProjection):
                for kind in ("weight", "bias"):
                    indices[f"{path}.{kind}"] = [
                        (f"{parent}.{name}.{kind}", (rows,)) for name, rows in module.rows()
                    ]
            elif isinstance(module, ExpertMLPs):
                indices |= _expert_indices(path, module)
        for name, parameter in self.named_parameters():
            yield name, [Part(part, parameter, at) for part, at in indices.get(name, [(name, ())])]

    def new_cache(self, batch_size: int, num_slots: int) -> KeyValueCache:
        """Return an empty cache of the type and on the device of the weights."""
        weight = self.output_weight
        return KeyValueCache(
            self.architecture, batch_size, num_slots, dtype=weight.dtype, device=weight.device
        )

    def forward(self, tokens_BT: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        """Return the logits of each next token, (B, T, V); see `hidden`."""
        return self.logits(self.hidden(tokens_BT, cache))

    def logits(self, states: Tensor) -> Tensor:
        """Return the logits (…, V) of states (…, D) after the final norm."""
        logits = linear(states, self.output_weight)
        cap = self.architecture.logit_softcap
        return logits if cap is None else (logits / cap).tanh() * cap

    def hidden(
        self,
        tokens_BT: Tensor,
        cache: KeyValueCache | None = None,
        lengths: Sequence[int] | None = None,
        num_blocks: int | None = None,
    ) -> Tensor:
        """Return the states after the final norm, (B, T, D).

        Args:
            tokens_BT: Token ids, int64. Each sees itself and those before it.
            cache: Earlier tokens of the same rows; these are appended to it.
            lengths: Of each row's whole text, where these tokens are a chunk of it or end
                in padding; by default the row ends with these tokens.
            num_blocks: Return the stream after so many blocks instead, without the norm.

        Raises:
            ValueError: More tokens than the context or the cache holds.
        """
        reading = self._reading(tokens_BT, cache, lengths)
        x_BTD = self._embed(tokens_BT, reading)
        for block in self.blocks[:num_blocks]:
            x_BTD = block(x_BTD, reading)
        return self.final_norm(x_BTD) if num_blocks is None else x_BTD

    @torch.inference_mode()
    def trace(self, tokens_BT: Tensor, watched: Iterable[int] | None = None) -> Trace:
        """Return everything that a pass over whole texts computes on its way.

        Args:
            tokens_BT: Token ids, int64.
            watched: Numbers of the layers whose attention is wanted; None for all.

        Raises:
            ValueError: More tokens than the context holds.
        """
        reading = self._reading(tokens_BT, None, None)
        reading.watched = frozenset(range(len(self.blocks)) if watched is None else watched)
        states = [self._embed(tokens_BT, reading)]
        for block in self.blocks:
            states.append(block(states[-1], reading))
        states[-1] = self.final_norm(states[-1])
        return Trace(states, reading.attentions, self.logits(states[-1]))

    def regimes(self, num_tokens: int) -> tuple[int, ...]:
        """Return what of a text's length enters its keys.

        A cache made in other regimes than those of the row's new length holds keys that
        the new tokens must not meet: the row has to be read anew.
        """
        return tuple(scaling.regime(num_tokens) for scaling in self._scalings_by_length)

    def _embed(self, tokens_BT: Tensor, reading: Reading) -> Tensor:
        x_BTD = self.embedding(tokens_BT)
        scale = self.architecture.embedding_scale
        if scale != 1:
            x_BTD = x_BTD * torch.tensor(scale, dtype=x_BTD.dtype, device=x_BTD.device)
        if self.position_table is not None:
            x_BTD = x_BTD + self.position_table(reading.positions)
        return x_BTD

    def _reading(
        self, tokens_BT: Tensor, cache: KeyValueCache | None, lengths: Sequence[int] | None
    ) -> Reading:
        batch_size, num_tokens = tokens_BT.shape
        starts = [0] * batch_size if cache is None else cache.extend(batch_size, num_tokens)
        last = max(starts) + num_tokens
        if last > self.context_tokens:
            raise ValueError(f"{last} tokens exceed the model's context of {self.context_tokens}")
        return Reading(
            starts,
            num_tokens,
            lengths or [start + num_tokens for start in starts],
            cache=cache,
            tables=self._rotary_tables,
            device=tokens_BT.device,
        )

    def _rotary_tables(self, rotary: Rotary, num_positions: int, regime: int) -> Tables:
        device = self.output_weight.device
        tables = self._tables.get((rotary, regime))
        # Grown as needed: the context that a config claims may be absurdly long.
        if tables is None or len(tables[0]) < num_positions or tables[0].device != device:
            grown = min(self.context_tokens, 2 * num_positions)
            with torch.inference_mode(mode=False):  # or a later backward could not use them
                cosines, signed_sines = rotary.tables(grown, regime)
                tables = cosines.to(device), signed_sines.to(device)
            # A base that grows with the text would leave a table behind for each length.
            if len(self._tables) >= _MOST_TABLES:
                self._tables.clear()
            self._tables[rotary, regime] = tables
        return tables


def _expert_indices(path: str, module: ExpertMLPs) -> dict[str, list[tuple[str, Index]]]:
    inner = module.experts.width
    rows = {"gate": slice(0, inner), "up": slice(inner, 2 * inner)}
    numbers = range(module.experts.num_experts)
    return {
        f"{path}.gate_up": [
            (f"{path}.{number}.{name}.weight", (number, part))
            for number in numbers
            for name, part in rows.items()
        ],
        f"{path}.down": [(f"{path}.{number}.down.weight", (number,)) for number in numbers],
    }
