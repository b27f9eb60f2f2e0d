"""How the input is divided into units of work: the same way on every machine.

Small sources are put together, as syncing a file to the disk costs more than cleaning one;
big ones are divided into stretches; packed JSON Lines are unpacked by this process into
pieces, which the workers then clean.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from llmctl.core import atomic
from llmctl.core.artifacts.sources import Source
from llmctl.core.artifacts.stretches import Stretch, is_unpacked_first, stretches, unpack_pieces
from llmctl.core.cleaning.unit_jobs import UnitJob

UNIT_BYTES = 4_000_000
UNIT_SOURCES = 1000
_USUAL_RATIO = 4  # of text, packed well


class UnitPlanner:
    """Yields the units of the sources in order.

    Args:
        sources: The inputs.
        pieces: Where packed sources are unpacked to.
        between: Called while a source is looked through, and may raise to end early.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        pieces: Path,
        between: Callable[[], object] = lambda: None,
    ) -> None:
        self._sources = sources
        self._pieces = pieces
        self._between = between

    def jobs(self) -> Iterator[UnitJob]:
        """Yield a job for each unit; pieces are unpacked as they are asked for."""
        for number, (first, group) in enumerate(self._groups()):
            names = "\n".join(source.name for source in group)
            digest = hashlib.sha256(names.encode("utf-8", "replace")).hexdigest()[:8]
            prefix = f"{number:06d}-{digest}"
            if len(group) > 1:
                found = [
                    stretch
                    for offset, source in enumerate(group)
                    for stretch in stretches(source, first + offset, UNIT_BYTES)
                ]
                size = sum(source.size_bytes or 0 for source in group)
                yield UnitJob(f"{prefix}-{0:06d}", tuple(found), size)
            elif _is_large(group[0]) and is_unpacked_first(group[0]):
                yield from self._pieces_of(prefix, first, group[0])
            else:
                yield from self._parts_of(prefix, first, group[0])

    def _groups(self) -> Iterator[tuple[int, list[Source]]]:
        """Yield runs of sources, each with the number of its first one."""
        first = 0
        group: list[Source] = []
        size = 0
        for number, source in enumerate(self._sources):
            source_size = source.size_bytes or 0
            if group and (size + source_size > UNIT_BYTES or len(group) >= UNIT_SOURCES):
                yield first, group
                first, group, size = number, [], 0
            group.append(source)
            size += source_size
        if group:
            yield first, group

    def _pieces_of(self, prefix: str, index: int, source: Source) -> Iterator[UnitJob]:
        folder = self._pieces / prefix
        atomic.remove_tree(folder)
        folder.mkdir(parents=True)
        num_bytes = 0

        def count(more: int) -> None:
            nonlocal num_bytes
            num_bytes += more
            self._between()

        pieces = unpack_pieces(source, folder, UNIT_BYTES, count)
        for part, (piece, first_number) in enumerate(pieces):
            stretch = Stretch(index, 0, None, first_number)
            yield UnitJob(f"{prefix}-{part:06d}", (stretch,), num_bytes, piece=piece)
            num_bytes = 0

    def _parts_of(self, prefix: str, index: int, source: Source) -> Iterator[UnitJob]:
        found = stretches(source, index, UNIT_BYTES, self._between)
        size = source.size_bytes or 0
        for part, stretch in enumerate(found):
            share = size * (part + 1) // len(found) - size * part // len(found)
            yield UnitJob(f"{prefix}-{part:06d}", (stretch,), share)


def _is_large(source: Source) -> bool:
    """Tell whether a packed source may hold more than a unit."""
    return (source.size_bytes or 0) * _USUAL_RATIO > UNIT_BYTES
