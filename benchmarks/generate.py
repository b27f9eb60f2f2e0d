"""llmctl beside transformers on this CPU: writing, reading, batches, first token, loading.

    python benchmarks/generate.py [--only decode] [--models DIR] [--quick]

Both first have to give the same output: in float32 the same tokens; in bfloat16 logits as near
to those in float32 as the peer's, and another token only where the peer's own logits for the
two differ by less than twice what both differ by. transformers is taken at its best: the faster
of its dynamic and its static cache, and in each alternation the faster of two processes, whose
threads wait as they do by default and as they do in llmctl on a quiet machine.
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
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import made_models
import measuring
from contenders import ALWAYS, AS_FOUND, AS_LLMCTL, DTYPES, OURS, PEER, Contender, Written

SEED = 7
MOST_DIFFERENCE = 1e-4  # of logits in float32
MOST_ERROR = 1.25  # of our logits in bfloat16, root mean square, as a multiple of the peer's
BATCH_ROWS = 16
LLMCTL = Path(sys.executable).with_name("llmctl")
PIPELINE = """
import sys
from transformers import pipeline
path, dtype, prompt = sys.argv[1:]
generator = pipeline("text-generation", model=path, dtype=dtype, device="cpu")
written = generator(prompt, max_new_tokens=1, do_sample=False, return_full_text=False)
print(written[0]["generated_text"], flush=True)
"""
PROMPT = "The world is"
WAYS = {"threads as by default": AS_FOUND, "threads as in llmctl": AS_LLMCTL}


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Attributes:
        alternations: Pairs of runs, peer first.
        trials: Runs of the peer with each kind of cache before that.
        prompt_tokens: Before what is written alone.
        new_tokens: Then written.
        read_tokens: Of the long prompts, by the model that has room for them.
        rows: Of the batches.
        row_prompt_tokens: Shortest and longest.
        row_new_tokens: Fewest and most.
    """

    alternations: int = 5
    trials: int = 1
    prompt_tokens: int = 128
    new_tokens: int = 64
    read_tokens: Mapping[str, tuple[int, ...]] = field(
        default_factory=lambda: {"GPT-2 124M": (512, 1000), "Llama 1.1B": (1024,)}
    )
    rows: tuple[int, ...] = (16, 48)
    row_prompt_tokens: tuple[int, int] = (10, 200)
    row_new_tokens: tuple[int, int] = (20, 200)


QUICK = Size(
    alternations=2,
    trials=1,
    prompt_tokens=16,
    new_tokens=8,
    read_tokens=dict.fromkeys(made_models.CONFIGS, (64,)),
    rows=(4,),
    row_prompt_tokens=(4, 12),
    row_new_tokens=(2, 8),
)


class Race:
    """One model in one dtype: whether both agree, and who is faster.

    Args:
        path: The model directory.
        dtype: Of both.
        prompts: Ids of each row.
        num_tokens: To be written in each row.
        size: Alternations and trials.
    """

    def __init__(
        self,
        path: Path,
        dtype: str,
        prompts: Sequence[Sequence[int]],
        num_tokens: Sequence[int],
        size: Size,
    ) -> None:
        self._path = path
        self._dtype = dtype
        self._prompts = prompts
        self._num_tokens = num_tokens
        self._size = size

    def run(self, seconds_of: Callable[[Written], float], work: int) -> dict[str, Any]:
        """Return a row of figures, in units of work per second.

        Args:
            seconds_of: What counts of a run.
            work: Tokens that these seconds took.
        """
        load = os.getloadavg()[0]
        with ExitStack() as stack:
            # Threads that spin are the best on a quiet machine and by far the worst on a busy
            # one, so both ways run in each alternation, and the better of them counts.
            peers = {
                way: stack.enter_context(Contender(PEER, environment))
                for way, environment in WAYS.items()
            }
            ours = stack.enter_context(Contender(OURS, AS_LLMCTL))
            for side in (*peers.values(), ours):
                side.load(self._path, self._dtype)
            for peer in peers.values():
                self._choose_cache(peer, seconds_of)
            agreement = self._agreement(ours, peers)
            pairs: list[tuple[float, float]] = []
            wins: Counter[str] = Counter()
            for _ in range(self._size.alternations):
                theirs = {way: seconds_of(self._write(peer)) for way, peer in peers.items()}
                way = min(theirs, key=lambda each: theirs[each])
                wins[f"{peers[way].setting} cache, {way}"] += 1
                pairs.append((theirs[way], seconds_of(self._write(ours))))
        return {
            **_compared([(work / theirs, work / mine) for theirs, mine in pairs]),
            **agreement,
            "transformers with": _told(wins),
            "load": round(load, 2),
        }

    def _choose_cache(self, peer: Contender, seconds_of: Callable[[Written], float]) -> None:
        few = [min(num, 32) for num in self._num_tokens]
        found: dict[str, float] = {}
        for peer.setting in ("dynamic", "static"):
            self._write(peer, few)
            found[peer.setting] = statistics.median(
                seconds_of(self._write(peer, few)) for _ in range(self._size.trials)
            )
        peer.setting = min(found, key=lambda setting: found[setting])

    def _write(self, side: Contender, num_tokens: Sequence[int] | None = None) -> Written:
        """Write all rows; the peer takes a batch after the other, of prompts of like lengths."""
        num_tokens = num_tokens or self._num_tokens
        if side.name == OURS:
            return side.write(self._prompts, num_tokens)
        order = sorted(range(len(self._prompts)), key=lambda row: len(self._prompts[row]))
        seconds, decode_seconds, rows = 0.0, 0.0, dict[int, list[int]]()
        for first in range(0, len(order), BATCH_ROWS):
            batch = order[first : first + BATCH_ROWS]
            written = side.write(
                [self._prompts[row] for row in batch], [num_tokens[row] for row in batch]
            )
            seconds += written.seconds
            decode_seconds += written.decode_seconds
            rows |= dict(zip(batch, written.token_ids, strict=True))
        return Written(seconds, [rows[row] for row in range(len(order))], decode_seconds)

    def _agreement(self, ours: Contender, peers: Mapping[str, Contender]) -> dict[str, Any]:
        """Write once, which warms all up, and compare; end where the outputs differ."""
        our_rows = self._write(ours).token_ids
        their_rows, *_ = (self._write(peer).token_ids for peer in peers.values())
        peer = next(iter(peers.values()))
        if list(map(len, their_rows)) != list(map(len, our_rows)):
            raise SystemExit(f"{self._path}: rows of other lengths")
        differing = [
            row
            for row, pair in enumerate(zip(our_rows, their_rows, strict=True))
            if pair[0] != pair[1]
        ]
        if differing and self._dtype == "float32":
            raise SystemExit(f"{self._path}: rows {differing} differ in float32")
        largest = 0.0
        checked: list[tuple[list[int], int, Any, Any]] = []
        for row in differing[:4] or [0]:
            written, text = our_rows[row], [*self._prompts[row], *our_rows[row]]
            their_logits_TV, our_logits_TV = (
                side.logits(text[:-1], len(written)) for side in (peer, ours)
            )
            difference = float(abs(their_logits_TV - our_logits_TV).max())
            if self._dtype == "float32" and difference > MOST_DIFFERENCE:
                raise SystemExit(f"{self._path}: logits differ by {difference} in float32")
            checked.append((text, len(written), our_logits_TV, their_logits_TV))
            for place, token_id in enumerate(written):
                if token_id != their_rows[row][place]:
                    logits_V = their_logits_TV[place]
                    gap = float(logits_V.max() - logits_V[token_id])
                    if gap > 2 * difference:
                        raise SystemExit(f"{self._path}: row {row}, token {place}: no near tie")
                    break
            largest = max(largest, difference)
        return {
            "same rows": f"{len(our_rows) - len(differing)} of {len(our_rows)}",
            "logits differ by": round(largest, 6),
            "error beside the peer's": self._error(checked),
        }

    def _error(self, checked: Sequence[tuple[list[int], int, Any, Any]]) -> float | str:
        """Our distance from logits in float32 as a multiple of the peer's; end if it is more.

        Through many layers of random weights bfloat16 loses so much that the distance from
        one another tells little.
        """
        if self._dtype == "float32":
            return "exact"
        squares = [0.0, 0.0]
        with Contender(PEER, AS_FOUND) as exact:
            exact.load(self._path, "float32")
            for text, num_last, *sides in checked:
                logits_TV = exact.logits(text[:-1], num_last)
                for side, found_TV in enumerate(sides):
                    squares[side] += float(((found_TV - logits_TV) ** 2).mean())
        error = (squares[0] / squares[1]) ** 0.5
        if error > MOST_ERROR:
            raise SystemExit(f"{self._path}: {error:.2f} times the peer's error in {self._dtype}")
        return round(error, 3)


def _compared(pairs: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """Medians of (peer, ours), and of the ratios pair by pair: what is more is better."""
    ratios = [ours / theirs for theirs, ours in pairs]
    return {
        OURS: round(statistics.median(ours for _, ours in pairs), 3),
        PEER: round(statistics.median(theirs for theirs, _ in pairs), 3),
        "ratio": round(statistics.median(ratios), 3),
        "least": round(min(ratios), 3),
        "most": round(max(ratios), 3),
    }


def _compared_costs(pairs: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """The same where less is better: the ratio is the peer's cost to ours."""
    row = _compared([(1 / theirs, 1 / ours) for theirs, ours in pairs])
    for side, name in enumerate((PEER, OURS)):
        row[name] = round(statistics.median(pair[side] for pair in pairs), 3)
    return row


def _told(wins: Counter[str]) -> str:
    return "; ".join(f"{way} ({count} of {wins.total()})" for way, count in wins.most_common())


def _prompt(rng: random.Random, num_tokens: int) -> list[int]:
    return [rng.randrange(32_000) for _ in range(num_tokens)]


def decode(models: Mapping[str, Path], size: Size) -> Iterator[tuple[str, dict[str, Any]]]:
    """From the first token of one text to its last."""
    prompt = _prompt(random.Random(SEED), size.prompt_tokens)
    for name, path in models.items():
        for dtype in DTYPES:
            race = Race(path, dtype, [prompt], [size.new_tokens], size)
            row = race.run(lambda written: written.decode_seconds, size.new_tokens - 1)
            yield f"{name}, {dtype}", row


def read(models: Mapping[str, Path], size: Size) -> Iterator[tuple[str, dict[str, Any]]]:
    """A long prompt, until the first token."""
    for name, path in models.items():
        for num_tokens in size.read_tokens[name]:
            prompt = _prompt(random.Random(SEED), num_tokens)
            for dtype in DTYPES:
                race = Race(path, dtype, [prompt], [1], size)
                row = race.run(lambda written: written.seconds, num_tokens)
                yield f"{name}, {dtype}, {num_tokens:,} tokens", row


def batch(models: Mapping[str, Path], size: Size) -> Iterator[tuple[str, dict[str, Any]]]:
    """Prompts and texts of many lengths together; what is written counts, all seconds do."""
    name, path = next(iter(models.items()))
    for num_rows in size.rows:
        rng = random.Random(SEED)
        prompts = [_prompt(rng, rng.randint(*size.row_prompt_tokens)) for _ in range(num_rows)]
        num_tokens = [rng.randint(*size.row_new_tokens) for _ in range(num_rows)]
        for dtype in DTYPES:
            race = Race(path, dtype, prompts, num_tokens, size)
            row = race.run(lambda written: written.seconds, sum(num_tokens))
            yield f"{name}, {dtype}, {num_rows} prompts", row


def start(models: Mapping[str, Path], size: Size) -> Iterator[tuple[str, dict[str, Any]]]:
    """Whole processes: from their start to the first byte of text."""
    name, path = next(iter(models.items()))
    for dtype in DTYPES:
        load = os.getloadavg()[0]
        options = ["-m", str(path), "--dtype", dtype, "--temp", "0", "-n", "1", "--seed", "1"]
        ours = [str(LLMCTL), "generate", PROMPT, *options]
        peer = [sys.executable, "-c", PIPELINE, str(path), dtype, PROMPT]
        our_text, their_text = (_first_byte(command, AS_LLMCTL)[1] for command in (ours, peer))
        if our_text.strip() != their_text.strip() and dtype == "float32":
            raise SystemExit(f"{path}: {our_text!r} and {their_text!r}")
        pairs: list[tuple[float, float]] = []
        wins: Counter[str] = Counter()
        for _ in range(size.alternations):
            theirs = {way: _first_byte(peer, WAYS[way])[0] for way in WAYS}
            way = min(theirs, key=lambda each: theirs[each])
            wins[way] += 1
            pairs.append((theirs[way], _first_byte(ours, AS_FOUND)[0]))
        same = our_text.strip() == their_text.strip()
        yield (
            f"{name}, {dtype}",
            {
                **_compared_costs(pairs),
                "same text": "yes" if same else "no",
                "transformers with": _told(wins),
                "load": round(load, 2),
            },
        )


def _first_byte(command: Sequence[str], environment: Mapping[str, str]) -> tuple[float, str]:
    """Return the seconds to the first byte of a process's output, and all of it."""
    begin = time.perf_counter()
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | ALWAYS | dict(environment),
    ) as process:
        output = process.stdout
        if output is None:
            raise ValueError("a process without output")
        first = output.read(1)
        seconds = time.perf_counter() - begin
        text = (first + output.read()).decode(errors="replace")
    if process.returncode or not first:
        raise SystemExit(f"failed: {' '.join(command)}")
    return seconds, text


def load(models: Mapping[str, Path], size: Size) -> Iterator[tuple[str, dict[str, Any]]]:
    """Files to a model that has written a token, the imports left out; memory of the process."""
    for name, path in models.items():
        for dtype in DTYPES:
            busy = round(os.getloadavg()[0], 2)
            pairs: list[list[Any]] = []
            for _ in range(1 + size.alternations):
                pair: list[Any] = []
                for side in (PEER, OURS):
                    with Contender(side, AS_LLMCTL) as contender:
                        pair.append(contender.load(path, dtype))
                pairs.append(pair)
            for figure, attribute in (
                ("seconds until loaded", "seconds"),
                ("seconds until the first token", "ready_seconds"),
                ("peak megabytes", "peak_megabytes"),
            ):
                # The first pair brings the file into the system's memory.
                costs = [
                    (getattr(theirs, attribute), getattr(ours, attribute))
                    for theirs, ours in pairs[1:]
                ]
                yield f"{name}, {dtype}: {figure}", {**_compared_costs(costs), "load": busy}


PARTS = {
    "decode": ("new tokens/s, one text", decode),
    "read": ("prompt tokens/s", read),
    "batch": ("new tokens/s, ragged batch", batch),
    "start": ("seconds to the first byte", start),
    "load": ("loading", load),
}


def keep(figures: Mapping[str, Any]) -> None:
    """Write `results/generate.json`; parts not measured now stay if they are of this machine."""
    path = measuring.RESULTS / "generate.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    now = measuring.surroundings()
    if any(before.get(name) != now[name] for name in ("machine", "python", "versions")):
        before = {}
    titles = [title for title, _ in PARTS.values()]
    found = {title: figures.get(title, before.get(title)) for title in titles}
    measuring.write("generate", {title: rows for title, rows in found.items() if rows})


def main() -> None:
    """Measure, and write `results/generate.json`, except with --quick."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=PARTS, action="append", help="a part; repeatable")
    parser.add_argument("--models", type=Path, help="folder for the made models, to keep them")
    parser.add_argument("--quick", action="store_true", help="only see whether all runs")
    arguments = parser.parse_args()
    size = QUICK if arguments.quick else Size()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.models or Path(temporary)
        models = {
            name: made_models.make(name, folder, small=arguments.quick)
            for name in made_models.CONFIGS
        }
        figures: dict[str, Any] = {}
        for part in arguments.only or PARTS:
            title, measure = PARTS[part]
            figures[title] = {}
            for name, row in measure(models, size):
                sys.stderr.write(f"{part}: {name}: {json.dumps(row)}\n")
                figures[title][name] = row
                if not arguments.quick:
                    keep(figures)
    if arguments.quick:
        sys.stdout.write(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
