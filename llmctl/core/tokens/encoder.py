"""Many texts → ids: by tiktoken where its ids are proved equal, else by `tokenizers`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import tiktoken
from numpy.typing import NDArray

from llmctl.core.errors import DataError, MissingInputError
from llmctl.core.tokens.encoding_errors import encoding_errors
from llmctl.core.tokens.pretokenizer_patterns import PATTERNS
from llmctl.core.tokens.token_decoder import byte_characters
from llmctl.core.tokens.tokenizer import Tokenizer

_BYTE_OF = {character: byte for byte, character in byte_characters().items()}

Ids = tuple[NDArray[np.uint32], NDArray[np.int64]]


class EncodersDiffer(Exception):
    """Two encoders gave different ids for one text: the faster one must not be used."""


class Encoder(ABC):
    """Texts to ids. Special tokens in a text stay text, and none is added.

    Attributes:
        name: The library that does it.
    """

    name: str

    @abstractmethod
    def encode(self, texts: Sequence[str]) -> Ids:
        """Return the ids of all texts, one after the other, and how many each text has.

        Raises:
            DataError: A text cannot be encoded; see `Tokenizer.encode`.
        """

    @abstractmethod
    def check(self, texts: Sequence[str]) -> None:
        """Compare the ids of some texts with those of `tokenizers`.

        Raises:
            EncodersDiffer: They are not the same.
            DataError: A text cannot be encoded.
        """


class LibraryEncoder(Encoder):
    """The `tokenizers` library, which knows every tokenizer.json and needs no proof.

    Args:
        tokenizer_json: The file.

    Raises:
        MissingInputError: It is not there.
        DataError: It is damaged, or of a kind that is not understood.
    """

    name = "tokenizers"

    def __init__(self, tokenizer_json: Path) -> None:
        self._tokenizer = Tokenizer.from_file(tokenizer_json)

    def encode(self, texts: Sequence[str]) -> Ids:
        """Return the ids of all texts, and how many each text has; see `Encoder.encode`."""
        found = self._tokenizer.encode_batch(texts)
        lengths = np.fromiter(map(len, found), np.int64, len(found))
        ids = np.fromiter(chain.from_iterable(found), np.uint32, int(lengths.sum()))
        return ids, lengths

    def check(self, texts: Sequence[str]) -> None:
        """Do nothing: the ids are those of `tokenizers`."""


class TiktokenEncoder(Encoder):
    """tiktoken with the same merges; `encoder_proof` tells whether its ids are the same.

    Args:
        tokenizer_json: The file.

    Raises:
        MissingInputError: It is not there.
        DataError: It is damaged, or of a kind that tiktoken does not know.
    """

    name = "tiktoken"

    def __init__(self, tokenizer_json: Path) -> None:
        self._path = tokenizer_json
        state = read_state(tokenizer_json)
        pattern = cutting_pattern(state)
        if pattern is None:
            raise DataError(f"{tokenizer_json}: not cut by one pattern, as tiktoken does it")
        try:
            self._encoding = tiktoken.Encoding(
                "llmctl",
                pat_str=pattern,
                mergeable_ranks=mergeable_ranks(state["model"]),
                special_tokens={},
            )
        except Exception as error:  # the library raises nothing more exact
            raise DataError(f"{tokenizer_json}: tiktoken does not take it: {error}") from error

    def encode(self, texts: Sequence[str]) -> Ids:
        """Return the ids of all texts, and how many each text has; see `Encoder.encode`."""
        # Measured: lists into an array take 6 ns a token; encode_to_numpy takes 7 us more a text,
        # and a third more time for long ones.
        ids = array("I")
        lengths = np.empty(len(texts), np.int64)
        encode = self._encoding.encode_ordinary
        with encoding_errors(texts, str(self._path), encode):
            for index, text in enumerate(texts):
                text.encode()  # tiktoken replaces half characters; they are refused
                found = encode(text)
                ids.extend(found)
                lengths[index] = len(found)
        return np.frombuffer(ids, np.uint32) if ids else np.empty(0, np.uint32), lengths

    def check(self, texts: Sequence[str]) -> None:
        """Compare with `tokenizers`; see `Encoder.check`."""
        ids, lengths = self.encode(texts)
        expected_ids, expected_lengths = LibraryEncoder(self._path).encode(texts)
        if np.array_equal(lengths, expected_lengths) and np.array_equal(ids, expected_ids):
            return
        if len(texts) == 1:
            raise EncodersDiffer(
                f"{self._path}: tiktoken and tokenizers differ on {texts[0]!r:.100}"
            )
        for text in texts:
            self.check([text])


def read_state(tokenizer_json: Path) -> dict[str, Any]:
    """Return the content of a tokenizer.json.

    Raises:
        MissingInputError: It is not there.
        DataError: It is no JSON object with a model.
    """
    try:
        state = orjson.loads(tokenizer_json.read_bytes())
    except OSError as error:
        raise MissingInputError(f"{tokenizer_json}: cannot be read: {error.strerror}") from error
    except orjson.JSONDecodeError as error:
        raise DataError(f"{tokenizer_json}: damaged, or no tokenizer.json: {error}") from error
    if not isinstance(state, dict) or not isinstance(state.get("model"), dict):
        raise DataError(f"{tokenizer_json}: damaged, or no tokenizer.json: it has no model")
    return state


def cutting_pattern(state: Mapping[str, Any]) -> str | None:
    """Return the one regular expression that cuts text for a byte-level model; None without."""
    match state.get("pre_tokenizer"):
        case {"type": "ByteLevel", "add_prefix_space": False, **rest}:
            return PATTERNS["gpt2"] if rest.get("use_regex", True) else None
        case {
            "type": "Sequence",
            "pretokenizers": [
                {
                    "type": "Split",
                    "pattern": {"Regex": str(pattern)},
                    "behavior": "Isolated",
                    "invert": False,
                },
                {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
            ],
        }:
            return pattern
        case _:
            return None


def merge_pairs(model: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return a BPE model's merges, the first to be done first."""
    # Files of before 2024 write a merge as "a b".
    pairs = (merge.split(" ", 1) if isinstance(merge, str) else merge for merge in model["merges"])
    return [(left, right) for left, right in pairs]


def mergeable_ranks(model: Mapping[str, Any]) -> dict[bytes, int]:
    """Return what tiktoken is to know of a byte-level BPE model: the bytes of tokens → ids.

    Those are the single bytes and what merges make; where whole pieces are looked up before
    anything is merged (ignore_merges), all entries that consist of bytes.
    """
    vocab = model["vocab"]
    entries = (
        vocab if model.get("ignore_merges") else {*_BYTE_OF, *map("".join, merge_pairs(model))}
    )
    ranks: dict[bytes, int] = {}
    for entry in entries:
        try:
            ranks[bytes(map(_BYTE_OF.__getitem__, entry))] = vocab[entry]
        except KeyError:  # no bytes, such as a special token in Chinese; or no entry
            continue
    return ranks
