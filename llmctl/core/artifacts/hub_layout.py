"""Which files make a model directory in Hugging Face's layout, and its JSON read with care.

Without torch: whether a model is there is asked by commands that never load one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from llmctl.core.errors import DataError, MissingInputError

CONFIG_NAME = "config.json"
GENERATION_CONFIG_NAME = "generation_config.json"
TOKENIZER_NAME = "tokenizer.json"
TOKENIZER_CONFIG_NAME = "tokenizer_config.json"
WEIGHTS_NAME = "model.safetensors"
INDEX_NAME = "model.safetensors.index.json"
CARD_NAME = "README.md"
# What tokenizer.json is made from where there is none: GPT-2 and its like.
BPE_NAMES = ("vocab.json", "merges.txt")
_ORIGINAL_BPE_NAMES = ("encoder.json", "vocab.bpe")  # as OpenAI wrote them
BPE_PAIRS = (BPE_NAMES, _ORIGINAL_BPE_NAMES)
RANKS_SUFFIX = ".tiktoken"
# Of Llama 3 a file of tiktoken ranks, of older models SentencePiece's.
MODEL_NAME = "tokenizer.model"
TOKENIZER_SETTINGS = (
    TOKENIZER_CONFIG_NAME,
    "special_tokens_map.json",
    GENERATION_CONFIG_NAME,
    CONFIG_NAME,
    "chat_template.jinja",
)
_LARGEST_JSON_BYTES = 16 * 2**20
_LARGEST_INDEX_BYTES = 64 * 2**20
_LONGEST_QUOTED = 100


def is_whole(directory: Path) -> bool:
    """Whether a directory holds a config, all its weights and a tokenizer.

    A damaged index counts as whole: reading the weights then says what is wrong with it.
    """
    names = {path.name for path in directory.iterdir()} if directory.is_dir() else set[str]()
    there = {name for name in names if (directory / name).is_file()}  # a link may lead nowhere
    return CONFIG_NAME in there and has_tokenizer(there) and _has_weights(directory, there)


def has_tokenizer(names: set[str]) -> bool:
    """Whether files of these names hold a tokenizer."""
    return TOKENIZER_NAME in names or names.issuperset(BPE_NAMES)


def vocabulary_names(names: set[str]) -> tuple[str, ...]:
    """Return which of a directory's files hold its vocabulary; none where nothing does."""
    if TOKENIZER_NAME in names:
        return (TOKENIZER_NAME,)
    for pair in BPE_PAIRS:
        if names.issuperset(pair):
            return pair
    ranks = [name for name in names if name.endswith(RANKS_SUFFIX)]
    if len(ranks) == 1:
        return (ranks[0],)
    return (MODEL_NAME,) if MODEL_NAME in names else ()


def vocabulary_files(directory: Path) -> tuple[Path, ...]:
    """Return the files of a directory that hold its vocabulary; none where nothing does."""
    there = directory.iterdir() if directory.is_dir() else ()
    names = vocabulary_names({path.name for path in there if path.is_file()})
    return tuple(directory / name for name in names)


def _has_weights(directory: Path, there: set[str]) -> bool:
    if WEIGHTS_NAME in there or INDEX_NAME not in there:
        return WEIGHTS_NAME in there
    try:
        return there.issuperset(read_index(directory / INDEX_NAME).values())
    except DataError:
        return True


def read_json(path: Path, largest_bytes: int = _LARGEST_JSON_BYTES) -> dict[str, Any]:
    """Return the JSON object that a file of a model directory holds.

    Raises:
        MissingInputError: There is no such file.
        DataError: It is no JSON object, or a larger one than any model needs.
    """
    try:
        with path.open("rb") as handle:
            data = handle.read(largest_bytes + 1)
        if len(data) > largest_bytes:
            raise DataError(f"{path}: too large; at most {largest_bytes:,} bytes are read")
        found = json.loads(data)
    except FileNotFoundError as error:
        raise MissingInputError(f"{path}: not found; is this a model directory?") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON: {error}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    if not isinstance(found, dict):
        raise DataError(f"{path}: expected a JSON object, found a {type(found).__name__}")
    return found


def read_index(path: Path) -> dict[str, str]:
    """Return name → the file in the index's directory that holds the tensor.

    Raises:
        DataError: It is no index, or names something else than files beside it.
    """
    weight_map = read_json(path, _LARGEST_INDEX_BYTES).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise DataError(f"{path}: expected a weight_map from tensors to files, found none")
    for file_name in weight_map.values():
        if not isinstance(file_name, str) or not _is_plain(file_name):
            raise DataError(
                f"{path}: weight_map names {quoted(file_name)}; expected the plain name of a "
                ".safetensors file beside it"
            )
    return weight_map


def _is_plain(file_name: str) -> bool:
    return not {"/", "\\", "\0"} & set(file_name) and file_name.endswith(".safetensors")


def quoted(found: object) -> str:
    """Return what a foreign file says so that it can neither steer a terminal nor fill it."""
    text = repr(found)
    return text if len(text) <= _LONGEST_QUOTED else f"{text[:_LONGEST_QUOTED]}…"
