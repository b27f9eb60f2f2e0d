"""How many bytes a token holds, by the way text is cut before merging, at equal vocabulary.

    python benchmarks/pretokenizers.py --english FILE --chinese FILE [--chinese FILE]
        [--megabytes 6] [--vocab-sizes 8192 16384]

The files are JSON Lines with `text`, perhaps compressed by zstd; each may be given several
times. Every tenth document, by a hash of its content, is held out. Each tokenizer learns from
equal parts of English and Chinese, shared evenly by the files of a language as far as each
goes; the smaller sizes are cut from the largest. Beside the figures stands how many entries
join Han characters with something else, such as a comma, and so spend the vocabulary on
neighbours.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import measuring
import zstandard
from tokenizers import Regex, Tokenizer, pre_tokenizers

from llmctl.core.tokens.pretokenizer import segments
from llmctl.core.tokens.pretokenizer_patterns import PATTERNS
from llmctl.core.tokens.tokenizer_training import TrainingRequest, cut, train

HELD_OUT = 10
PASSAGE_CHARACTERS = 4096


def documents(path: Path) -> Iterator[str]:
    """Yield the texts of a file."""
    with path.open("rb") as handle:
        packed = path.suffix == ".zst"
        lines = zstandard.ZstdDecompressor().stream_reader(handle) if packed else handle
        for line in io.TextIOWrapper(lines, encoding="utf-8"):
            if line.strip():
                yield json.loads(line)["text"]


def divided(path: Path) -> tuple[list[str], list[str]]:
    """Return the documents to learn from, in an order by their hash, and those held out."""
    ranked = sorted((hashlib.sha256(text.encode()).digest(), text) for text in documents(path))
    return (
        [text for rank, text in ranked if rank[-1] % HELD_OUT],
        [text for rank, text in ranked if rank[-1] % HELD_OUT == 0],
    )


def shares(sizes: Sequence[int], budget: int) -> list[int]:
    """Share a budget evenly, none more than its size."""
    given = [0] * len(sizes)
    for rank, index in enumerate(sorted(range(len(sizes)), key=sizes.__getitem__)):
        given[index] = min(sizes[index], (budget - sum(given)) // (len(sizes) - rank))
    return given


def taken(texts: Sequence[str], num_bytes: int) -> list[str]:
    """Return passages of so many bytes at most."""
    found: list[str] = []
    for text in texts:
        # None cuts where it does not end a piece, whichever way of cutting.
        for passage in segments(text, PASSAGE_CHARACTERS):
            num_bytes -= len(passage.encode())
            if num_bytes < 0:
                return found
            found.append(passage)
    return found


def bytes_per_token(tokenizer: Tokenizer, texts: Sequence[str]) -> float:
    """Return the bytes of the texts over their tokens."""
    encodings = tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
    return sum(len(text.encode()) for text in texts) / sum(len(each.ids) for each in encodings)


def joining_entries(tokenizer: Tokenizer) -> int:
    """Return how many entries hold a Han character and something that is none."""
    han = pre_tokenizers.Split(Regex(r"\p{Han}+"), "isolated")
    entries = map(tokenizer.decode, ([token] for token in range(tokenizer.get_vocab_size())))
    # A part of a character decodes as U+FFFD; neighbours of that cannot be told.
    whole = [entry for entry in entries if entry and "\ufffd" not in entry]
    parts = [[part for part, _ in han.pre_tokenize_str(entry)] for entry in whole]
    return sum(len(each) > 1 for each in parts)


def main(arguments: Sequence[str]) -> None:
    """Measure and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--english", type=Path, action="append", required=True)
    parser.add_argument("--chinese", type=Path, action="append", required=True)
    parser.add_argument("--megabytes", type=float, default=6, help="Of each language.")
    parser.add_argument("--vocab-sizes", type=int, nargs="+", default=[8192, 16384])
    options = parser.parse_args(arguments)
    learnt_from: list[str] = []
    held_out: dict[str, list[str]] = {}
    sources: dict[str, Any] = {}
    for language in ("english", "chinese"):
        paths = getattr(options, language)
        parts = [divided(path) for path in paths]
        sizes = [sum(len(text.encode()) for text in training) for training, _ in parts]
        given = shares(sizes, int(options.megabytes * 1e6))
        for path, (training, rest), share in zip(paths, parts, given, strict=True):
            passages = taken(training, share)
            learnt_from += passages
            name = path.name.partition(".")[0]
            held_out[name] = rest
            sources[name] = {
                "language": language,
                "learnt from, MB": round(sum(len(text.encode()) for text in passages) / 1e6, 2),
                "held out, MB": round(sum(len(text.encode()) for text in rest) / 1e6, 2),
            }
        held_out[language] = [text for _, rest in parts for text in rest]
    figures: dict[str, Any] = {"held out": sources}
    largest = {
        name: train(learnt_from, TrainingRequest(max(options.vocab_sizes), pretokenizer=name))
        for name in PATTERNS
    }
    for size in sorted(options.vocab_sizes):
        rows: dict[str, Any] = {}
        for name, tokenizer in largest.items():
            smaller = cut(tokenizer, size)
            rows[name] = {
                source: round(bytes_per_token(smaller, texts), 3)
                for source, texts in held_out.items()
            } | {"entries that join Han with others": joining_entries(smaller)}
        figures[f"bytes per token, {size:,} entries"] = rows
    measuring.write("pretokenizers", figures)


if __name__ == "__main__":
    main(sys.argv[1:])
