"""Splitting text into words: quickly for the web profiles, as spaCy and jieba do for parity.

A splitter works in two steps, so that the costly one is done once for each different piece:
the text falls into pieces, and a piece into words. White space is never part of a word.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from llmctl.core.errors import MissingInputError
from llmctl.core.text.words import UNSPACED

_SURROGATE = re.compile("[\ud800-\udfff]")
_MOST_KNOWN_CHANGES = 10_000
_END_CHARACTERS = 16
_ONE_WORD = re.compile(r"[A-Za-z0-9_]+")
# Letters and underscores, hyphens between letters, or digits, with few signs around them: what
# spaCy's English takes apart at just these places. ")" before ":" is its emoticon, and a point
# after a single capital its initial.
_PLAIN = re.compile(
    r"([(\[\"`*]?)"
    r"([A-Za-z]{2,}(?:_[A-Za-z]+)*(?:-[A-Za-z]{2,}(?:_[A-Za-z]+)*)*|[0-9]+)"
    r"([)\]\"`*]?)"
    r"((?:(?<![)\]\"`*])[:!?]|(?:(?<![A-Z])|(?<=[A-Z][A-Z]))\.|[,;])?)"
)


class Splitter(Protocol):
    """How text becomes words."""

    @property
    def splits_at_spaces(self) -> bool:
        """Whether the pieces are those of `str.split`."""
        ...

    def pieces(self, text: str) -> list[str]:
        """Return the pieces of a text in order."""
        ...

    def split(self, pieces: Sequence[str]) -> list[Sequence[str]]:
        """Return the words of each of some pieces."""
        ...

    def joints(self) -> frozenset[tuple[str, str]]:
        """Return the last word of a piece and the first of the next that may change the words.

        Only where one of the pieces has several words.
        """
        ...

    def changes(self, pieces: Sequence[str], words: Sequence[str]) -> bool:
        """Return whether neighbours, a space apart, have other words than each for itself."""
        ...


class NativeSplitter:
    """Words of any script that uses spaces, by one expression; each character of the others.

    A word keeps its inner points and apostrophes (`U.S`, `don't`, `3.14`); of what is between
    words, each run of the same sign is a word, as in the tokenizers that the published
    thresholds were made with. Addresses are one word.
    """

    splits_at_spaces = True

    _LETTERS = f"(?:(?![{UNSPACED}])[^\\W_])+"
    _WORD = re.compile(
        f"(?:https?://|www\\.)[^\\s{UNSPACED}]+"
        f"|[{UNSPACED}]"
        f"|{_LETTERS}(?:['’.]{_LETTERS})*"
        r"|(?P<sign>[^\w\s]|_)(?P=sign)*"
        r"|\S"
    )

    def pieces(self, text: str) -> list[str]:
        """Return what white space separates."""
        return text.split()

    def split(self, pieces: Sequence[str]) -> list[Sequence[str]]:
        """Return the words of each piece."""
        find = self._WORD.finditer
        return [
            (piece,)
            if piece.isascii() and piece.isalnum()
            else [match.group() for match in find(piece)]
            for piece in pieces
        ]

    def joints(self) -> frozenset[tuple[str, str]]:
        """Return none: a piece's words are its own."""
        return frozenset()

    def changes(self, pieces: Sequence[str], words: Sequence[str]) -> bool:
        """Return False."""
        return False


class SpacySplitter:
    """The words of spaCy's blank pipeline of a language, white space left out.

    spaCy splits at white space first. Pieces meet again only in its last step, where rules
    such as ":)" are sought among the finished words: a rule found across a single space
    changes nothing itself, but hides a rule that overlaps it within a piece.

    Source: spaCy 3.8, tokenizer.pyx, `_tokenize_affixes` and `_apply_special_cases`.

    Args:
        language: As spaCy names it; "xx" for any.

    Raises:
        MissingInputError: spaCy is not installed.
    """

    splits_at_spaces = True

    def __init__(self, language: str) -> None:
        with _without_torch():
            spacy: Any = _required("spacy", "fineweb", "split words as spaCy does")
        self._tokenizer: Any = spacy.blank(language).tokenizer
        if language == "en":
            _quicken(self._tokenizer)
        self._known_changes: dict[tuple[str, ...], bool] = {}
        self._is_english = language == "en"
        self._in_rules: set[str] = set()
        self._made_by_rules: set[str] = set()
        self._joints = self._find_joints()
        # What spaCy knows of a word beside its letters is not asked for here.
        self._tokenizer.vocab.lex_attr_getters.clear()

    def _find_joints(self) -> frozenset[tuple[str, str]]:
        tokenizer = self._tokenizer
        without_rules: Any = type(tokenizer)(
            tokenizer.vocab,
            rules=None,
            prefix_search=tokenizer.prefix_search,
            suffix_search=tokenizer.suffix_search,
            infix_finditer=tokenizer.infix_finditer,
            token_match=tokenizer.token_match,
            url_match=tokenizer.url_match,
        )
        joints: set[tuple[str, str]] = set()
        last_made_of: dict[str, set[str]] = {}
        first_made_of: dict[str, set[str]] = {}
        for rule in tokenizer.rules:
            sought = [word.text for word in without_rules(rule) if not word.is_space]
            self._in_rules.update((rule, *sought))
            if len(sought) > 1:
                made = [word.text for word in tokenizer(rule)]
                self._made_by_rules.update(made)
                joints.update(pairwise(sought))
                last_made_of.setdefault(sought[-1], {sought[-1]}).add(made[-1])
                first_made_of.setdefault(sought[0], {sought[0]}).add(made[0])
        return frozenset(
            (last, first)
            for before, after in joints
            for last in last_made_of.get(before, {before})
            for first in first_made_of.get(after, {after})
        )

    def pieces(self, text: str) -> list[str]:
        """Return what white space separates."""
        return text.split()

    def split(self, pieces: Sequence[str]) -> list[Sequence[str]]:
        """Return spaCy's words of each piece, asking it once for all that are not plain."""
        if not self._is_english:
            return self._ask(pieces)
        plain = [self._plain(piece) for piece in pieces]
        others = iter(
            self._ask([piece for piece, words in zip(pieces, plain, strict=True) if words is None])
        )
        return [next(others) if words is None else words for words in plain]

    def _plain(self, piece: str) -> Sequence[str] | None:
        """Return the words of a piece whose every word is plainly one to spaCy's English."""
        match = _PLAIN.fullmatch(piece)
        if match is None:
            return None
        opening, core, closing, end = match.groups()
        words = core.split("-")
        if not self._in_rules.isdisjoint(words):
            return None
        if len(words) > 1:
            words = [word for part in words for word in (part, "-")][:-1]
        return [word for word in (opening, *words, closing, end) if word]

    def _ask(self, pieces: Sequence[str]) -> list[Sequence[str]]:
        if not pieces:
            return []
        text = _encodable("\n".join(pieces))
        vocab = self._tokenizer.vocab
        # Words of this call only: spaCy would keep each for ever.
        with vocab.memory_zone():
            shape = self._tokenizer(text).to_array(["LENGTH", "SPACY"]).astype(np.int64)
        ends = np.cumsum(shape.sum(axis=1))
        starts = ends - shape.sum(axis=1)
        words = [
            text[start:end]
            for start, end in zip(starts.tolist(), (starts + shape[:, 0]).tolist(), strict=True)
        ]
        # A line feed is a token of its own, and no rule reaches across it.
        result: list[Sequence[str]] = []
        start = 0
        for _ in range(len(pieces) - 1):
            end = words.index("\n", start)
            result.append(words[start:end])
            start = end + 1
        result.append(words[start:])
        return result

    def joints(self) -> frozenset[tuple[str, str]]:
        """Return the neighbouring words within the rules that are sought at the end.

        They are sought among the words that a piece had before that step, so those that the
        step itself may have made stand here for what they were made of. A piece of one word
        had one before: where it is a rule itself, it was never taken apart.
        """
        return self._joints

    def changes(self, pieces: Sequence[str], words: Sequence[str]) -> bool:
        """Return whether spaces between the pieces are not the same as lines between them.

        Where no word is one that a rule makes, no rule applies within a piece.
        """
        if self._made_by_rules.isdisjoint(words):
            return False
        key = tuple(pieces)
        if key not in self._known_changes:
            if len(self._known_changes) > _MOST_KNOWN_CHANGES:
                self._known_changes.clear()
            (together,) = self._ask([" ".join(pieces)])
            self._known_changes[key] = list(together) != list(words)
        return self._known_changes[key]


def _quicken(tokenizer: Any) -> None:
    """Let spaCy's English expressions look only where they can match: half the time.

    They are a list of signs each tried at each place, those of a beginning too. The longest end
    that is looked for, but for a run of points, is shorter than `_END_CHARACTERS`.
    """
    match_beginning = tokenizer.prefix_search.__self__.match
    search_end = tokenizer.suffix_search.__self__.search
    match_address = tokenizer.url_match
    find_inner = tokenizer.infix_finditer

    def search_only_end(text: str) -> re.Match[str] | None:
        if len(text) > _END_CHARACTERS and text[-1] != ".":
            return search_end(text, len(text) - _END_CHARACTERS)
        return search_end(text)

    tokenizer.prefix_search = match_beginning
    tokenizer.suffix_search = search_only_end
    tokenizer.url_match = lambda text: match_address(text) if "." in text else None
    tokenizer.infix_finditer = lambda text: () if _ONE_WORD.fullmatch(text) else find_inner(text)


class ChineseSplitter:
    """The words of jieba 0.42, by rjieba, which is some twenty times as fast.

    Beside jieba's own, rjieba takes rarer Han characters for parts of words and leaves runs
    such as `env.yml` whole: the text is cut at the former first, the latter afterwards.

    Source: jieba 0.42.1, `__init__.py` and `finalseg/__init__.py`, the expressions there.
    """

    splits_at_spaces = False

    _RARE = re.compile("([\u3400-\u4dbf\u9fd6-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])")
    _PART = re.compile(
        r"[a-zA-Z0-9]+(?:\.\d+)?%?|[\u4e00-\u9fd5]+|[+#&._%\-]+|.", re.DOTALL | re.ASCII
    )
    # jieba's entries of letters and Han, or with signs; the others are of one kind.
    _WHOLE = frozenset(
        re.findall(
            r"\S+",
            "AT&T c# C# c++ C++ B超 T恤 A座 A股 A型 A轮 AA制 AB型 B座 B股 B型 B轮 BB机 BP机 "
            "C盘 C座 C语言 CD盒 CD机 CALL机 D盘 D座 D版 E盘 E座 E化 E通 F盘 F座 G盘 H盘 H股 "
            "I盘 IC卡 IP卡 IP电话 IP地址 K党 K歌之王 N年 O型 PC机 PH值 SIM卡 U盘 VISA卡 Z盘 "
            "Q版 QQ号 RSS订阅 T盘 X光 X光线 X射线 T恤衫 T型台 T台 4S店 4s店 江南style "
            "江南Style 1号店 小S 大S 阿Q",
        )
    )

    def __init__(self) -> None:
        rjieba: Any = importlib.import_module("rjieba")
        self._cut: Callable[[str], list[str]] = rjieba.cut

    def pieces(self, text: str) -> list[str]:
        """Return rjieba's words and the white space between them."""
        text = _encodable(text)
        if text.isascii() or not self._RARE.search(text):
            return self._cut(text)
        return [
            piece
            for part in self._RARE.split(text)
            if part
            for piece in (self._cut(part) if len(part) > 1 else (part,))
        ]

    def split(self, pieces: Sequence[str]) -> list[Sequence[str]]:
        """Return jieba's words of each piece; none of white space."""
        return [
            ([piece] if piece.strip() else [])
            if len(piece) == 1 or piece in self._WHOLE
            else [part for part in self._PART.findall(piece) if part.strip()]
            for piece in pieces
        ]

    def joints(self) -> frozenset[tuple[str, str]]:
        """Return none: a piece's words are its own."""
        return frozenset()

    def changes(self, pieces: Sequence[str], words: Sequence[str]) -> bool:
        """Return False."""
        return False


class JapaneseSplitter:
    """The words of Sudachi in its shortest units, white space left out.

    Source: Takaoka et al. 2018, Sudachi: a Japanese tokenizer for business, LREC.

    Raises:
        MissingInputError: sudachipy or its dictionary is not installed.
    """

    splits_at_spaces = False

    # Sudachi takes at most 49,149 bytes at once; datatrove gives it this many.
    _MOST_BYTES = 40_000

    def __init__(self) -> None:
        sudachi: Any = _required("sudachipy", "ja", "split Japanese into words")
        _required("sudachidict_core", "ja", "split Japanese into words")
        dictionary = sudachi.Dictionary(dict="core")
        create = getattr(dictionary, "tokenizer", None) or dictionary.create
        self._tokenizer: Any = create(mode=sudachi.SplitMode.A)

    def pieces(self, text: str) -> list[str]:
        """Return Sudachi's words and the white space between them."""
        return [
            surface
            for part in _parts_of_bytes(_encodable(text), self._MOST_BYTES)
            for morpheme in self._tokenizer.tokenize(part)
            if (surface := morpheme.surface())
        ]

    def split(self, pieces: Sequence[str]) -> list[Sequence[str]]:
        """Return each piece as its word; none of white space."""
        return [[word] if (word := piece.strip()) else [] for piece in pieces]

    def joints(self) -> frozenset[tuple[str, str]]:
        """Return none: a piece's words are its own."""
        return frozenset()

    def changes(self, pieces: Sequence[str], words: Sequence[str]) -> bool:
        """Return False."""
        return False


def _encodable(text: str) -> str:
    """Return the text with lone surrogates replaced: the libraries take UTF-8."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def _parts_of_bytes(text: str, most_bytes: int) -> Iterator[str]:
    """Yield the text in parts of at most so many bytes of UTF-8, cut where datatrove cuts.

    Source: datatrove 0.10, `chunk_text_on_bytes`: from a guess, in steps of ten characters.
    """
    num_bytes = len(text.encode())
    if num_bytes <= most_bytes - 40:
        yield text
        return
    step = 10
    guess = max(int(most_bytes * (len(text) / num_bytes) - step), 1)
    while text:
        size = guess
        if len(text[:size].encode()) > most_bytes:
            guess = max(guess - step, 1)
            continue
        while size < len(text) and len(text[:size].encode()) < most_bytes:
            size = min(len(text), size + step)
        if len(text[:size].encode()) > most_bytes:
            size -= step
        yield text[:size]
        text = text[size:]


def _required(module: str, extra: str, purpose: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingInputError(
            f"{module} is not installed, and is needed to {purpose}; "
            f"pip install 'llmctl-toolkit[{extra}]', or choose another clean.profile"
        ) from error


@contextmanager
def _without_torch() -> Generator[None]:
    """Keep spaCy's neural part from loading torch: a second, and memory, for each worker."""
    if "torch" in sys.modules:
        yield
        return
    sys.modules["torch"] = None  # pyright: ignore[reportArgumentType]
    try:
        yield
    finally:
        del sys.modules["torch"]
