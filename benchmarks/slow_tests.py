"""Runs all tests, the slow ones too, and records when and how that went.

python benchmarks/slow_tests.py
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import measuring

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Run, write `results/slow_tests.json`, and end as pytest did."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "pytest", "-m", "slow or not slow", "--color=no"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        last = ""
        for line in process.stdout or ():
            sys.stdout.write(line)
            last = line.strip() or last
    outcome = last.strip("= ").rpartition(" in ")[0] or last
    seconds = round(time.perf_counter() - start, 1)
    measuring.write("slow_tests", {"outcome": outcome, "seconds": seconds})
    sys.exit(process.returncode)


if __name__ == "__main__":
    main()
