"""llmctl beside datatrove's MinHash: which near-duplicates are found, and how fast.

    python benchmarks/near_duplicates.py [--alternations 5] [--quick] [--data en FILE]

Both read JSON Lines and write what they keep, in two processes where they can: datatrove by
its four steps (signatures, buckets, cluster, filter) as it is configured by default, 14 bands
of 8 rows, runs of five words, its own word splitter for the language; llmctl by fingerprints
in the processes and the resolution of duplicates in one. What datatrove needs is the extra
`benchmark`.

The truth is told twice: by the true Jaccard similarity of runs of five words (characters in
Chinese), and by what was planted. See `planted_duplicates`.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import measuring
import orjson
import zstandard
from planted_duplicates import (
    EDITS,
    LANGUAGES,
    TRAPS,
    Planted,
    of_jaccard,
    of_labels,
    planted,
    score,
)

PROCESSES = 2
SEED = 11
OURS, PEER = "llmctl", "datatrove"
THRESHOLDS = (0.8, 0.72, 0.6, 0.4)
PEER_THRESHOLDS = (0.8, 0.72)  # (1/14)^(1/8) = 0.72 is what it calls its threshold
PEER_LANGUAGES = {"en": "eng", "zh": "zho_Hani"}


@dataclass(frozen=True)
class Size:
    """How much is made.

    Attributes:
        singles: Documents of each language without duplicates.
        of_each: Families of each kind, in each language.
    """

    singles: int
    of_each: int


UNIT_DOCUMENTS = 1000
WHOLE = Size(singles=3000, of_each=300)
QUICK = Size(singles=100, of_each=10)


# What a contender's process does: from JSON Lines to JSON Lines of what is kept.


def _fingerprint(path: Path, similarity: float, directory: Path) -> list[Path]:
    from llmctl.core.clean_plan import DuplicatesPlan
    from llmctl.core.cleaning.fingerprinting import unit_of
    from llmctl.core.text.fingerprints import Fingerprinter

    directory.mkdir()
    plan = DuplicatesPlan(similarity=similarity)
    units: list[Path] = []
    with path.open("rb") as lines:
        for batch in iter(lambda: list(islice(lines, UNIT_DOCUMENTS)), []):
            fingerprinter, identifiers = Fingerprinter(plan), []
            for record in map(orjson.loads, batch):
                fingerprinter.add(record["text"])
                identifiers.append(record["id"])
            units.append(directory / f"{len(units):05d}.fingerprints")
            unit_of(fingerprinter.finish(), identifiers).write(units[-1])
    return units


def _filter(path: Path, output: Path, is_kept: Sequence[bool]) -> None:
    with path.open("rb") as lines, output.open("wb") as handle:
        handle.writelines(line for line, kept in zip(lines, is_kept, strict=True) if kept)


def run_ours(folder: Path, work: Path, similarity: float) -> None:
    """Deduplicate with llmctl."""
    from llmctl.core.artifacts.fingerprint_units import FingerprintUnits
    from llmctl.core.clean_plan import DuplicatesPlan
    from llmctl.core.cleaning.duplicates import resolve

    inputs = sorted(folder.glob("*.jsonl"))
    (work / "kept").mkdir()
    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        units = pool.starmap(
            _fingerprint,
            [(path, similarity, work / f"units-{path.stem}") for path in inputs],
        )
        found = resolve(
            [each for group in units for each in group], DuplicatesPlan(similarity=similarity), work
        )
        jobs: list[tuple[Path, Path, list[bool]]] = []
        first = 0
        for path, group in zip(inputs, units, strict=True):
            stop = first + len(FingerprintUnits(group))
            jobs.append((path, work / "kept" / path.name, found.kept(first, stop).tolist()))
            first = stop
        pool.starmap(_filter, jobs)


def run_peer(folder: Path, work: Path, language: str, lines_to_buffer: int) -> None:
    """Deduplicate with datatrove."""
    from datatrove.executor.local import LocalPipelineExecutor
    from datatrove.pipeline.dedup import (
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter
    from multiprocess import forkserver

    config = MinhashConfig()
    buffered = {"lines_to_buffer": lines_to_buffer}
    signatures, buckets, removed = (str(work / name) for name in ("sig", "buckets", "removed"))
    reader = JsonlReader(str(folder), glob_pattern="*.jsonl")
    steps: list[tuple[list[Any], int]] = [
        (
            [reader, MinhashDedupSignature(signatures, config, PEER_LANGUAGES[language])],
            PROCESSES,
        ),
        ([MinhashDedupBuckets(signatures, buckets, config=config, **buffered)], config.num_buckets),
        ([MinhashDedupCluster(buckets, removed, config=config, **buffered)], 1),
        (
            [
                reader,
                MinhashDedupFilter(removed, **buffered),
                JsonlWriter(str(work / "kept"), compression=None),
            ],
            PROCESSES,
        ),
    ]
    for number, (pipeline, tasks) in enumerate(steps):
        LocalPipelineExecutor(
            pipeline, tasks=tasks, workers=PROCESSES, logging_dir=str(work / f"log{number}")
        ).run()
    # Only a process that was waited for counts in `getrusage`.
    forkserver._forkserver._stop()


@dataclass(frozen=True)
class Run:
    """One run of a contender.

    Attributes:
        seconds: From the start of its process to its end.
        cpu_seconds: Of it and its processes.
        peak_megabytes: Most memory of one of its processes.
        kept: Ids of what it kept.
    """

    seconds: float
    cpu_seconds: float
    peak_megabytes: float
    kept: frozenset[str]


def run(side: str, folder: Path, *options: str) -> Run:
    """Start a contender, wait for it and read what it wrote."""
    with tempfile.TemporaryDirectory() as work:
        command = [sys.executable, __file__, "--contender", side, str(folder), work, *options]
        begin = time.perf_counter()
        finished = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"TQDM_DISABLE": "1"},
        )
        seconds = time.perf_counter() - begin
        if finished.returncode:
            raise SystemExit(f"{side} failed:\n{finished.stderr[-4000:]}")
        told = json.loads(finished.stdout.splitlines()[-1])
        kept = frozenset(
            orjson.loads(line)["id"]
            for path in Path(work, "kept").iterdir()
            for line in path.read_bytes().splitlines()
        )
        return Run(seconds, told["cpu_seconds"], told["peak_megabytes"], kept)


def contend(side: str, folder: Path, work: Path, options: Sequence[str]) -> None:
    """Do a contender's work in this process, and tell what it took."""
    with contextlib.redirect_stdout(io.StringIO()):
        if side == OURS:
            run_ours(folder, work, float(options[0]))
        else:
            run_peer(folder, work, options[0], int(options[1]))
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    told = {
        "cpu_seconds": sum(each.ru_utime + each.ru_stime for each in used),
        "peak_megabytes": max(each.ru_maxrss for each in used) / 1024,
    }
    sys.stdout.write(json.dumps(told) + "\n")


def written(documents: Sequence[Planted], folder: Path) -> int:
    """Write the documents into a file for each process; return how many bytes of text."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(PROCESSES):
        part = documents[number::PROCESSES]
        (folder / f"{number}.jsonl").write_bytes(b"".join(each.line() for each in part))
    return sum(len(each.text.encode()) for each in documents)


def quality(
    documents: Sequence[Planted], kept: frozenset[str], *thresholds: float
) -> dict[str, Any]:
    """Recall and precision by both truths, and what was dropped of each kind."""
    kinds = [f"edit {percent} %" for percent in EDITS] + [*TRAPS, "single"]
    dropped: dict[str, str] = {}
    for kind in kinds:
        of_kind = [each for each in documents if each.kind == kind]
        families = {each.family for each in of_kind}
        hit = {each.family for each in of_kind if each.id not in kept}
        dropped[kind] = f"{len(hit)} of {len(families)}"
    return {
        **{
            f"by true similarity {threshold:g}": score(
                documents, set(kept), of_jaccard(threshold)
            ).figures()
            for threshold in thresholds
        },
        "by what was planted": score(documents, set(kept), of_labels).figures(),
        "families with a drop": dropped,
    }


def compare(
    documents: Sequence[Planted], language: str, folder: Path, alternations: int
) -> dict[str, Any]:
    """Run both in turn and return the figures of a language."""
    num_bytes = written(documents, folder)
    # datatrove's own default reads five lines at a time; the better of both counts.
    trials = {size: run(PEER, folder, language, size) for size in ("5", "1000")}
    buffered = min(trials, key=lambda size: trials[size].seconds)
    pairs: list[tuple[Run, Run]] = []
    for _ in range(alternations):
        theirs = run(PEER, folder, language, buffered)
        pairs.append((theirs, run(OURS, folder, str(THRESHOLDS[0]))))
    ratios = [theirs.seconds / ours.seconds for theirs, ours in pairs]
    cpu_ratios = [theirs.cpu_seconds / ours.cpu_seconds for theirs, ours in pairs]
    sides: dict[str, Any] = {}
    for number, side in enumerate((PEER, OURS)):
        runs = [pair[number] for pair in pairs]
        sides[side] = {
            "MB/s": round(statistics.median(num_bytes / 1e6 / each.seconds for each in runs), 3),
            "CPU seconds": round(statistics.median(each.cpu_seconds for each in runs), 2),
            "peak MB of a process": round(max(each.peak_megabytes for each in runs)),
        }
    return {
        "documents": len(documents),
        "MB": round(num_bytes / 1e6, 2),
        "speed": sides,
        "times as fast": measuring.spread(ratios),
        "times as fast by CPU time": measuring.spread(cpu_ratios),
        "datatrove lines_to_buffer": int(buffered),
        "quality": {
            f"{PEER} 14 x 8": quality(documents, pairs[0][0].kept, *PEER_THRESHOLDS),
            **{
                f"{OURS} {threshold:g}": quality(
                    documents,
                    pairs[0][1].kept
                    if threshold == THRESHOLDS[0]
                    else run(OURS, folder, str(threshold)).kept,
                    threshold,
                )
                for threshold in THRESHOLDS
            },
        },
    }


def bases(path: Path) -> Iterator[str]:
    """Yield the texts of a JSON Lines file, plain or .zst."""
    with path.open("rb") as handle:
        stream: Any = handle
        if path.suffix == ".zst":
            stream = io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(handle))
        for line in stream:
            yield orjson.loads(line)["text"]


def _tables(figures: dict[str, Any]) -> dict[str, Any]:
    """Return the figures as tables of a row for each language or contender."""
    tables: dict[str, Any] = {"speed": {}}
    for code, found in figures.items():
        language = {"en": "English", "zh": "Chinese"}[code]
        speed = found["speed"]
        tables["speed"][language] = {
            "documents": found["documents"],
            "MB": found["MB"],
            **{f"{side} MB/s": row["MB/s"] for side, row in speed.items()},
            **{f"{side} CPU s": row["CPU seconds"] for side, row in speed.items()},
            "times as fast": found["times as fast"]["median"],
            "least and most": [
                found["times as fast"]["minimum"],
                found["times as fast"]["maximum"],
            ],
            **{f"{side} peak MB": row["peak MB of a process"] for side, row in speed.items()},
        }
        tables[f"{language}, {found['documents']:,} documents"] = {
            contender: {
                **{
                    f"{measure} by {truth.removeprefix('by ')}": values[measure]
                    for truth, values in rows.items()
                    if truth in ("by true similarity 0.8", "by what was planted")
                    for measure in ("recall", "precision")
                },
                **rows["families with a drop"],
            }
            for contender, rows in found["quality"].items()
        }
    return tables


def main() -> None:
    """Measure, and write `results/near_duplicates.json`, except with --quick."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contender", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--alternations", type=int, default=5, help="pairs of runs, peer first")
    parser.add_argument("--singles", type=int, default=WHOLE.singles, help="without duplicates")
    parser.add_argument("--families", type=int, default=WHOLE.of_each, help="of each kind")
    parser.add_argument("--quick", action="store_true", help="only see whether all runs")
    parser.add_argument(
        "--data",
        nargs=2,
        action="append",
        default=[],
        metavar=("LANGUAGE", "FILE"),
        help="JSON Lines (.zst) to take base documents from",
    )
    arguments = parser.parse_args()
    if arguments.contender:
        side, folder, work, *options = arguments.contender
        contend(side, Path(folder), Path(work), options)
        return
    size = QUICK if arguments.quick else Size(arguments.singles, arguments.families)
    data = {language: Path(path) for language, path in arguments.data}
    figures: dict[str, Any] = {}
    for language in LANGUAGES:
        singles, of_each = size.singles, size.of_each
        texts: Iterator[str] | None = None
        if language in data:
            held = list(bases(data[language]))
            of_each = min(of_each, len(held) // (2 * len(EDITS)))
            singles = min(singles, len(held) - of_each * len(EDITS))
            texts = iter(held)
        documents = planted(language, singles, of_each, SEED, texts)
        with tempfile.TemporaryDirectory() as folder:
            figures[language] = compare(
                documents, language, Path(folder), 1 if arguments.quick else arguments.alternations
            )
        sys.stderr.write(f"{language}: {json.dumps(figures[language])}\n")
    if not arguments.quick:
        measuring.write("near_duplicates", _tables(figures))


if __name__ == "__main__":
    main()
