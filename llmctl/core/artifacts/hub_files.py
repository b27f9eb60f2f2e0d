"""A model directory in Hugging Face's layout, as bytes: JSON files, safetensors, a card.

Nothing in it is ever run: no pickle is opened, and a config that points to code of its
own is refused.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from llmctl.core import atomic
from llmctl.core.artifacts.hub_layout import (
    CARD_NAME,
    CONFIG_NAME,
    GENERATION_CONFIG_NAME,
    TOKENIZER_CONFIG_NAME,
    TOKENIZER_NAME,
    WEIGHTS_NAME,
    read_json,
)
from llmctl.core.errors import DataError, MissingInputError


@dataclass(frozen=True)
class HubFiles:
    """What is written beside the tensors.

    Attributes:
        config: Of the architecture.
        generation_config: Ids that begin and end a text.
        tokenizer_config: How transformers is to load the tokenizer.
        tokenizer_path: A tokenizer.json, copied.
        card: The README, Markdown.
    """

    config: Mapping[str, Any]
    generation_config: Mapping[str, Any]
    tokenizer_config: Mapping[str, Any]
    tokenizer_path: Path
    card: str


def write_hub_files(directory: Path, files: HubFiles, tensors: Mapping[str, Tensor]) -> None:
    """Write a model directory's files; the same arguments give the same bytes.

    Raises:
        OutputError: They cannot be created there.
        StorageError: The disk is full or failing.
    """
    with atomic.storage_errors(directory):
        atomic.require_space(directory, sum(tensor.nbytes for tensor in tensors.values()))
        jsons = {
            CONFIG_NAME: files.config,
            GENERATION_CONFIG_NAME: files.generation_config,
            TOKENIZER_CONFIG_NAME: files.tokenizer_config,
        }
        for name, content in jsons.items():
            text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
            _write(directory / name, text.encode())
        _write(directory / CARD_NAME, files.card.encode())
        shutil.copyfile(files.tokenizer_path, directory / TOKENIZER_NAME)
        atomic.observer("write", directory / TOKENIZER_NAME)
        contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        # Not save_file: it makes the file readable to its owner only, whatever the umask.
        data = safetensors.torch.save(contiguous, metadata={"format": "pt"})
        _write(directory / WEIGHTS_NAME, data)


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    atomic.observer("write", path)


def read_config(directory: Path) -> dict[str, Any]:
    """Return config.json.

    Raises:
        MissingInputError: There is none.
        DataError: It is no JSON object, or it asks for code of its own.
    """
    config = read_json(directory / CONFIG_NAME)
    tokenizer_config_path = directory / TOKENIZER_CONFIG_NAME
    asking = [directory / CONFIG_NAME] if "auto_map" in config else []
    if tokenizer_config_path.is_file() and "auto_map" in read_json(tokenizer_config_path):
        asking.append(tokenizer_config_path)
    if asking:
        raise DataError(
            f"{asking[0]}: auto_map asks to run code that comes with the model; "
            "llmctl runs none, and reads models of its own families only"
        )
    return config


def read_generation_config(directory: Path) -> dict[str, Any]:
    """Return generation_config.json; an empty one where there is none.

    Raises:
        DataError: It is no JSON object.
    """
    path = directory / GENERATION_CONFIG_NAME
    return read_json(path) if path.is_file() else {}


def tokenizer_pair(directory: Path) -> tuple[Path, Path] | None:
    """Return the paths of GPT-2's vocab.json and merges.txt where they stand alone."""
    pair = directory / "vocab.json", directory / "merges.txt"
    is_alone = not (directory / TOKENIZER_NAME).is_file()
    return pair if is_alone and all(path.is_file() for path in pair) else None


def tokenizer_file(directory: Path) -> Path:
    """Return the path of tokenizer.json.

    Raises:
        MissingInputError: There is none.
    """
    path = directory / TOKENIZER_NAME
    if not path.is_file():
        raise MissingInputError(f"{path}: not found; a model directory needs its tokenizer")
    return path
