"""`tokenize.from`: whatever holds a tokenizer, wherever it lies, as one that can be used."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import orjson

from llmctl.core.artifacts.hub_layout import (
    BPE_PAIRS,
    CONFIG_NAME,
    GENERATION_CONFIG_NAME,
    MODEL_NAME,
    TOKENIZER_SETTINGS,
    quoted,
    read_json,
    vocabulary_files,
)
from llmctl.core.artifacts.run_directory import find_tokenizer
from llmctl.core.errors import DataError, MissingInputError, RecipeError
from llmctl.core.progress import Progress
from llmctl.core.recipe import runs_directory, user_path
from llmctl.core.tokenize_plan import PretokenizerName
from llmctl.core.tokens.pretokenizer_patterns import PATTERNS
from llmctl.core.tokens.rank_file import is_rank_file, read_rank_file
from llmctl.core.tokens.tokenizer import END_OF_TEXT, Tokenizer

_KNOWN_ENDS = (END_OF_TEXT, "<|end_of_text|>", "</s>", "<eos>", "<|im_end|>")
_NUM_NEAR = 3
_LONGEST_LIST = 20


@dataclass(frozen=True)
class TokenizerSource:
    """A tokenizer that was named. It is opened when it is first asked for.

    Attributes:
        vocabulary: A tokenizer.json, or vocab.json and merges.txt, or a file of ranks.
        directory: The folder that belongs to it as a whole, None for a file on its own.
        pretokenizer: What cuts the text, by name, where the files do not tell.
        requested_end: The token that is to end a document, None for the tokenizer's own.
    """

    vocabulary: tuple[Path, ...]
    directory: Path | None = None
    pretokenizer: PretokenizerName | None = None
    requested_end: str | None = None

    @property
    def chat_template_directory(self) -> Path | None:
        """The folder that may hold a chat template."""
        return self.directory

    @property
    def files(self) -> list[Path]:
        """Every file whose content decides what the tokenizer is and what ends a document."""
        return [*self.vocabulary, *self._settings()]

    @cached_property
    def content(self) -> bytes:
        """The tokenizer as the content of a tokenizer.json; unchanged where it is one.

        Raises:
            MissingInputError: A file is not there.
            DataError: A file is damaged.
            RecipeError: It is not known how text is cut.
        """
        first = self.vocabulary[0]
        if len(self.vocabulary) > 1:
            pattern = PATTERNS[self.pretokenizer] if self.pretokenizer else None
            pair = Tokenizer.from_pair(*self.vocabulary, pattern=pattern)
            return pair.as_json().encode()
        if is_rank_file(first):
            return read_rank_file(first, pretokenizer=self.pretokenizer).encode()
        if self.pretokenizer is not None:
            raise RecipeError(
                f"tokenize.pretokenizer: {first} tells itself how text is cut; leave it out"
            )
        try:
            return first.read_bytes()
        except OSError as error:
            raise MissingInputError(f"{first}: cannot be read: {error.strerror}") from error

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer.

        Raises:
            MissingInputError: A file is not there.
            DataError: It is damaged, or of a kind that is not understood.
            RecipeError: It is not known how text is cut.
        """
        name = str(self.vocabulary[0])
        tokenizer = Tokenizer.from_json(self.content, name)
        for token in orjson.loads(self.content).get("added_tokens") or ():
            found = tokenizer.id_of(token["content"])
            if found != token["id"]:
                raise DataError(
                    f"{name}: damaged: it says that {quoted(token['content'])} is "
                    f"{token['id']:,}, but among its entries that is {found}"
                )
        return tokenizer

    @cached_property
    def end_token(self) -> str:
        """The name of the token that ends a document.

        Raises:
            RecipeError: The one that was asked for is not in the vocabulary, or there is none.
            DataError: A file is damaged.
        """
        tokenizer = self.tokenizer
        special = sorted(map(tokenizer.piece, tokenizer.special_ids))
        if self.requested_end is not None:
            if tokenizer.id_of(self.requested_end) is not None:
                return self.requested_end
            near = difflib.get_close_matches(self.requested_end, special, _NUM_NEAR, cutoff=0)
            raise RecipeError(
                f"tokenize.end_token: {self.requested_end!r} is not in the vocabulary of "
                f"{self.vocabulary[0]}; its special tokens are {', '.join(near) or 'none'}"
                + (" and others" if len(special) > len(near) else "")
            )
        for name in chain(self._named_ends(), _KNOWN_ENDS):
            if tokenizer.id_of(name) is not None:
                return name
        listed = ", ".join(special[:_LONGEST_LIST]) or "none"
        raise RecipeError(
            f"{self.vocabulary[0]} does not tell which token ends a document; name it with "
            f"tokenize.end_token (its special tokens: {listed})"
        )

    def _settings(self) -> list[Path]:
        """The files of the directory that say more of the tokenizer."""
        if self.directory is None:
            return []
        paths = (self.directory / name for name in TOKENIZER_SETTINGS)
        return [path for path in paths if path.is_file()]

    def _named_ends(self) -> Iterator[str]:
        for path in self._settings():
            if path.suffix != ".json":
                continue
            settings = read_json(path)
            if path.name in (GENERATION_CONFIG_NAME, CONFIG_NAME):
                yield from self._end_by_id(settings)
            else:
                end = settings.get("eos_token")
                name = end.get("content") if isinstance(end, dict) else end
                if isinstance(name, str):
                    yield name

    def _end_by_id(self, settings: Mapping[str, Any]) -> Iterator[str]:
        ends = settings.get("eos_token_id")
        first = ends[0] if isinstance(ends, list) and ends else ends
        if isinstance(first, int) and first in self.tokenizer.special_ids:
            yield self.tokenizer.piece(first)


def resolve_tokenizer(
    reference: str,
    base: Path,
    *,
    end_token: str | None = None,
    pretokenizer: PretokenizerName | None = None,
    progress: Progress | None = None,
) -> TokenizerSource:
    """Find the tokenizer that a recipe names.

    Args:
        reference: A tokenizer.json under any name; vocab.json or merges.txt, the other beside
            it; a file of tiktoken ranks; a directory with any of these, such as a model or
            shards; a run's name; a Hub id, of which only the tokenizer is downloaded.
        base: What a relative path begins at: the recipe's folder.
        end_token: Ends each document; None: what belongs to the tokenizer.
        pretokenizer: What cuts the text, for files that do not tell.
        progress: Told of a download.

    Raises:
        MissingInputError: It is not there; the message says what was looked for.
        DataError: It is something else than a tokenizer that is read.
        OutputError: The Hub's cache cannot be written.
        StorageError: The disk is full or failing.
    """
    path = base / user_path(reference)
    if path.is_file():
        vocabulary = _with_its_other_half(path)
        belongs = path.name in {*chain.from_iterable(BPE_PAIRS), "tokenizer.json", MODEL_NAME}
        directory = path.parent if belongs else None
    else:
        directory = find_tokenizer(reference, runs_directory(), progress, base=base)
        vocabulary = vocabulary_files(directory)
    if len(vocabulary) == 1:
        _refuse_other_kinds(vocabulary[0])
    return TokenizerSource(vocabulary, directory, pretokenizer, end_token)


def _with_its_other_half(path: Path) -> tuple[Path, ...]:
    for names in BPE_PAIRS:
        if path.name in names:
            pair = tuple(path.with_name(name) for name in names)
            missing = [half for half in pair if not half.is_file()]
            if missing:
                raise MissingInputError(
                    f"{path}: {missing[0].name} is not beside it; one is nothing without the other"
                )
            return pair
    return (path,)


def _refuse_other_kinds(path: Path) -> None:
    """Raise DataError for what is neither a tokenizer.json nor a file of ranks."""
    try:
        with path.open("rb") as handle:
            beginning = handle.read(1 << 12)
    except OSError as error:
        raise MissingInputError(f"{path}: cannot be read: {error.strerror}") from error
    if beginning.lstrip().startswith(b"{") or is_rank_file(path):
        return
    # A protobuf whose first field, the list of pieces, is a message.
    if path.suffix == ".model" or (beginning[:1] == b"\n" and b"<unk>" in beginning):
        raise DataError(
            f"{path}: a SentencePiece model, which is not read; write it as a tokenizer.json with "
            "transformers: AutoTokenizer.from_pretrained(DIRECTORY).save_pretrained(DIRECTORY)"
        )
    raise DataError(
        f"{path}: no tokenizer: expected a tokenizer.json, vocab.json with merges.txt, or a file "
        f"of tiktoken ranks; it begins {beginning[:20]!r}"
    )
