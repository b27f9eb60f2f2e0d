"""spaCy's words, asked for as seldom as they can be had otherwise."""

from __future__ import annotations

import re
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np

from llmctl.core.text.piece_shapes import PieceShapes
from llmctl.core.text.word_splitting import encodable, required

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
            spacy: Any = required("spacy", "fineweb", "split words as spaCy does")
        self._tokenizer: Any = spacy.blank(language).tokenizer
        if language == "en":
            _quicken(self._tokenizer)
        self._known_changes: dict[tuple[str, ...], bool] = {}
        self._is_english = language == "en"
        self._in_rules: set[str] = set()
        self._made_by_rules: set[str] = set()
        self._joints = self._find_joints()
        units: Any = required("spacy.lang.char_classes", "fineweb", "split words as spaCy does")
        letters = [unit for unit in units.UNITS.split("|") if unit.isascii() and unit.isalpha()]
        self._shapes = PieceShapes(self._tokenizer.rules, letters)
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
        known = [self._plain(piece) or self._shapes.words(piece) for piece in pieces]
        unknown = [piece for piece, words in zip(pieces, known, strict=True) if words is None]
        answers = self._ask(unknown)
        for piece, words in zip(unknown, answers, strict=True):
            self._shapes.learn(piece, words)
        others = iter(answers)
        return [next(others) if words is None else words for words in known]

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
        text = encodable("\n".join(pieces))
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
