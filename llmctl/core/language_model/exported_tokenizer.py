"""The tokenizer_config.json of an exported model: how transformers is to load tokenizer.json."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmctl.core.artifacts import hub_files
from llmctl.core.language_model.language_model import ModelFiles
from llmctl.core.tokens.chat_template_files import (
    SPECIAL_TOKENS_NAME,
    TEMPLATE_NAME,
    read_chat_template,
)
from llmctl.core.tokens.tokenizer import Tokenizer

# Paths on the machine of whoever wrote it.
_DROPPED = ("name_or_path", "tokenizer_file", "special_tokens_map_file", "vocab_file")
_SPECIAL_TOKENS = ("bos_token", "eos_token", "pad_token", "unk_token")
# transformers writes 1e30 for "unknown".
_LONGEST_TOKENS = 2**31 - 1


def exported_tokenizer_config(files: ModelFiles, tokenizer: Tokenizer) -> dict[str, Any]:
    """Return the tokenizer_config.json to be written beside a tokenizer.json.

    The fields of the original stay, but for the class: that of transformers which takes
    tokenizer.json at its word, by the name that every version knows.

    Args:
        files: The original.
        tokenizer: Its tokenizer.

    Raises:
        DataError: A file is damaged.
    """
    directory = files.directory
    found = _read(directory / hub_files.TOKENIZER_CONFIG_NAME)
    written = {name: value for name, value in found.items() if name not in _DROPPED}
    written |= {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    for name, token in _special_tokens(files, tokenizer).items():
        written.setdefault(name, token)
    longest = written.get("model_max_length")
    if not isinstance(longest, int) or not 0 < longest <= _LONGEST_TOKENS:
        written["model_max_length"] = files.architecture.context_tokens
    # As a list, transformers 4 knows them by their former name only, and fails on the other.
    if isinstance(written.get("extra_special_tokens"), list):
        written.setdefault("additional_special_tokens", written.pop("extra_special_tokens"))
    if (directory / TEMPLATE_NAME).is_file():
        template = read_chat_template(directory)
        assert template is not None  # it is there
        written["chat_template"] = template.source  # for readers that know no file of its own
    return written


def _special_tokens(files: ModelFiles, tokenizer: Tokenizer) -> dict[str, str]:
    """Return the special tokens that the other files of the model name, by their role."""
    tokens: dict[str, str] = {}
    for name, token in _read(files.directory / SPECIAL_TOKENS_NAME).items():
        content = token.get("content") if isinstance(token, Mapping) else token
        if name in _SPECIAL_TOKENS and isinstance(content, str):
            tokens[name] = content
    configs = (hub_files.read_generation_config(files.directory), files.config)
    ids = {name: _first_ids(f"{name}_id", configs) for name in _SPECIAL_TOKENS}
    # Padding that is the end would keep whoever trains the model from learning the end.
    if set(ids["pad_token"]) <= set(ids["eos_token"]):
        ids["pad_token"] = []
    for name, found in ids.items():
        if found and found[0] in tokenizer.special_ids:
            tokens.setdefault(name, tokenizer.piece(found[0]))
    return tokens


def _first_ids(name: str, configs: tuple[Mapping[str, Any], ...]) -> list[int]:
    for config in configs:
        if config.get(name) is not None:
            value = config[name]
            return value if isinstance(value, list) else [value]
    return []


def _read(path: Path) -> dict[str, Any]:
    return hub_files.read_json(path) if path.is_file() else {}
