"""How long a command takes before it does anything: `--help`, and a run that is complete.

    python benchmarks/startup.py [--run-dir RUN --recipe RECIPE]

`import typer` alone is timed in alternation, as the floor that no Typer program goes below.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

import measuring

ALTERNATIONS = 11
LLMCTL = Path(sys.executable).with_name("llmctl")


def seconds_of(*command: str | Path) -> float:
    """Wall seconds of one process."""
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    """Measure and write `results/startup.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", help="a recipe whose run is complete")
    parser.add_argument("--run-dir", help="its run directory")
    arguments = parser.parse_args()
    commands: dict[str, list[str | Path]] = {
        "llmctl --help": [LLMCTL, "--help"],
        "python -c 'import typer'": [sys.executable, "-c", "import typer"],
    }
    if arguments.recipe:
        place = ["--run-dir", arguments.run_dir] if arguments.run_dir else []
        commands["llmctl train, complete"] = [LLMCTL, "train", arguments.recipe, *place]
        commands["llmctl status"] = [LLMCTL, "status", arguments.recipe, *place]
    times: dict[str, list[float]] = {name: [] for name in commands}
    for command in commands.values():
        seconds_of(*command)
    for _ in range(ALTERNATIONS):
        for name, command in commands.items():
            times[name].append(seconds_of(*command))
    measuring.write(
        "startup",
        {"seconds": {name: measuring.spread(values) for name, values in times.items()}},
    )


if __name__ == "__main__":
    main()
