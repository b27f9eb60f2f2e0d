"""Prompts are read: several together, long ones in pieces.

B rows, T time, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llmctl.core.model.cache import KeyValueCache
from llmctl.core.model.transformer import Transformer

CHUNK_TOKENS = 512  # of a row, in one pass: the memory for activations stays bounded
_ALIKE_TOKENS = 64  # lengths that differ by no more are read together, whatever their ratio


@dataclass(frozen=True)
class ReadPrompts:
    """Prompts that were read together.

    Attributes:
        cache: A row per prompt.
        logits_BV: Of the token that follows each.
    """

    cache: KeyValueCache
    logits_BV: Tensor


def read_prompts(
    model: Transformer,
    prompts: Sequence[Sequence[int]],
    chunk_tokens: int = CHUNK_TOKENS,
    *,
    cache: KeyValueCache | None = None,
) -> ReadPrompts:
    """Read prompts of at least one token each, padded at their right to the longest.

    Args:
        model: Not changed.
        prompts: Ids.
        chunk_tokens: Tokens of each row that one pass reads at most.
        cache: Of a single prompt, its beginning having been read; goes on from there.
    """
    device = model.output_weight.device
    lengths = [len(prompt) for prompt in prompts]
    longest = max(lengths)
    tokens_BT = torch.zeros(len(prompts), longest, dtype=torch.int64)
    for place, prompt in enumerate(prompts):
        tokens_BT[place, : len(prompt)] = torch.tensor(prompt)
    with torch.inference_mode():
        if cache is None:
            cache = model.new_cache(len(prompts), longest)
        cache.grow(longest)
        last: list[Tensor] = [torch.empty(0)] * len(prompts)
        for start in range(cache.lengths[0], longest, chunk_tokens):
            chunk_BT = tokens_BT[:, start : start + chunk_tokens].to(device)
            states_BTD = model.hidden(chunk_BT, cache, lengths)
            for place, length in enumerate(lengths):
                if start < length <= start + chunk_tokens:
                    # A copy, so that the states of the other tokens can be freed.
                    last[place] = states_BTD[place, length - 1 - start].clone()
        cache.truncate(lengths)
        return ReadPrompts(cache, model.logits(torch.stack(last)))


def read_last(
    model: Transformer, cache: KeyValueCache, texts: Sequence[NDArray[np.int64]]
) -> Tensor:
    """Read the last token of each row's text, all before it being in the cache.

    A row whose keys the new length makes stale, such as that of a model with other rotary
    positions for long texts, is read anew.

    Args:
        model: Not changed.
        cache: A row per text, with a free slot.
        texts: Ids of prompt and continuation.

    Returns:
        The logits of the next token, (B, V).
    """
    tokens_B1 = torch.tensor([[int(text[-1])] for text in texts])
    stale = [
        row
        for row, length in enumerate(cache.lengths)
        if model.regimes(length) != model.regimes(length + 1)
    ]
    with torch.inference_mode():
        logits_BV = model(tokens_B1.to(model.output_weight.device), cache)[:, 0]
        if stale:
            again = read_prompts(model, [texts[row].tolist() for row in stale])
            cache.put(stale, again.cache, range(len(stale)))
            logits_BV[stale] = again.logits_BV
    return logits_BV


def alike(lengths: Sequence[int]) -> list[list[int]]:
    """Return the places of lengths in groups that padding makes at most twice as long."""
    groups: list[list[int]] = []
    for place in sorted(range(len(lengths)), key=lambda place: lengths[place]):
        shortest = lengths[groups[-1][0]] if groups else 0
        if groups and lengths[place] <= max(2 * shortest, shortest + _ALIKE_TOKENS):
            groups[-1].append(place)
        else:
            groups.append([place])
    return groups
