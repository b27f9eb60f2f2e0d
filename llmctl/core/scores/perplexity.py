"""Likelihoods as scores that do not depend on how a text was cut up.

N items scored: tokens, or whole documents. Every score is a ratio of sums over all of
them, in float64; call it once, on every item of a text: the mean of the scores of parts
is a different number.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.integer]
Nats = NDArray[np.float64]


def bits_per_byte(nats_N: Nats, byte_counts_N: Counts) -> float:
    """Return the cross-entropy of a text in bits per byte, whatever the tokenizer.

        bits_per_byte = sum(nats) / (ln 2 * sum(bytes))

    An item that stands for no text (a special token, padding) has count 0 and enters
    neither sum.

    Args:
        nats_N: Loss of each item, in nats. Shape (N,).
        byte_counts_N: UTF-8 length of each item, in bytes. Shape (N,).

    Raises:
        ValueError: The shapes differ, or no item stands for any text.

    Source: Gao et al. 2020, The Pile, section 3.1, arXiv:2101.00027.
    """
    return nats_per_unit(nats_N, byte_counts_N) / math.log(2)


def bits_per_character(nats_N: Nats, character_counts_N: Counts) -> float:
    """Return the cross-entropy of a text in bits per character (Unicode code point).

    A Chinese character takes three bytes of UTF-8 and a Latin letter one, so this and
    `bits_per_byte` order texts of different scripts differently. A token may hold a part
    of a character: the items should be documents.

    Args:
        nats_N: Loss of each item, in nats. Shape (N,).
        character_counts_N: Length of each item, in characters. Shape (N,).

    Raises:
        ValueError: The shapes differ, or no item stands for any text.
    """
    return nats_per_unit(nats_N, character_counts_N) / math.log(2)


def token_perplexity(nats_N: Nats, token_counts_N: Counts) -> float:
    """Return exp(nats per token): comparable only between models of one tokenizer.

    Args:
        nats_N: Loss of each item, in nats. Shape (N,).
        token_counts_N: Length of each item, in tokens. Shape (N,).

    Raises:
        ValueError: The shapes differ, or no item holds any token.
    """
    return math.exp(nats_per_unit(nats_N, token_counts_N))


def nats_per_unit(nats_N: Nats, counts_N: Counts) -> float:
    """Return sum(nats) / sum(counts) over the items whose count is not 0.

    Args:
        nats_N: Loss of each item, in nats. Shape (N,).
        counts_N: How many units each item stands for. Shape (N,).

    Raises:
        ValueError: The shapes differ, or no item stands for any text.
    """
    if nats_N.shape != counts_N.shape:
        raise ValueError(
            f"nats and counts must have one shape, got {nats_N.shape} and {counts_N.shape}"
        )
    total = int(counts_N.sum())
    if total == 0:
        raise ValueError(f"none of {counts_N.size} items stands for any text")
    return float(nats_N[counts_N > 0].sum(dtype=np.float64)) / total
