"""Files of tiktoken ranks → tokenizer.json: the merges are found again from the ranks.

A rank file holds a token's bytes in base64 and its rank, which is its id, on each line. It
names no merges, no pattern that cuts the text, and no special tokens.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from llmctl.core.errors import DataError, MissingInputError, RecipeError
from llmctl.core.tokens.pretokenizer_patterns import PATTERNS
from llmctl.core.tokens.token_decoder import byte_characters
from llmctl.core.tokens.tokenizer_training import END_OF_TEXT, NUM_BYTES

if TYPE_CHECKING:
    from llmctl.core.tokenize_plan import PretokenizerName

_LINE = re.compile(rb"([A-Za-z0-9+/]+={0,2}) ([0-9]{1,10})")
_MAX_ID = 2**32 - 1
_LONGEST_QUOTED = 40


@dataclass(frozen=True, slots=True)
class _Published:
    """A rank file that is known by its name and the number of its ranks."""

    name: str
    num_ranks: int
    pretokenizer: PretokenizerName
    special_tokens: Mapping[str, int] = field(default_factory=dict[str, int])


# Sources: tiktoken's openai_public.py; tokenization_qwen.py of Qwen-7B; tokenizer.py of Llama 3.
_PUBLISHED = (
    _Published("gpt2|r50k", 50_256, "gpt2", {END_OF_TEXT: 50_256}),
    _Published("p50k", 50_280, "gpt2", {END_OF_TEXT: 50_256}),
    _Published(
        "cl100k",
        100_256,
        "cl100k",
        {
            END_OF_TEXT: 100_257,
            "<|fim_prefix|>": 100_258,
            "<|fim_middle|>": 100_259,
            "<|fim_suffix|>": 100_260,
            "<|endofprompt|>": 100_276,
        },
    ),
    _Published("o200k", 199_998, "o200k", {END_OF_TEXT: 199_999, "<|endofprompt|>": 200_018}),
    _Published(
        "qwen",
        151_643,
        "qwen2",
        {END_OF_TEXT: 151_643, "<|im_start|>": 151_644, "<|im_end|>": 151_645},
    ),
    _Published(
        r"tokenizer\.model|llama",
        128_000,
        "llama3",
        {
            "<|begin_of_text|>": 128_000,
            "<|end_of_text|>": 128_001,
            "<|start_header_id|>": 128_006,
            "<|end_header_id|>": 128_007,
            "<|eot_id|>": 128_009,
        },
    ),
)


def _published(name: str, num_ranks: int) -> _Published | None:
    for each in _PUBLISHED:
        if each.num_ranks == num_ranks and re.search(each.name, name, re.IGNORECASE):
            return each
    return None


def is_rank_file(path: Path) -> bool:
    """Whether a file begins as a rank file does."""
    try:
        with path.open("rb") as handle:
            first = handle.readline(1 << 16)
    except OSError:
        return False
    return _LINE.fullmatch(first.rstrip()) is not None


def read_rank_file(path: Path, *, pretokenizer: PretokenizerName | None = None) -> str:
    """Return a rank file as the content of a tokenizer.json.

    A published file, known by its name and size, gets its special tokens at their published
    ids; any other END_OF_TEXT at the first id that is free.

    Args:
        path: The file.
        pretokenizer: What cuts the text, by its name in `PATTERNS`; None for what belongs to
            a published file.

    Raises:
        MissingInputError: It is not there.
        DataError: It is damaged, or no rank file.
        RecipeError: It is no published file, and the pretokenizer is not named.
    """
    ranks = _read_ranks(path)
    published = _published(path.name, len(ranks))
    if pretokenizer is None and published is None:
        raise RecipeError(
            f"{path}: a file of {len(ranks):,} ranks does not tell how text is cut before merging; "
            f"name it with tokenize.pretokenizer: {', '.join(PATTERNS)}"
        )
    if pretokenizer is None and published is not None:
        pretokenizer = published.pretokenizer
    specials = published.special_tokens if published else {END_OF_TEXT: max(ranks.values()) + 1}
    return _tokenizer_json(ranks, PATTERNS[pretokenizer or "llmctl"], specials)


def _read_ranks(path: Path) -> dict[bytes, int]:
    """Return the rank of each token, in order.

    Raises:
        MissingInputError: It is not there.
        DataError: It is damaged, or no rank file.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise MissingInputError(f"{path}: cannot be read: {error.strerror}") from error
    token_of: dict[int, bytes] = {}
    for number, line in enumerate(content.splitlines(), 1):
        if not line:
            continue
        match = _LINE.fullmatch(line)
        try:
            token = base64.b64decode(match[1], validate=True) if match else b""
        except binascii.Error:
            token = b""
        if not match or not token:
            raise DataError(
                f"{path}:{number}: expected a token in base64 and its rank, found "
                f"{line[:_LONGEST_QUOTED]!r}"
            )
        rank = int(match[2])
        if rank >= _MAX_ID:
            raise DataError(f"{path}:{number}: the rank {rank:,} is beyond 32 bits")
        if rank in token_of:
            raise DataError(f"{path}:{number}: the rank {rank:,} comes twice")
        token_of[rank] = token
    ranks = {token: rank for rank, token in sorted(token_of.items())}
    if len(ranks) < len(token_of):
        raise DataError(f"{path}: {len(token_of) - len(ranks):,} tokens come twice")
    missing = [byte for byte in range(NUM_BYTES) if bytes([byte]) not in ranks]
    if missing:
        raise DataError(
            f"{path}: damaged: no token for the byte 0x{missing[0]:02x} and "
            f"{len(missing) - 1} others"
        )
    return ranks


def _merge_of(token: bytes, ranks: Mapping[bytes, int]) -> tuple[bytes, bytes] | None:
    """Return the two tokens that are merged into one, None where no merges lead to it.

    They are what is left of its bytes by the merges of lower ranks, the lowest first.
    """
    limit = ranks[token]
    parts = [token[index : index + 1] for index in range(len(token))]
    while len(parts) > 2:
        found = [ranks.get(left + right, limit) for left, right in pairwise(parts)]
        lowest = min(found)
        if lowest >= limit:
            return None
        index = found.index(lowest)
        parts[index : index + 2] = [parts[index] + parts[index + 1]]
    return parts[0], parts[1]


def _tokenizer_json(ranks: Mapping[bytes, int], pattern: str, specials: Mapping[str, int]) -> str:
    characters = byte_characters()
    names = {token: "".join(map(characters.__getitem__, token)) for token in ranks}
    merges = [_merge_of(token, ranks) for token in ranks if len(token) > 1]
    # A token that no merges lead to is found where it is a whole piece: ignore_merges.
    model = {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": True,
        "vocab": {names[token]: rank for token, rank in ranks.items()} | dict(specials),
        "merges": [[names[merge[0]], names[merge[1]]] for merge in merges if merge],
    }
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated"}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    content = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": token, "content": name, **flags, "special": True}
            for name, token in specials.items()
        ],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [split | {"invert": False}, byte_level | {"use_regex": False}],
        },
        "post_processor": None,
        "decoder": byte_level | {"use_regex": True},
        "model": model,
    }
    return json.dumps(content, ensure_ascii=False)
