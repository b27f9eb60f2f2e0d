"""`llmctl clean` beside datatrove: the same rules, the same decisions, two processes each.

    python benchmarks/clean.py [--english FILE] [--chinese FILE] [--alternations 5] [--quick]

The documents are made, and those of JSON Lines files (.zst) where some are given. Both first
have to keep the same documents and drop the others for the same first reason. datatrove's files
are given to it as it likes them best: as many as processes, unpacked, of about one size. Growth
is that of llmctl alone, on 30 and 300 MB of made text with everything on.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import measuring
import zstandard
from made_text import made_documents

PROCESSES = 2
LLMCTL = Path(sys.executable).with_name("llmctl")
RULES_ONLY = {
    "clean.repair": "false",
    "clean.cut_wire_format": "false",
    "clean.privacy.action": "off",
    "clean.duplicates.exact": "false",
    "clean.duplicates.similarity": "null",
}
PEER = Path(__file__).with_name("datatrove_clean.py")
SAMPLED_EVERY_SECONDS = 0.05
# Of datatrove's filters in the order in which they run, reason → our rule.
REASONS = {
    "dup_para_frac": "max_duplicate_paragraph_share",
    "dup_para_char_frac": "max_duplicate_paragraph_character_share",
    "dup_line_frac": "max_duplicate_line_share",
    "dup_line_char_frac": "max_duplicate_line_character_share",
    **{f"top_{n}_gram": f"max_top_{n}_gram_character_share" for n in (2, 3, 4)},
    **{f"duplicated_{n}_n_grams": f"max_duplicate_{n}_gram_character_share" for n in range(5, 11)},
    "gopher_short_doc": "min_words",
    "gopher_long_doc": "max_words",
    "gopher_below_avg_threshold": "min_mean_word_characters",
    "gopher_above_avg_threshold": "max_mean_word_characters",
    "gopher_too_many_hashes": "max_hashes_per_word",
    "gopher_too_many_ellipsis": "max_ellipses_per_word",
    "gopher_too_many_bullets": "max_bullet_line_share",
    "gopher_too_many_end_ellipsis": "max_ellipsis_line_share",
    "gopher_below_alpha_threshold": "min_alphabetic_word_share",
    "gopher_enough_stop_words": "min_stop_words",
    "lorem_ipsum": "drop_lorem_ipsum",
    "curly_bracket": "drop_curly_brackets",
    "too_few_sentences": "min_sentences",
    "line_punct_ratio": "min_terminal_line_share",
    "short_line_ratio": "max_short_line_share",
    "char_dup_ratio": "max_duplicate_character_share",
    "list_ratio": "max_newlines_per_word",
}


def main() -> None:
    """Measure everything and write benchmarks/results/clean.json."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--english", type=Path, help="documents beside made ones")
    words.add_argument("--chinese", type=Path, help="documents beside made ones")
    words.add_argument("--alternations", type=int, default=5)
    words.add_argument("--quick", action="store_true", help="a tenth of the text, twice")
    given = words.parse_args()
    alternations = 2 if given.quick else given.alternations
    scale = 0.1 if given.quick else 1.0
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        races = {}
        for language, path, profile in (
            ("English", given.english, "fineweb"),
            ("Chinese", given.chinese, "fineweb2"),
        ):
            texts = list(made_documents(language, int(10e6 * scale), seed=1))
            sets = {f"{language}, made": texts}
            if path is not None:
                sets[f"{language}, {path.name.split('.')[0]}"] = list(_documents(path))
            for name, documents in sets.items():
                races[f"{name}, {profile}"] = _race(base / name, documents, profile, alternations)
                print(name, races[f"{name}, {profile}"], file=sys.stderr, flush=True)
        growth = {
            f"{megabytes * scale:g} MB": _growth(base, int(megabytes * 1e6 * scale))
            for megabytes in (30, 300)
        }
        measuring.write("clean", {"race": races, "growth of llmctl, everything on": growth})


def _documents(path: Path) -> Iterator[str]:
    opened = zstandard.open(path, "rt", encoding="utf-8") if path.suffix == ".zst" else path.open()
    with opened as lines:
        for line in lines:
            yield json.loads(line)["text"]


def _race(base: Path, texts: Sequence[str], profile: str, alternations: int) -> dict[str, Any]:
    inputs = base / "in"
    inputs.mkdir(parents=True)
    num_bytes = _write_parts(inputs, texts)
    peer, ours = _decisions_of_peer(base, profile), _decisions_of_ours(base, profile)
    different = [name for name in peer if peer[name] != ours.get(name)]
    if different or len(peer) != len(texts):
        shown = [(name, peer[name], ours.get(name)) for name in different[:5]]
        raise SystemExit(f"{len(different)} of {len(texts)} decisions differ: {shown}")
    times: dict[str, list[float]] = {"datatrove": [], "llmctl": []}
    peaks: dict[str, list[float]] = {"datatrove": [], "llmctl": []}
    for _ in range(alternations):
        for name, command in (
            ("datatrove", _peer_command(base, profile)),
            ("llmctl", _our_command(inputs, base / "ours", profile)),
        ):
            seconds, peak = _timed(command, base / "ours")
            times[name].append(seconds)
            peaks[name].append(peak)
    ratios = [peer / our for peer, our in zip(times["datatrove"], times["llmctl"], strict=True)]
    return {
        "documents": len(texts),
        "kept": sum(reason is None for reason in ours.values()),
        "equal decisions": f"{len(texts)} of {len(texts)}",
        "MB": num_bytes / 1e6,
        "datatrove s": statistics.median(times["datatrove"]),
        "llmctl s": statistics.median(times["llmctl"]),
        "datatrove MB/s": num_bytes / 1e6 / statistics.median(times["datatrove"]),
        "llmctl MB/s": num_bytes / 1e6 / statistics.median(times["llmctl"]),
        "times as fast": statistics.median(ratios),
        "slowest to fastest": [round(min(ratios), 1), round(max(ratios), 1)],
        "datatrove peak MB": max(peaks["datatrove"]),
        "llmctl peak MB": max(peaks["llmctl"]),
    }


def _write_parts(folder: Path, texts: Sequence[str]) -> int:
    handles = [(folder / f"{part}.jsonl").open("w", encoding="utf-8") for part in range(PROCESSES)]
    num_bytes = 0
    for number, text in enumerate(texts):
        line = json.dumps({"id": str(number), "text": text}, ensure_ascii=False)
        handles[number % PROCESSES].write(line + "\n")
        num_bytes += len(text.encode())
    for handle in handles:
        handle.close()
    return num_bytes


def _peer_command(base: Path, profile: str) -> list[str]:
    folders = [str(base / name) for name in ("in", "peer", "peer-dropped")]
    return [sys.executable, str(PEER), profile, *folders, str(PROCESSES)]


def _our_command(
    inputs: Path, out: Path, profile: str, settings: Mapping[str, str] = RULES_ONLY
) -> list[str]:
    changes = {"clean.profile": profile, **settings}
    words = [word for key, value in changes.items() for word in ("--set", f"{key}={value}")]
    command = [str(LLMCTL), "clean", str(inputs), "-o", str(out), "--quiet"]
    return [*command, "--workers", str(PROCESSES), *words]


def _decisions_of_peer(base: Path, profile: str) -> dict[str, str | None]:
    _timed(_peer_command(base, profile), base / "ours")
    found: dict[str, str | None] = {}
    for path in (base / "peer").glob("*.jsonl"):
        found |= {record["id"]: None for record in map(json.loads, path.open())}
    for path in (base / "peer-dropped").rglob("*.jsonl"):
        for record in map(json.loads, path.open()):
            reason = record["metadata"]["filter_reason"]
            found[record["id"]] = REASONS.get(reason, reason)
    return found


def _decisions_of_ours(base: Path, profile: str) -> dict[str, str | None]:
    out = base / "ours"
    _timed(_our_command(base / "in", out, profile), out)
    found: dict[str, str | None] = {}
    for path in out.glob("*.jsonl.zst"):
        with zstandard.open(path, "rt", encoding="utf-8") as lines:
            for record in map(json.loads, lines):
                found[record["id"]] = record.get("rule")
    return found


def _growth(base: Path, num_bytes: int) -> dict[str, Any]:
    inputs, out = base / f"made-{num_bytes}.jsonl", base / "grown"
    with inputs.open("w", encoding="utf-8") as handle:
        for text in made_documents("English", num_bytes, seed=2):
            handle.write(json.dumps({"text": text}) + "\n")
    command = _our_command(inputs, out, "web", {"clean.privacy.action": "replace"})
    seconds, peak = _timed(command, out)
    inputs.unlink()
    return {"s": seconds, "MB/s": num_bytes / 1e6 / seconds, "peak MB of all processes": peak}


def _timed(command: Sequence[str], out: Path) -> tuple[float, float]:
    """Run a command anew; return its seconds and the peak memory of its processes in MB."""
    subprocess.run(["rm", "-rf", str(out)], check=True)
    begun = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    peak = 0.0
    is_over = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not is_over.wait(SAMPLED_EVERY_SECONDS):
            peak = max(peak, sum(map(_resident_megabytes, _family(process.pid))))

    watcher = threading.Thread(target=watch)
    watcher.start()
    _, said = process.communicate()
    seconds = time.monotonic() - begun
    is_over.set()
    watcher.join()
    if process.returncode not in (0, 65):  # 65: no document is left
        raise SystemExit(f"{command[:3]} ended with {process.returncode}:\n{said.decode()[-2000:]}")
    return seconds, peak


def _family(pid: int) -> list[int]:
    """Return a process and all that descend from it."""
    found = [pid]
    for member in found:
        try:
            children = Path(f"/proc/{member}/task/{member}/children").read_text()
        except OSError:
            continue
        found += map(int, children.split())
    return found


def _resident_megabytes(pid: int) -> float:
    """Return the memory of a process that is its own or its share of, in MB."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1e3
    except OSError:
        pass
    return 0.0


if __name__ == "__main__":
    os.environ["PYTHONWARNINGS"] = "ignore"
    random.seed(1)
    main()
