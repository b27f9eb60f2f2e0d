"""A few of many, drawn fairly and the same ones every time, however the many are divided."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

Drawn = Mapping[str, Any]


def digest_of(*names: str) -> str:
    """Return what decides whether something is drawn: a hash of its names."""
    content = "\0".join(names).encode("utf-8", "replace")
    return hashlib.blake2b(content, digest_size=8).hexdigest()


class FairDraw:
    """Keeps those with the smallest digests.

    Args:
        size: How many.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._rows: list[tuple[str, bytes, Drawn]] = []

    def wants(self, digest: str) -> bool:
        """Tell whether something of this digest could be drawn; it spares making it."""
        return len(self._rows) < self._size or digest <= self._rows[-1][0]

    def add(self, digest: str, drawn: Drawn) -> None:
        """Offer one; of equal digests the content decides."""
        content = orjson.dumps(drawn, option=orjson.OPT_SORT_KEYS)
        self._rows.append((digest, content, drawn))
        self._rows.sort(key=lambda row: row[:2])
        del self._rows[self._size :]

    def as_json(self) -> list[list[Any]]:
        """Return digests and what was drawn."""
        return [[digest, drawn] for digest, _, drawn in self._rows]

    def add_json(self, rows: Iterable[tuple[str, Drawn]]) -> None:
        """Add what another's `as_json` returned."""
        for digest, drawn in rows:
            if self.wants(digest):
                self.add(digest, drawn)

    def drawn(self) -> list[Drawn]:
        """Return those that were drawn, by their digests."""
        return [drawn for _, _, drawn in self._rows]
