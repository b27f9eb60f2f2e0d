"""How much memory training a tokenizer takes, told beforehand, and how much there is.

The library keeps every distinct piece as a list of symbols, and with every pair of symbols
the set of the pieces that it stands in. So memory grows with the bytes V of the distinct
pieces, which in n characters of text follow Heaps' law, V = K n^b, fitted to a probe.

Source of the law: Heaps 1978, Information Retrieval, section 7.5.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from llmctl.core.errors import LlmctlError
from llmctl.core.tokens.pretokenizer import pieces, segments
from llmctl.core.tokens.tokenizer_training import TrainingRequest

PASSAGE_CHARACTERS = 4096
PROBE_CHARACTERS = 2_000_000
PROBE_SHARE = 0.01
# What the library holds for each byte of a distinct piece. Peaks of training on 3 to 30 MB of
# real English, Chinese and both, with two ways of cutting, lie within a tenth of it.
BYTES_A_PIECE_BYTE = {"bpe": 112, "word": 10}
LEAST_BYTES = 25_000_000

MEMORY_INFO = Path("/proc/meminfo")
OWN_CGROUP = Path("/proc/self/cgroup")
CGROUPS = Path("/sys/fs/cgroup")
# The names in version 2 of the interface, and in version 1.
_CGROUP_FILES = (
    ("memory.max", "memory.current", "inactive_file "),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file "),
)


def require_memory(texts: Callable[[], Iterable[str]], request: TrainingRequest) -> None:
    """Refuse a training that the machine has not the memory for.

    Args:
        texts: Gives the texts, from the first.
        request: What is to be learnt from them.

    Raises:
        LlmctlError: It would take more than is available.
    """
    available = available_memory()
    if available is None:
        return
    needed = needed_memory(texts(), request)
    if needed > available:
        raise LlmctlError(
            f"training the tokenizer would take about {needed / 1e6:,.0f} MB of memory, and "
            f"{available / 1e6:,.0f} MB are available; lower tokenize.max_training_bytes"
        )


def needed_memory(texts: Iterable[str], request: TrainingRequest) -> int:
    """Return about how many bytes of memory training on the texts takes.

    Told from a hundredth of the text, taken from all over it, at least PROBE_CHARACTERS.
    """
    if request.kind not in BYTES_A_PIECE_BYTE:
        return LEAST_BYTES
    probe, num_characters = _probe(texts, request)
    part, rest = probe[::2], probe[1::2]
    part_characters, rest_characters = _characters(part), _characters(rest)
    if part_characters == 0:
        return LEAST_BYTES
    found: set[str] = set()
    part_bytes, whole_bytes = (_distinct_bytes(each, found, request) for each in (part, rest))
    probe_characters = part_characters + rest_characters
    distinct_bytes = _extrapolated(
        part_bytes,
        whole_bytes,
        probe_characters / part_characters,
        num_characters / probe_characters,
    )
    return LEAST_BYTES + int(BYTES_A_PIECE_BYTE[request.kind] * distinct_bytes)


def _probe(texts: Iterable[str], request: TrainingRequest) -> tuple[list[list[str]], int]:
    """Return passages from all over the texts, and the characters of all."""
    probe: list[list[str]] = []
    num_characters = probe_characters = 0
    every = 1
    for number, passage in enumerate(_passages(texts, request)):
        length = _characters([passage])
        num_characters += length
        if number % every:
            continue
        probe.append(passage)
        probe_characters += length
        # Thinned out as the text goes on, so that its length need not be known.
        if probe_characters > 2 * max(PROBE_CHARACTERS, PROBE_SHARE * num_characters):
            probe = probe[::2]
            probe_characters = _characters(probe)
            every *= 2
    return probe, num_characters


def _passages(texts: Iterable[str], request: TrainingRequest) -> Iterator[list[str]]:
    """Yield the texts in passages of one length, each a few texts or a part of one."""
    passage: list[str] = []
    length = 0
    for text in texts:
        for segment in segments(text, PASSAGE_CHARACTERS, request.pretokenizer):
            passage.append(segment)
            length += len(segment)
            if length >= PASSAGE_CHARACTERS:
                yield passage
                passage, length = [], 0
    yield passage


def _characters(passages: Iterable[list[str]]) -> int:
    return sum(len(text) for passage in passages for text in passage)


def _distinct_bytes(
    passages: Iterable[list[str]], found: set[str], request: TrainingRequest
) -> int:
    """Add the pieces of passages to those found, and return the bytes of all."""
    for passage in passages:
        for text in passage:
            found.update(pieces(text, request.pretokenizer))
    return sum(len(piece.encode("utf-8")) for piece in found)


def _extrapolated(part: float, whole: float, ratio: float, growth: float) -> float:
    """Return what a count becomes in a text `growth` times as long, by Heaps' law.

    Args:
        part: The count in a part of the text.
        whole: The count in the text, `ratio` times as long as the part.
        ratio: See above.
        growth: See above.
    """
    if ratio <= 1 or part <= 0:
        return whole * growth
    exponent = min(1.0, math.log(whole / part) / math.log(ratio))
    return whole * growth**exponent


def available_memory() -> int | None:
    """Return the bytes that this process can take before the machine swaps or ends it.

    What the kernel holds for available, or less where a control group allows less. None
    where the system does not tell.
    """
    found = [*_of_machine(), *_of_control_groups()]
    return min(found, default=None)


def _of_machine() -> Iterator[int]:
    for line in _content(MEMORY_INFO).splitlines():
        if line.startswith("MemAvailable:"):
            yield int(line.split()[1]) * 1024


def _of_control_groups() -> Iterator[int]:
    """Yield what the group of this process has left, and each group that it is part of."""
    for line in _content(OWN_CGROUP).splitlines():
        _, controllers, name = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        root = CGROUPS / controllers
        group = root / name.strip("/")
        for directory in (group, *group.parents):
            yield from _left_in(directory)
            if directory == root:
                break


def _left_in(directory: Path) -> Iterator[int]:
    for limit_name, usage_name, cache_name in _CGROUP_FILES:
        limit, usage = (_content(directory / name).strip() for name in (limit_name, usage_name))
        if not limit.isdecimal() or not usage.isdecimal():
            continue  # no such file, or "max"
        # Pages of files that were read and are not in use give way.
        statistics = _content(directory / "memory.stat").splitlines()
        cached = sum(int(line.split()[1]) for line in statistics if line.startswith(cache_name))
        yield int(limit) - int(usage) + cached


def _content(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
