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


class FairDraws:
    """A draw for each name and language.

    Args:
        size: How many each keeps.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._draws: dict[tuple[str, str], FairDraw] = {}

    def of(self, name: str, language: str) -> FairDraw:
        """Return the draw of a name and language."""
        draw = self._draws.get((name, language))
        if draw is None:
            draw = self._draws[name, language] = FairDraw(self._size)
        return draw

    def as_json(self) -> list[list[Any]]:
        """Return names, languages and what was drawn of each."""
        return [[*key, self._draws[key].as_json()] for key in sorted(self._draws)]

    def add_json(self, content: Iterable[tuple[str, str, list[tuple[str, Drawn]]]]) -> None:
        """Add what another's `as_json` returned."""
        for name, language, rows in content:
            self.of(name, language).add_json(rows)

    def drawn(self) -> dict[str, dict[str, list[Drawn]]]:
        """Return what was drawn, by name and language."""
        found: dict[str, dict[str, list[Drawn]]] = {}
        for name, language in sorted(self._draws):
            found.setdefault(name, {})[language] = self._draws[name, language].drawn()
        return found
