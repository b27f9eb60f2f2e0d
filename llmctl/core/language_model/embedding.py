"""Texts as vectors: a model's states, pooled. B rows, T time, D width, N texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from llmctl.core.errors import DataError, NumericsError, UsageError
from llmctl.core.model.transformer import Transformer
from llmctl.core.progress import Progress
from llmctl.core.tokens.tokenizer import Tokenizer

BATCH_TOKENS = 4096
POOLINGS = ("mean", "last", "first")


@dataclass(frozen=True)
class VectorPlan:
    """What a vector is made of.

    Attributes:
        pooling: One of `POOLINGS`: the mean of the states of the text's tokens, that of the
            last, that of the first.
        layer: States after so many blocks; None for the last, after the final norm.
        normalize: Scale each vector to length 1.
        truncate: Cut off what is beyond the context, instead of refusing the text.
    """

    pooling: str = "mean"
    layer: int | None = None
    normalize: bool = True
    truncate: bool = False

    def check(self, num_layers: int) -> None:
        """Check that the plan fits a model of so many layers.

        Raises:
            UsageError: It does not.
        """
        if self.pooling not in POOLINGS:
            raise UsageError(f"--pooling {self.pooling}: expected mean, last or first")
        if self.layer is not None and not 0 <= self.layer <= num_layers:
            raise UsageError(
                f"--layer {self.layer}: expected 0, the embedded tokens, to {num_layers}, the last"
            )


class Embedder:
    """Texts to vectors.

    What begins a text is read first, as in training, and does not enter the vector.

    Args:
        model: In any precision; vectors are pooled in float32.
        tokenizer: Its own.
        begin_id: What begins a text; None for nothing.
        plan: What a vector is made of.

    Raises:
        UsageError: The plan does not fit the model.
    """

    def __init__(
        self, model: Transformer, tokenizer: Tokenizer, begin_id: int | None, plan: VectorPlan
    ) -> None:
        num_layers = len(model.architecture.layers)
        plan.check(num_layers)
        self._model = model
        self._tokenizer = tokenizer
        self._begin = [] if begin_id is None else [begin_id]
        self._plan = plan
        self._num_blocks = None if plan.layer == num_layers else plan.layer

    @property
    def width(self) -> int:
        """D."""
        return self._model.architecture.width

    def embed(
        self,
        texts: Sequence[str],
        names: Sequence[str] | None = None,
        progress: Progress | None = None,
    ) -> NDArray[np.float32]:
        """Return the texts' vectors, (N, D).

        Texts of like lengths are read together; in float32 a vector does not depend on
        the others beyond rounding.

        Args:
            texts: Each at least one token.
            names: What a text is called in an error; by default its number.
            progress: Told of each batch.

        Raises:
            DataError: A text is empty, or longer than the context.
            NumericsError: The model's states are not finite.
        """
        names = names or [f"text {number}" for number in range(1, len(texts) + 1)]
        rows = [
            self._checked(ids, name)
            for ids, name in zip(self._tokenizer.encode_batch(texts), names, strict=True)
        ]
        vectors_ND = np.empty((len(rows), self.width), dtype=np.float32)
        for batch in _batches(rows):
            vectors_ND[batch] = self._vectors([rows[index] for index in batch])
            if progress is not None:
                progress.advance(len(batch))
                progress.check()
        return vectors_ND

    def _checked(self, ids: list[int], name: str) -> list[int]:
        num_free = self._model.context_tokens - len(self._begin)
        if not ids:
            raise DataError(f"{name}: empty; every text becomes a vector, and this one has none")
        if len(ids) > num_free and not self._plan.truncate:
            raise DataError(
                f"{name}: {len(ids):,} tokens, and the model's context holds {num_free:,}; "
                "shorten the text, or cut it off with --truncate"
            )
        return self._begin + ids[:num_free]

    @torch.inference_mode()
    def _vectors(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        device = self._model.output_weight.device
        lengths = [len(row) for row in rows]
        tokens_BT = torch.zeros(len(rows), max(lengths), dtype=torch.int64)
        for row, ids in enumerate(rows):
            tokens_BT[row, : len(ids)] = torch.tensor(ids)
        states_BTD = self._model.hidden(
            tokens_BT.to(device), lengths=lengths, num_blocks=self._num_blocks
        )
        vectors_BD = self._pooled(states_BTD.float(), torch.tensor(lengths, device=device))
        if not bool(vectors_BD.isfinite().all()):
            raise NumericsError(
                "the model's states are not finite: its weights are damaged, or its numbers "
                "exceed the dtype; try --dtype float32"
            )
        if self._plan.normalize:
            vectors_BD = functional.normalize(vectors_BD, dim=-1)
        return vectors_BD.cpu().numpy()

    def _pooled(self, states_BTD: Tensor, lengths_B: Tensor) -> Tensor:
        first = len(self._begin)
        rows_B = torch.arange(len(lengths_B), device=lengths_B.device)
        if self._plan.pooling == "first":
            return states_BTD[:, first]
        if self._plan.pooling == "last":
            return states_BTD[rows_B, lengths_B - 1]
        places_T = torch.arange(states_BTD.shape[1], device=lengths_B.device)
        is_text_BT = (places_T >= first) & (places_T < lengths_B[:, None])
        sums_BD = states_BTD.masked_fill(~is_text_BT[..., None], 0.0).sum(dim=1)
        return sums_BD / (lengths_B - first)[:, None]


def _batches(rows: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Yield the numbers of rows to read together, the longest first."""
    order = sorted(range(len(rows)), key=lambda index: -len(rows[index]))
    start = 0
    while start < len(order):
        num_rows = max(1, BATCH_TOKENS // len(rows[order[start]]))
        yield order[start : start + num_rows]
        start += num_rows
