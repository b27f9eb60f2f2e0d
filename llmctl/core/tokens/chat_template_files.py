"""A checkpoint's chat template as its files have it."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmctl.core.errors import DataError

TEMPLATE_NAME = "chat_template.jinja"
CONFIG_NAME = "tokenizer_config.json"
SPECIAL_TOKENS_NAME = "special_tokens_map.json"

MAX_TEMPLATE_BYTES = 2**20  # the longest in use have some 30,000
MAX_JSON_BYTES = 2**24
_MAX_QUOTED_CHARACTERS = 500
_TOKEN_NAMES = (
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
)


@dataclass(frozen=True)
class ChatTemplate:
    """A template and the special tokens it may name.

    Attributes:
        source: Jinja.
        special_tokens: bos_token, eos_token and their like → the token's text.
    """

    source: str
    special_tokens: Mapping[str, str]


def read_chat_template(directory: Path) -> ChatTemplate | None:
    """Return a model directory's chat template, or None where it has none.

    As transformers does: chat_template.jinja goes before tokenizer_config.json, in which the
    template named "default" is taken of several; special_tokens_map.json is read only where
    tokenizer_config.json does not list the added tokens, and then has the last word.

    Raises:
        DataError: A file is damaged, or larger than any sensible one.
    """
    config = _read_json(directory / CONFIG_NAME)
    source = _read_source(directory / TEMPLATE_NAME)
    if source is None:
        source = _configured_source(config.get("chat_template"), directory / CONFIG_NAME)
    if source is None:
        return None
    special_tokens = _token_texts(config)
    if "added_tokens_decoder" not in config:
        special_tokens |= _token_texts(_read_json(directory / SPECIAL_TOKENS_NAME))
    return ChatTemplate(source, special_tokens)


def _configured_source(found: object, path: Path) -> str | None:
    if isinstance(found, list):
        named = {
            entry["name"]: entry["template"]
            for entry in found
            if isinstance(entry, dict) and {"name", "template"} <= entry.keys()
        }
        if "default" not in named:
            names = ", ".join(map(str, named)) or "none"
            raise DataError(f"{path}: no chat template named default (names: {quoted(names)})")
        found = named["default"]
    if found is None or isinstance(found, str):
        return found
    raise DataError(
        f"{path}: chat_template: expected a string, or a list of objects with name and template"
    )


def _token_texts(config: Mapping[str, Any]) -> dict[str, str]:
    texts: dict[str, str] = {}
    for name in _TOKEN_NAMES:
        token = config.get(name)
        if isinstance(token, dict):
            token = token.get("content")
        if isinstance(token, str):
            texts[name] = token
    return texts


def _read_source(path: Path) -> str | None:
    content = _read(path, MAX_TEMPLATE_BYTES)
    if content is None:
        return None
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: damaged: not UTF-8 at byte {error.start:,}") from error


def _read_json(path: Path) -> dict[str, Any]:
    content = _read(path, MAX_JSON_BYTES)
    if content is None:
        return {}
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON: {error}") from error
    if not isinstance(found, dict):
        raise DataError(f"{path}: expected a JSON object, found a {type(found).__name__}")
    return found


def _read(path: Path, max_bytes: int) -> bytes | None:
    try:
        with path.open("rb") as handle:
            content = handle.read(max_bytes + 1)
            if len(content) > max_bytes:
                raise DataError(f"{path}: {too_large(path.stat().st_size, max_bytes)}")
            return content
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error


def too_large(num_bytes: int, max_bytes: int) -> str:
    """Say that something is longer than what is read."""
    return f"has {num_bytes:,} bytes; at most {max_bytes:,} are read"


def quoted(text: str) -> str:
    """Return a template's words on one line, short, and without a say over the terminal."""
    steering = ("Cc", "Cf", "Cs", "Zl", "Zp")
    shown = "".join(
        character.encode("unicode_escape").decode()
        if unicodedata.category(character) in steering
        else character
        for character in text[:_MAX_QUOTED_CHARACTERS]
    )
    return shown + "…" if len(text) > _MAX_QUOTED_CHARACTERS else shown
