"""Append-only JSON Lines, whole rows only: metrics and samples of a training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from llmctl.core import atomic


class RowLog:
    """Rows that each carry the `step` they belong to.

    Args:
        path: The file; made by the first row.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, row: Mapping[str, Any]) -> None:
        """Add a row at the end."""
        with atomic.storage_errors(self.path), self.path.open("ab") as handle:
            handle.write(orjson.dumps(row) + b"\n")

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the rows; what a crash left of one is passed over."""
        if not self.path.exists():
            return
        with self.path.open("rb") as handle:
            for line in handle:
                if line.endswith(b"\n"):
                    # After a power cut, blocks that never reached the disk read as zeros.
                    with suppress(orjson.JSONDecodeError):
                        yield orjson.loads(line)

    def cut_back(self, step: int) -> None:
        """Drop the rows of later steps, which a resumed training will write again."""
        if self.path.exists():
            kept = [orjson.dumps(row) + b"\n" for row in self.rows() if row["step"] <= step]
            atomic.write_file(self.path, b"".join(kept))
