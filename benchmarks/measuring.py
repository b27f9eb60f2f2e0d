"""What every benchmark writes beside its figures: versions, machine, load."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"


def surroundings() -> dict[str, Any]:
    """The machine and the versions that a figure holds for."""
    names = ("llmctl-toolkit", "torch", "tokenizers", "typer", "transformers")
    names += ("tiktoken", "datasets", "datatrove")
    versions = {name: metadata.version(name) for name in names if _is_installed(name)}
    return {
        "measured": datetime.now(UTC).strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "load": [round(value, 2) for value in os.getloadavg()],
        "versions": versions,
    }


def spread(values: list[float]) -> dict[str, float]:
    """Minimum, median and maximum."""
    return {
        "minimum": round(min(values), 4),
        "median": round(statistics.median(values), 4),
        "maximum": round(max(values), 4),
    }


def write(name: str, figures: dict[str, Any]) -> None:
    """Keep the figures as `results/<name>.json` and print them."""
    RESULTS.mkdir(exist_ok=True)
    content = json.dumps({**figures, **surroundings()}, indent=1, ensure_ascii=False)
    (RESULTS / f"{name}.json").write_text(content + "\n", encoding="utf-8")
    sys.stdout.write(content + "\n")


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True
