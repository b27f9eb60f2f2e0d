"""What the command line adds to a stage that works in several processes."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class WorkSettings:
    """Nothing of it changes an artifact.

    Attributes:
        workers: Processes; None: as many as there are processors.
        base: What the paths of the plan are relative to.
    """

    workers: int | None = None
    base: Path = field(default_factory=Path.cwd)

    @property
    def num_workers(self) -> int:
        """How many processes there may be."""
        if self.workers is not None:
            return self.workers
        if hasattr(os, "sched_getaffinity"):  # what this process may use, not what there is
            return len(os.sched_getaffinity(0))
        return os.cpu_count() or 1
