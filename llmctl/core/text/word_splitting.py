"""Splitting text into words: quickly for the web profiles, as spaCy and jieba do for parity.

A splitter works in two steps, so that the costly one is done once for each different piece:
the text falls into pieces, and a piece into words. White space is never part of a word.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any, Protocol

from llmctl.core.errors import MissingInputError
from llmctl.core.text.words import UNSPACED

_SURROGATE = re.compile("[\ud800-\udfff]")


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
        text = encodable(text)
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
        sudachi: Any = required("sudachipy", "ja", "split Japanese into words")
        required("sudachidict_core", "ja", "split Japanese into words")
        dictionary = sudachi.Dictionary(dict="core")
        create = getattr(dictionary, "tokenizer", None) or dictionary.create
        self._tokenizer: Any = create(mode=sudachi.SplitMode.A)

    def pieces(self, text: str) -> list[str]:
        """Return Sudachi's words and the white space between them."""
        return [
            surface
            for part in _parts_of_bytes(encodable(text), self._MOST_BYTES)
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


def encodable(text: str) -> str:
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


def required(module: str, extra: str, purpose: str) -> ModuleType:
    """Import a library of an extra.

    Raises:
        MissingInputError: It is not installed; the error names the extra.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingInputError(
            f"{module} is not installed, and is needed to {purpose}; "
            f"pip install 'llmctl-toolkit[{extra}]', or choose another clean.profile"
        ) from error
