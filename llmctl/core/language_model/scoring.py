"""How surprised a model is by given texts. B rows, T time, D width, N targets, V vocabulary."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from llmctl.core.errors import DataError
from llmctl.core.model.transformer import Transformer
from llmctl.core.tokens.tokenizer import Tokenizer

BATCH_TOKENS = 8192
CHUNK_TARGETS = 1024  # bounds the logits that exist at a time


@dataclass(frozen=True)
class TextScore:
    """The score of each token of a text.

    Attributes:
        nats_N: Minus the log-probability of each token given those before it, float64.
        byte_counts_N: UTF-8 bytes of the text that each token stands for.
    """

    nats_N: NDArray[np.float64]
    byte_counts_N: NDArray[np.int64]

    @property
    def total_nats(self) -> float:
        """Minus the log-probability of the whole text."""
        return float(self.nats_N.sum())

    @property
    def bits_per_byte(self) -> float:
        """Cross-entropy in bits per UTF-8 byte of the text.

        Raises:
            ValueError: The text is empty.
        """
        num_bytes = int(self.byte_counts_N.sum())
        if num_bytes == 0:
            raise ValueError("an empty text has no bits per byte")
        return self.total_nats / (math.log(2) * num_bytes)


@dataclass(frozen=True)
class Window:
    """A stretch of one text that is read at once.

    Attributes:
        text: Index of the text.
        input_ids: What is read.
        target_ids: The last targets of what is read: those scored in this window.
        first_target: Index in the text of the first of them.
    """

    text: int
    input_ids: Sequence[int]
    target_ids: Sequence[int]
    first_target: int


def rolling_windows(ids: Sequence[int], text: int, begin_id: int, context: int) -> list[Window]:
    """Cut a text into windows of the context whose targets are disjoint and cover it.

    The first token is predicted from `begin_id`. Every window but the first reads a whole
    context ending at its last target, so the targets of a short last window are
    predicted from more, never fewer, tokens than they would be otherwise.

    Source: the rolling log-likelihood of EleutherAI's lm-evaluation-harness.
    """
    stream = [begin_id, *ids]
    windows: list[Window] = []
    for start in range(0, len(ids), context):
        stop = min(start + context, len(ids))
        windows.append(Window(text, stream[max(0, stop - context) : stop], ids[start:stop], start))
    return windows


def score_texts(
    model: Transformer, tokenizer: Tokenizer, texts: Sequence[str], begin_id: int | None
) -> list[TextScore]:
    """Score every token of each text, the first given what begins a text.

    Windows of all texts are read in batches of like lengths; a text's score does not
    depend on the others beyond the rounding of float32.

    Args:
        model: What scores.
        tokenizer: Its own.
        texts: Each scored by itself.
        begin_id: The first token is predicted from it.

    Raises:
        DataError: There is no such token, or the tokenizer is another model's.
    """
    if begin_id is None:
        raise DataError(
            "the model names no token that begins or ends a text (bos_token_id, eos_token_id), so "
            "a text's first token has no probability"
        )
    if tokenizer.vocab_size > model.vocab_size:  # a vocabulary may skip ids
        raise DataError(
            f"the tokenizer's ids go up to {tokenizer.vocab_size - 1:,} and the model has only "
            f"{model.vocab_size:,} entries; they do not belong together"
        )
    all_ids = tokenizer.encode_batch(list(texts))
    byte_lengths_V = tokenizer.byte_lengths().astype(np.int64)
    scores = [
        TextScore(np.zeros(len(ids)), byte_lengths_V[np.asarray(ids, dtype=np.int64)])
        for ids in all_ids
    ]
    context = model.context_tokens
    windows = [
        window
        for text, ids in enumerate(all_ids)
        for window in rolling_windows(ids, text, begin_id, context)
    ]
    for batch in _batches(windows):
        nats_N = _nats(model, batch)
        place = 0
        for window in batch:
            count = len(window.target_ids)
            target = slice(window.first_target, window.first_target + count)
            scores[window.text].nats_N[target] = nats_N[place : place + count]
            place += count
    return scores


def _batches(windows: list[Window]) -> Iterator[list[Window]]:
    longest_first = sorted(windows, key=lambda window: -len(window.input_ids))
    start = 0
    while start < len(longest_first):
        num_rows = max(1, BATCH_TOKENS // len(longest_first[start].input_ids))
        yield longest_first[start : start + num_rows]
        start += num_rows


@torch.inference_mode()
def _nats(model: Transformer, windows: list[Window]) -> NDArray[np.float64]:
    """Return the losses of the windows' targets, one window after another, float64."""
    device = model.output_weight.device
    longest = max(len(window.input_ids) for window in windows)
    tokens_BT = torch.zeros(len(windows), longest, dtype=torch.int64)
    is_scored_BT = torch.zeros(len(windows), longest, dtype=torch.bool)
    for row, window in enumerate(windows):
        length = len(window.input_ids)
        tokens_BT[row, :length] = torch.tensor(window.input_ids)
        is_scored_BT[row, length - len(window.target_ids) : length] = True
    lengths = [len(window.input_ids) for window in windows]
    states_BTD = model.hidden(tokens_BT.to(device), lengths=lengths)
    states_ND = states_BTD[is_scored_BT.to(device)]
    targets_N = torch.tensor([token for window in windows for token in window.target_ids])
    losses = [
        _losses(model.logits(states), targets)
        for states, targets in zip(
            states_ND.split(CHUNK_TARGETS), targets_N.split(CHUNK_TARGETS), strict=True
        )
    ]
    return torch.cat(losses).double().numpy()


def _losses(logits_NV: Tensor, targets_N: Tensor) -> Tensor:
    targets_N = targets_N.to(logits_NV.device)
    return functional.cross_entropy(logits_NV.float(), targets_N, reduction="none").cpu()
