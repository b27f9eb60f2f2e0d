"""Documents that share a key, met in the order of their rank, in bounded memory.

Keys are sorted part by part on the disk; of those that several documents share, each
becomes a bucket: a stretch of a mapped file that fills with the documents kept so far.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from llmctl.core.cleaning.spill import PART_RECORDS, Spill

MAX_SURVIVORS = 256
"""Keeps boilerplate that half of the documents share from making the search quadratic."""

_KEY = np.dtype([("key", "<u8"), ("rank", "<u4"), ("seeks", "?")])
_MEMBER = np.dtype([("slot", "<u8"), ("rank", "<u4"), ("room", "<u2"), ("seeks", "?")])

Ranks = NDArray[np.uint32]


class Buckets:
    """Which documents share a key with which kept ones.

    Args:
        scratch: A directory of its own.
        num_keys: About how many keys there will be.
        num_ranks: Ranks are below this.
        num_earlier: Ranks below this are of earlier corpora, whose documents are not
            compared with each other.
    """

    def __init__(self, scratch: Path, num_keys: int, num_ranks: int, num_earlier: int) -> None:
        self._scratch = scratch
        self._keys = Spill(scratch / "keys", _KEY, num_keys)
        self._num_ranks = num_ranks
        self._num_earlier = num_earlier
        self._slots: NDArray[np.uint32] = np.empty(0, np.uint32)

    def add(
        self, keys: NDArray[np.uint64], ranks: Ranks, seeks: NDArray[np.bool_] | bool = True
    ) -> None:
        """Take keys, each with the rank of a document that has it, no pair twice.

        Args:
            keys: Any numbers whose first bits are spread evenly.
            ranks: Of the document that has each.
            seeks: Whether the document is compared with those before it that have the key,
                or only those after it with it.
        """
        records = np.empty(len(keys), _KEY)
        records["key"], records["rank"], records["seeks"] = keys, ranks, seeks
        self._keys.add_by_hash(records, keys)

    def in_rank_order(self, between: Callable[[], object]) -> Iterator[tuple[int, Members]]:
        """Yield the documents that share a key with another, the best rank first.

        Args:
            between: Called between parts and documents.
        """
        members = self._shared(between)
        for part in range(members.num_parts):
            records = members.part(part)
            records = records[np.argsort(records["rank"], kind="stable")]
            ranks, starts = np.unique(records["rank"], return_index=True)
            stops = np.append(starts, len(records))[1:]
            slots, room = records["slot"].astype(np.int64), records["room"].astype(np.int64)
            seeks = records["seeks"].copy()
            for rank, start, stop in zip(
                ranks.tolist(), starts.tolist(), stops.tolist(), strict=True
            ):
                between()
                yield (
                    rank,
                    Members(self._slots, slots[start:stop], room[start:stop], seeks[start:stop]),
                )

    def _shared(self, between: Callable[[], object]) -> Spill:
        """Make the buckets and return their members."""
        members = Spill(self._scratch / "members", _MEMBER, self._keys.num_parts * PART_RECORDS)
        ranks_a_part = max(1, -(-self._num_ranks // members.num_parts))
        num_slots = 0
        for part in range(self._keys.num_parts):
            between()
            found = self._keys.part(part)
            found = found[np.argsort(found["key"])]
            keys = found["key"]
            starts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1])[: len(keys)])
            sizes = np.diff(np.append(starts, len(keys)))
            is_shared = sizes > 1
            if self._num_earlier and len(starts):
                is_shared &= np.maximum.reduceat(found["rank"], starts) >= self._num_earlier
            # The last member has nobody after it; one slot more counts those that are there.
            room = np.minimum(sizes - 1, MAX_SURVIVORS)[is_shared]
            first_slots = num_slots + np.cumsum(room + 1) - (room + 1)
            num_slots += int((room + 1).sum())
            records = np.empty(int(sizes[is_shared].sum()), _MEMBER)
            is_member = np.repeat(is_shared, sizes)
            records["rank"] = found["rank"][is_member]
            records["seeks"] = found["seeks"][is_member]
            records["slot"] = np.repeat(first_slots, sizes[is_shared])
            records["room"] = np.repeat(room, sizes[is_shared])
            members.add(records, records["rank"].astype(np.int64) // ranks_a_part)
        self._slots = _mapped(self._scratch / "slots", num_slots)
        return members


class Members:
    """The buckets of one document.

    Args:
        slots: Of all buckets: how many documents there are, then their ranks.
        firsts: Where this document's buckets begin.
        room: How many documents each may hold.
        seeks: In which this document looks for others.
    """

    def __init__(
        self,
        slots: NDArray[np.uint32],
        firsts: NDArray[np.int64],
        room: NDArray[np.int64],
        seeks: NDArray[np.bool_],
    ) -> None:
        self._slots = slots
        self._firsts = firsts
        self._room = room
        self._seeks = seeks

    def survivors(self) -> Ranks:
        """Return the ranks of the documents in those where it seeks, the best first."""
        firsts = self._firsts[self._seeks]
        counts = self._slots[firsts].astype(np.int64)
        total = int(counts.sum())
        if not total:
            return np.empty(0, np.uint32)
        offsets = np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts)
        ranks = np.sort(self._slots[np.repeat(firsts + 1, counts) + offsets])
        return ranks[np.append(True, ranks[1:] != ranks[:-1])]

    def join(self, rank: int) -> None:
        """Put this document into them, where there is room."""
        counts = self._slots[self._firsts].astype(np.int64)
        is_open = counts < self._room
        firsts, counts = self._firsts[is_open], counts[is_open]
        self._slots[firsts + 1 + counts] = rank
        self._slots[firsts] = counts + 1


def _mapped(path: Path, num_slots: int) -> NDArray[np.uint32]:
    """Return zeros that the system may put back on the disk."""
    if not num_slots:
        return np.empty(0, np.uint32)
    with path.open("w+b") as handle:
        handle.truncate(4 * num_slots)
        return np.frombuffer(mmap.mmap(handle.fileno(), 4 * num_slots), np.uint32)
