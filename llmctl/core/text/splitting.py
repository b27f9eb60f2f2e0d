"""Which documents are held out for validation: decided by what they say. D documents."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from llmctl.core.errors import DataError
from llmctl.core.text.words import folded

_HASH_BYTES = 8
_NUM_HASHES = 1 << 8 * _HASH_BYTES


def content_hash(text: str) -> int:
    """Return 64 bits, the same for texts that differ only in case, width and white space."""
    plain = " ".join(folded(text).split())
    digest = hashlib.blake2b(plain.encode("utf-8"), digest_size=_HASH_BYTES).digest()
    return int.from_bytes(digest, "little")


def choose_validation(hashes_D: NDArray[np.uint64], share: float) -> NDArray[np.bool_]:
    """Return which documents are held out, shape (D,).

    Those whose hash is in the lowest `share` of all possible hashes: a document stays where
    it is, whatever is added, removed or reordered around it, and texts that say the same
    stay together. Only where one of the splits would be empty, the text of the lowest hash
    is held out, or that of the highest is not.

    Args:
        hashes_D: The content hash of each document.
        share: Above 0 and below 1; about that share of the documents is held out.

    Raises:
        DataError: There are no two different texts.
    """
    if len(np.unique(hashes_D)) < 2:
        raise DataError(
            f"the corpus holds one text {len(hashes_D)} times; at least two different ones are "
            "needed, one to learn from and one for validation"
        )
    held_out_D = hashes_D < np.uint64(int(share * _NUM_HASHES))
    if not held_out_D.any():
        return hashes_D == hashes_D.min()
    if held_out_D.all():
        return hashes_D < hashes_D.max()
    return held_out_D
