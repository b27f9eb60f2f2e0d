"""Writes docs/dropped_samples.md: what `llmctl clean` drops of real Chinese text, unchosen.

python docs/make_dropped_samples.py zh_poems.jsonl.zst zh_docs.jsonl.zst

The two files are cleaned with the profiles `standard` and `web`. The samples are the twenty
dropped documents whose ids have the smallest hashes, so nobody has chosen them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from llmctl.core.artifacts.streams import read_lines

TARGET = Path(__file__).with_name("dropped_samples.md")
PROFILES = ("standard", "web")
NUM_SAMPLES = 20
BEGINNING_CHARACTERS = 70
TEXTS = (
    "Classical Chinese poems of [chinese-poetry](https://github.com/chinese-poetry/chinese-poetry),"
    " MIT licence.",
    "Chapters of [d2l-zh](https://github.com/d2l-ai/d2l-zh), a textbook in Markdown, Apache-2.0.",
)
_MARKUP = re.compile(r"[\\`*\[\]<>|~$&]")

Record = dict[str, Any]


def page(files: Sequence[Path]) -> str:
    """The whole page, of the poems and the chapters, in this order."""
    parts = [
        "# What is dropped of real Chinese text",
        f"Made by `python docs/make_dropped_samples.py {' '.join(path.name for path in files)}` "
        "with `llmctl clean FILE -o CORPUS` and `--profile standard` (the default) or `web`. The "
        f"samples are nobody's choice: the {NUM_SAMPLES} dropped documents whose ids have the "
        "smallest SHA-256. ⏎ is the end of a line, … stands for the rest.",
        "`standard` drops copies, and what is nearly no text. Editions of a poem that differ in a "
        "character or two count as copies; whoever collects readings sets "
        "`clean.duplicates.similarity: null`. `web` is made for pages of the Web: a poem has too "
        "few words for it, a chapter with listings and formulas too many lines that repeat and "
        "words without letters. It warns of that, and these texts need `standard`.",
    ]
    for path, about in zip(files, TEXTS, strict=True):
        parts += [f"## {path.name}", about]
        for profile in PROFILES:
            with tempfile.TemporaryDirectory() as folder:
                corpus = Path(folder, "corpus")
                _clean(path, corpus, profile)
                parts += [f"### Profile {profile}", *_of(corpus)]
    return "\n\n".join(parts) + "\n"


def _clean(path: Path, corpus: Path, profile: str) -> None:
    command = [sys.executable, "-m", "llmctl", "clean", path.name, "-o", corpus, "--quiet"]
    subprocess.run(
        [*command, "--profile", profile],
        cwd=path.parent,
        stdout=subprocess.DEVNULL,
        check=True,
    )


def _of(corpus: Path) -> Iterator[str]:
    report = json.loads((corpus / "report.json").read_text(encoding="utf-8"))
    rows = [
        (
            "documents",
            report["documents"],
            report["kept_characters"] + report["dropped_characters"],
        ),
        ("kept", report["kept"], report["kept_characters"]),
        *(
            (f"`{rule}`", count, report["dropped_characters_by_rule"][rule])
            for rule, count in sorted(report["dropped"].items(), key=lambda each: -each[1])
        ),
    ]
    yield _table(
        ("", "documents", "characters"),
        [(name, f"{count:,}", f"{characters:,}") for name, count, characters in rows],
        "|---|---:|---:|",
    )
    dropped = sorted(_records(corpus, "dropped"), key=_draw)[:NUM_SAMPLES]
    if not dropped:
        yield "Nothing is dropped."
        return
    texts = _texts(corpus, {record["duplicate_of"] for record in dropped if _repeats(record)})
    yield _table(
        ("rule", "value", "threshold", "document"),
        [
            (
                f"`{record['rule']}`",
                f"{record['value']:.4g}",
                f"{record['threshold']:.4g}",
                _shown(record, texts),
            )
            for record in dropped
        ],
        "|---|---:|---:|---|",
    )


def _shown(record: Record, texts: dict[str, str]) -> str:
    shown = _named(record["id"], record["text"])
    if _repeats(record):
        other = record["duplicate_of"]
        shown += f"<br>repeats {_named(other, texts[other])}"
    return shown


def _named(identifier: str, text: str) -> str:
    beginning = text[:BEGINNING_CHARACTERS] + "…" * (len(text) > BEGINNING_CHARACTERS)
    return f"{_escaped(identifier)}: {_escaped(beginning.replace(chr(10), '⏎'))}"


def _texts(corpus: Path, identifiers: set[str]) -> dict[str, str]:
    return {
        record["id"]: record["text"]
        for prefix in ("documents", "dropped")
        for record in _records(corpus, prefix)
        if record["id"] in identifiers
    }


def _records(corpus: Path, prefix: str) -> Iterator[Record]:
    for path in sorted(corpus.glob(f"{prefix}-*.jsonl.zst")):
        yield from map(json.loads, read_lines(path))


def _draw(record: Record) -> bytes:
    return hashlib.sha256(record["id"].encode()).digest()


def _repeats(record: Record) -> bool:
    return "duplicate_of" in record


def _escaped(text: str) -> str:
    return _MARKUP.sub(lambda match: f"&#{ord(match[0])};", text)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], line: str) -> str:
    first = f"| {' | '.join(head)} |"
    return "\n".join([first, line, *(f"| {' | '.join(row)} |" for row in rows)])


if __name__ == "__main__":
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("poems", type=Path)
    words.add_argument("chapters", type=Path)
    given = words.parse_args()
    TARGET.write_text(page([given.poems, given.chapters]), encoding="utf-8")
