"""What a run directory holds, to be compared with what another one holds."""

from __future__ import annotations

import hashlib
from pathlib import Path

ARTIFACTS = ("corpus", "shards", "model")
# They tell when and how fast, so that no two runs have the same.
OF_THE_MOMENT = ("manifest.json", "metrics.jsonl", "README.md", "decisions.json")
ALWAYS_THERE = ("recipe.resolved.yaml", "events.jsonl", ".lock", ".digests.json")


def data_of(run: Path) -> dict[str, str]:
    """The sha256 of every data file of the corpus, the shards and the model."""
    return {
        str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest()
        for artifact in ARTIFACTS
        for path in sorted((run / artifact).iterdir())
        if path.name not in OF_THE_MOMENT
    }


def leftovers(run: Path) -> list[str]:
    """What lies in the run beside its artifacts and what is always there."""
    known = {*ALWAYS_THERE, *ARTIFACTS, "report"}
    found = [path for path in run.iterdir() if path.name not in known]
    inside = (path for artifact in (*ARTIFACTS, "report") for path in (run / artifact).rglob(".*"))
    return sorted(str(path.relative_to(run)) for path in [*found, *inside])


def weights_of(run: Path) -> set[str]:
    """The sha256 of every model's weights that a name leads to, old, new or in between."""
    return {
        hashlib.sha256(path.read_bytes()).hexdigest()
        for path in run.glob("**/model.safetensors")
        if not path.parts[len(run.parts)].startswith(".work-")
    }
