"""Which documents are held out for validation: decided by what they say. D documents."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from llmctl.core.errors import DataError

_HASH_BYTES = 8
_NUM_HASHES = 1 << 8 * _HASH_BYTES


def content_hash(text: str) -> int:
    """Return 64 bits of one text; see `content_hashes`."""
    return int(content_hashes([text])[0])


def content_hashes(texts: Sequence[str]) -> NDArray[np.uint64]:
    """Return 64 bits of each text, shape (D,).

    They are the same for texts that differ only in ASCII white space and the case of ASCII
    letters. More would take a fifth of the time of encoding.
    """
    digests = [
        hashlib.blake2b(
            text.encode("utf-8", "surrogatepass").translate(_LOWER, _SPACES),
            digest_size=_HASH_BYTES,
        ).digest()
        for text in texts
    ]
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64, copy=False)


_SPACES = bytes(point for point in range(0x80) if chr(point).isspace())
_LOWER = bytes(range(0x100)).lower()


def validation_bound(hashes_D: NDArray[np.uint64], share: float) -> int:
    """Return the bound below which a content hash means that the document is held out.

    It is `share` of all possible hashes: a document stays where it is, whatever is added,
    removed or reordered around it, and texts that say the same stay together. Only where
    one of the splits would be empty, the text of the lowest hash is held out, or that of
    the highest is not.

    Args:
        hashes_D: The content hash of each document.
        share: Above 0 and below 1; about that share of the documents is held out.

    Raises:
        DataError: There are no two different texts.
    """
    lowest, highest = (int(hashes_D.min()), int(hashes_D.max())) if len(hashes_D) else (0, 0)
    if lowest == highest:
        raise DataError(
            f"the corpus holds one text {len(hashes_D)} times; at least two different ones are "
            "needed, one to learn from and one for validation"
        )
    return min(max(int(share * _NUM_HASHES), lowest + 1), highest)
