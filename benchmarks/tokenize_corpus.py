"""`llmctl tokenize` beside others: from documents to ids on disk, the same ids, two processes.

    python benchmarks/tokenize_corpus.py [--english FILE…] [--chinese FILE…]
        [--made-megabytes 30] [--alternations 5] [--only WORDS] [--peers NAME…]

The text is made, and that of JSON Lines files (.zst) where some are given; `llmctl clean` without
rules makes a corpus of it. The others read the same documents from JSON Lines as they like them
best, unpacked and one file a process. The tokenizer is a BPE of 16,384 entries that learnt from
the text, with llmctl's pre-tokenizer, and again with GPT-2's, for which tiktoken's own expression
is taken. What each peer does is told in `tokenize_peers`.

Each first writes the ids once, while its memory is watched; all have to write the same ids of the
same documents, in whatever order. Then all take turns, unwatched. Training is timed once; so is
growth, on both languages together: as much text, and ten times as much. `--only` runs what has
these words in its name and keeps the other results.

The file is not called tokenize.py, which would hide Python's module `tokenize` from the other
programs of this folder.
"""

from __future__ import annotations

import argparse
import base64
import json
import random
import shutil
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, get_args

import measuring
import numpy as np
import process_trees
import zstandard
from made_text import made_documents
from process_trees import Taken
from tiktoken_ext.openai_public import r50k_pat_str
from tokenize_peers import END_OF_TEXT, PEERS, VOCAB_SIZE
from tokenizers import Tokenizer

Language = Literal["English", "Chinese"]
NAME = "tokenize_corpus"
OURS = "llmctl"
PROCESSES = 2
LLMCTL = Path(sys.executable).with_name("llmctl")
PEER_PROGRAM = Path(__file__).with_name("tokenize_peers.py")
PATTERNS = ("llmctl", "gpt2")
GROWTH = 10
GROWTH_NAME = "growth"
TRAINING_NAME = "training, once"
TEXT_NAME = "text"
NO_RULES = {
    "clean.profile": "none",
    "clean.privacy.action": "off",
    "clean.duplicates.similarity": "null",
}


@dataclass(frozen=True)
class Material:
    """One text in all the forms that are needed.

    Attributes:
        corpus: As llmctl reads it.
        inputs: As the others do.
        num_documents: How many documents it has.
        megabytes: Of text.
    """

    corpus: Path
    inputs: Path
    num_documents: int
    megabytes: float


def main() -> None:
    """Measure what is asked for and write benchmarks/results/tokenize_corpus.json."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--english", type=Path, nargs="+", help="documents beside made ones")
    words.add_argument("--chinese", type=Path, nargs="+", help="documents beside made ones")
    words.add_argument("--made-megabytes", type=float, default=30)
    words.add_argument("--alternations", type=int, default=5)
    words.add_argument("--only", default="", help='such as "Chinese, made", "gpt2" or "growth"')
    words.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    given = words.parse_args()
    figures = _earlier() if given.only else {}
    texts = figures.setdefault(TEXT_NAME, {})
    training = figures.setdefault(TRAINING_NAME, {})
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        for text, (language, given_files) in _texts(given).items():
            races = {f"{text}, {name}": name for name in PATTERNS}
            races = {race: name for race, name in races.items() if given.only in race}
            if not races:
                continue
            files = given_files or [base / f"{language}.jsonl"]
            if not given_files:
                _make(files[0], language, given.made_megabytes, seed=1)
            material = _material(base / text, files)
            for race, pattern in races.items():
                tokenizer = _tokenizer(base / text, material, pattern, training, race)
                texts[race], figures[race] = _race(
                    material, tokenizer, given.peers, given.alternations
                )
                print(race, texts[race], figures[race], file=sys.stderr, flush=True)
            shutil.rmtree(base / text)
        if given.only in GROWTH_NAME:
            figures[GROWTH_NAME] = _growth(base / "growth", given.made_megabytes, given.peers)
    measuring.write(NAME, figures)


def _earlier() -> dict[str, Any]:
    path = measuring.RESULTS / f"{NAME}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _texts(given: argparse.Namespace) -> dict[str, tuple[Language, list[Path]]]:
    """Return for each text its language and the files that it is in; without any it is made."""
    found: dict[str, tuple[Language, list[Path]]] = {}
    languages: tuple[tuple[Language, list[Path] | None], ...] = (
        ("English", given.english),
        ("Chinese", given.chinese),
    )
    for language, paths in languages:
        found[f"{language}, made"] = language, []
        if paths:
            names = " and ".join(path.name.split(".")[0] for path in paths)
            found[f"{language}, {names}"] = language, paths
    return found


def _make(path: Path, language: Language, megabytes: float, seed: int) -> None:
    with path.open("w", encoding="utf-8") as handle:
        for text in made_documents(language, int(megabytes * 1e6), seed):
            handle.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")


def _material(base: Path, sources: Sequence[Path]) -> Material:
    corpus, inputs = base / "corpus", base / "in"
    inputs.mkdir(parents=True)
    changes = [word for key, value in NO_RULES.items() for word in ("--set", f"{key}={value}")]
    command = [str(LLMCTL), "clean", *map(str, sources), "-o", str(corpus), "--quiet", *changes]
    process_trees.run(command, watches_memory=False)
    handles = [(inputs / f"{part}.jsonl").open("w", encoding="utf-8") for part in range(PROCESSES)]
    num_documents, sizes = 0, [0] * PROCESSES
    for document in _documents(corpus):
        part = sizes.index(min(sizes))
        sizes[part] += len(document["text"].encode())
        num_documents += 1
        line = {"id": document["id"], "text": document["text"]}
        handles[part].write(json.dumps(line, ensure_ascii=False) + "\n")
    for handle in handles:
        handle.close()
    return Material(corpus, inputs, num_documents, sum(sizes) / 1e6)


def _documents(corpus: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(corpus.glob("documents-*.jsonl.zst")):
        with zstandard.open(path, "rt", encoding="utf-8") as lines:
            yield from map(json.loads, lines)


def _tokenizer(
    base: Path, material: Material, pattern: str, training: dict[str, Any], race: str
) -> Path:
    """Let it be learnt, and return the folder with it in the forms that are needed."""
    folder = base / pattern
    folder.mkdir()
    rows: dict[str, Taken] = {}
    if pattern == "llmctl":
        shards = base / "shards"
        command = _our_command(material.corpus, shards, {"vocab_size": str(VOCAB_SIZE)})
        rows["learnt by llmctl, shards written"] = process_trees.run(command, watches_memory=True)
        shutil.copy(shards / "tokenizer.json", folder)
    alone = base / f"{pattern}-alone"
    command = _peer_command("train", material.inputs, folder, alone)
    rows["learnt by tokenizers alone"] = process_trees.run(command, watches_memory=True)
    if pattern == "gpt2":
        shutil.copy(alone / "tokenizer.json", folder)
    training |= {f"{race}, {name}": _columns(taken) for name, taken in rows.items()}
    _write_for_tiktoken(folder, pattern)
    return folder


def _write_for_tiktoken(folder: Path, pattern: str) -> None:
    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    if pattern == "gpt2":
        expression = r50k_pat_str
    else:
        steps = content["pre_tokenizer"]["pretokenizers"]
        (expression,) = (step["pattern"]["Regex"] for step in steps if step["type"] == "Split")
    (folder / "pattern.txt").write_text(expression, encoding="utf-8")
    # Which character stands for which byte in the file: itself where it is visible, else one
    # from 256 on. Source: GPT-2's bytes_to_unicode.
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in visible]
    bytes_of = {chr(byte): byte for byte in visible}
    bytes_of |= {chr(256 + number): byte for number, byte in enumerate(others)}
    with (folder / "ranks.tiktoken").open("wb") as handle:
        vocabulary = content["model"]["vocab"].items()
        for entry, rank in sorted(vocabulary, key=lambda pair: pair[1]):
            if entry != END_OF_TEXT:
                token = bytes(bytes_of[character] for character in entry)
                handle.write(base64.b64encode(token) + f" {rank}\n".encode())


def _our_command(corpus: Path, out: Path, settings: dict[str, str]) -> list[str]:
    changes = [
        word for key, value in settings.items() for word in ("--set", f"tokenize.{key}={value}")
    ]
    command = [str(LLMCTL), "tokenize", str(corpus), "-o", str(out), "--quiet"]
    return [*command, "--workers", str(PROCESSES), *changes]


def _peer_command(name: str, inputs: Path, tokenizer: Path, out: Path) -> list[str]:
    paths = [str(path) for path in (inputs, tokenizer, out)]
    return [sys.executable, str(PEER_PROGRAM), name, *paths, str(PROCESSES)]


def _race(
    material: Material, tokenizer: Path, peers: Sequence[str], alternations: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what is to be told of the text, and the figures of each contender."""
    out = material.corpus.with_name("out")
    given = {"from": str(tokenizer / "tokenizer.json")}
    commands = {name: _peer_command(name, material.inputs, tokenizer, out) for name in peers}
    commands[OURS] = _our_command(material.corpus, out, given)
    peaks: dict[str, float] = {}
    found: dict[str, Counter[bytes]] = {}
    end = Tokenizer.from_file(given["from"]).token_to_id(END_OF_TEXT)
    num_tokens = 0
    for name, command in commands.items():
        peaks[name] = _anew(command, out, watches_memory=True).peak_megabytes
        found[name], num_tokens = _ids_of_documents(out, end)
        if found[name] != found[peers[0]] or found[name].total() != material.num_documents:
            both = (found[name] & found[peers[0]]).total()
            raise SystemExit(f"{name}: {both} of {material.num_documents} documents as {peers[0]}")
    taken: dict[str, list[Taken]] = {name: [] for name in commands}
    for _ in range(alternations):
        for name, command in commands.items():
            taken[name].append(_anew(command, out, watches_memory=False))
    shutil.rmtree(out)
    facts = {
        "documents": material.num_documents,
        "with the same ids": found[OURS].total(),
        "MB": material.megabytes,
        "tokens": num_tokens,
    }
    rows = {name: _row(taken[name], taken[OURS], material.megabytes) for name in commands}
    return facts, {name: row | {"peak MB": peaks[name]} for name, row in rows.items()}


def _row(taken: Sequence[Taken], ours: Sequence[Taken], megabytes: float) -> dict[str, Any]:
    seconds = statistics.median(run.seconds for run in taken)
    ratios = [one.seconds / our.seconds for one, our in zip(taken, ours, strict=True)]
    return {
        "s": seconds,
        "MB/s": megabytes / seconds,
        "CPU s": statistics.median(run.cpu_seconds for run in taken),
        "times llmctl's time": statistics.median(ratios),
        "least to most": [round(min(ratios), 2), round(max(ratios), 2)],
    }


def _columns(taken: Taken) -> dict[str, float]:
    return {"s": taken.seconds, "CPU s": taken.cpu_seconds, "peak MB": taken.peak_megabytes}


def _anew(command: Sequence[str], out: Path, *, watches_memory: bool) -> Taken:
    shutil.rmtree(out, ignore_errors=True)
    return process_trees.run(command, watches_memory=watches_memory)


def _ids_of_documents(out: Path, end: int) -> tuple[Counter[bytes], int]:
    """Return how often each document's ids are in the files, and the number of all tokens."""
    found: Counter[bytes] = Counter()
    num_tokens = 0
    for path in (*out.glob("*.bin"), *out.glob("*.ds")):
        ids = np.fromfile(path, dtype="<u2")
        num_tokens += len(ids)
        begin = 0
        for stop in (np.flatnonzero(ids == end) + 1).tolist():
            found[blake2b(ids[begin:stop].tobytes(), digest_size=16).digest()] += 1
            begin = stop
        if begin != len(ids):
            raise SystemExit(f"{path}: {len(ids) - begin} ids follow the last document's end")
    return found, num_tokens


def _growth(base: Path, megabytes: float, peers: Sequence[str]) -> dict[str, Any]:
    """Return what each takes for both languages, little and much, by the same tokenizer.

    Each writes once while its memory is watched, and once against the clock.
    """
    figures: dict[str, Any] = {}
    tokenizer = base / "tokenizer"
    for size in (megabytes, megabytes * GROWTH):
        folder = base / f"{size:g}"
        folder.mkdir(parents=True)
        sources = []
        for language in get_args(Language):
            sources.append(folder / f"{language}.jsonl")
            _make(sources[-1], language, size / 2, seed=2)
        material = _material(folder, sources)
        if not tokenizer.exists():
            tokenizer.mkdir()
            learnt = base / "learnt"
            command = _peer_command("train", material.inputs, tokenizer, learnt)
            process_trees.run(command, watches_memory=False)
            shutil.copy(learnt / "tokenizer.json", tokenizer)
            _write_for_tiktoken(tokenizer, "gpt2")
        _, rows = _race(material, tokenizer, peers, alternations=1)
        for name, row in rows.items():
            del row["least to most"]
            figures[f"{material.megabytes:,.0f} MB, {name}"] = row
        shutil.rmtree(folder)
    return figures


if __name__ == "__main__":
    random.seed(1)
    main()
