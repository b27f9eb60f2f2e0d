"""Training a tokenizer: `train_in_child` beside the library alone, time and peak memory.

    python benchmarks/tokenizer_training.py [--alternations 5] [--megabytes 20]
        [--text FILE ...] [--vocab-size 16384]

The same text for both: half English and half Chinese, made, or the documents of the files
given (JSON Lines with `text`, perhaps compressed by zstd). The library's side is the script
of its documentation: `train_from_iterator` with a thousand texts at a time, cut as cl100k
does. Ours is the whole call: the child, its estimate of memory, and the file. Both must give
the same tokenizer, which is asserted first.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import measuring
import orjson
from made_text import made_documents
from pretokenizers import documents

OURS, LIBRARY = "llmctl", "tokenizers"
SEED = 5
MIN_FREQUENCY = 2


def train_ours(text_path: Path, target: Path, vocab_size: int) -> None:
    """Train with `train_in_child`."""
    from llmctl.core.progress import Progress
    from llmctl.core.tokens.training_process import TrainingRequest, train_in_child

    request = TrainingRequest(vocab_size, MIN_FREQUENCY, "bpe", "cl100k")
    train_in_child([text_path], request, target.with_suffix(".work"), target, progress=Progress())


def train_library(text_path: Path, target: Path, vocab_size: int) -> None:
    """Train with the library, as its documentation shows."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    from llmctl.core.tokens.pretokenizer_patterns import PATTERNS

    def batches() -> Iterator[list[str]]:
        with text_path.open("rb") as handle:
            while batch := [orjson.loads(line) for line in islice(handle, 1000)]:
                yield batch

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERNS["cl100k"]), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=MIN_FREQUENCY,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(batches(), trainer)
    tokenizer.save(str(target))


def run(side: str, text_path: Path, target: Path, vocab_size: int) -> dict[str, float]:
    """Run a side in a process of its own, and return its seconds and peak."""
    command = [sys.executable, __file__, "--side", side, text_path, target, str(vocab_size)]
    begin = time.perf_counter()
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - begin
    if finished.returncode:
        raise SystemExit(f"{side} failed:\n{finished.stderr[-4000:]}")
    return {"seconds": seconds} | json.loads(finished.stdout)


def contend(side: str, text_path: Path, target: Path, vocab_size: int) -> None:
    """Do a side's work in this process, and tell what it took."""
    (train_ours if side == OURS else train_library)(text_path, target, vocab_size)
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    told = {
        "cpu_seconds": sum(each.ru_utime + each.ru_stime for each in used),
        "peak_megabytes": max(each.ru_maxrss for each in used) / 1024,
    }
    sys.stdout.write(json.dumps(told))


def written(path: Path, texts: Iterator[str]) -> float:
    """Write the texts a line each; return their megabytes."""
    num_bytes = 0
    with path.open("wb") as handle:
        for text in texts:
            handle.write(orjson.dumps(text, option=orjson.OPT_APPEND_NEWLINE))
            num_bytes += len(text.encode())
    return num_bytes / 1e6


def main(arguments: Sequence[str]) -> None:
    """Run both in turn and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--alternations", type=int, default=5)
    parser.add_argument("--megabytes", type=float, default=20)
    parser.add_argument("--text", type=Path, nargs="+")
    parser.add_argument("--vocab-size", type=int, default=16384)
    options = parser.parse_args(arguments)
    runs: dict[str, list[dict[str, float]]] = {OURS: [], LIBRARY: []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text_path = folder / "texts.jsonl"
        half = int(options.megabytes * 1e6 / 2)
        texts = (
            (text for path in options.text for text in documents(path))
            if options.text
            else (
                text
                for language in ("English", "Chinese")
                for text in made_documents(language, half, SEED)
            )
        )
        megabytes = written(text_path, texts)
        made = {side: folder / f"{side}.json" for side in runs}
        for _ in range(options.alternations):
            for side in runs:
                runs[side].append(run(side, text_path, made[side], options.vocab_size))
            ours, theirs = (json.loads(path.read_bytes()) for path in made.values())
            assert ours == theirs, "the tokenizers differ"
    figures: dict[str, Any] = {
        "text, MB": round(megabytes, 1),
        "text": "of files" if options.text else "made, half English and half Chinese",
        "vocabulary": options.vocab_size,
        "alternations": options.alternations,
    }
    for unit in ("seconds", "cpu_seconds", "peak_megabytes"):
        figures[unit] = {
            side: measuring.spread([each[unit] for each in of_side])
            for side, of_side in runs.items()
        }
    measuring.write("tokenizer_training", figures)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--side"]:
        contend(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]), int(sys.argv[5]))
    else:
        main(sys.argv[1:])
