"""How far a score may be off because these documents were drawn and no others.

D documents, S resamples.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
FEWEST_DOCUMENTS = 2
# Indices of that many draws at once: 32 MB.
_DRAWS_AT_ONCE = 1 << 22


def ratio_interval(
    numerators_D: NDArray[np.float64],
    denominators_D: NDArray[np.integer],
    *,
    num_samples: int,
    seed: int,
) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of sum(numerators) / sum(denominators).

    Whole documents are drawn with replacement, because the tokens of one document are
    alike: resampling tokens would promise too much. A score that rises with the ratio,
    such as a perplexity, has the interval of its two ends.

    Args:
        numerators_D: E.g. nats of each document. Shape (D,).
        denominators_D: E.g. bytes of each document, at least 1. Shape (D,).
        num_samples: S, at least 1.
        seed: Decides the draws.

    Returns:
        The lower and the upper end.

    Raises:
        ValueError: The shapes differ, there are fewer than two documents, a denominator is
            not positive, or no samples are asked for.

    Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap, section 13.3.
    """
    if numerators_D.shape != denominators_D.shape:
        raise ValueError(
            "numerators and denominators must have one shape, "
            f"got {numerators_D.shape} and {denominators_D.shape}"
        )
    num_documents = numerators_D.size
    if num_documents < FEWEST_DOCUMENTS:
        raise ValueError(f"an interval needs {FEWEST_DOCUMENTS} documents, got {num_documents}")
    if int(denominators_D.min()) <= 0:
        raise ValueError(f"denominators must be positive, got {int(denominators_D.min())}")
    if num_samples < 1:
        raise ValueError(f"an interval needs at least 1 sample, got {num_samples}")
    generator = np.random.default_rng(seed)
    ratios_S = np.empty(num_samples)
    rows = max(1, _DRAWS_AT_ONCE // num_documents)
    for start in range(0, num_samples, rows):
        stop = min(start + rows, num_samples)
        draws_SD = generator.integers(num_documents, size=(stop - start, num_documents))
        ratios_S[start:stop] = numerators_D[draws_SD].sum(1) / denominators_D[draws_SD].sum(1)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(ratios_S, [tail, 1 - tail])
    return float(low), float(high)
