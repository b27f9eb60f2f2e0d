"""What the quality rules look at in one text, each found out once, when first asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from llmctl.core.text import characters
from llmctl.core.text.polynomial_hashes import Integers
from llmctl.core.text.repetition import WordRepetition, repeats
from llmctl.core.text.word_table import Words, WordTable


class TextAnalysis:
    """Lines, words and repetition of a text.

    Args:
        text: Any text with at least one character.
        make_table: Returns what splits it into words, and knows them.
        language_score: How sure its language is.
    """

    def __init__(
        self, text: str, make_table: Callable[[], WordTable], language_score: float = 1.0
    ) -> None:
        self.text = text
        self.language_score = language_score
        self._make_table = make_table

    def with_text(self, text: str, *, has_same_words: bool) -> TextAnalysis:
        """Return the analysis of what is left of the text, its words taken over if they may be."""
        changed = TextAnalysis(text, self._make_table, self.language_score)
        if has_same_words and "words" in self.__dict__:
            changed.words = self.words
        return changed

    @cached_property
    def table(self) -> WordTable:
        """What splits the text into words, and knows them."""
        return self._make_table()

    @cached_property
    def is_blank(self) -> bool:
        """Whether all is white space."""
        return not self.text or self.text.isspace()

    @cached_property
    def kinds(self) -> NDArray[np.uint8]:
        """The kinds of each character, as `characters.kinds` tells them."""
        return characters.kinds(self.text)

    @cached_property
    def lines(self) -> list[str]:
        """The lines, by any of Unicode's ends of line."""
        return self.text.splitlines()

    @cached_property
    def lines_with_text(self) -> list[str]:
        """The lines, by line feed, that are more than white space."""
        return [line for line in self.text.split("\n") if line and not line.isspace()]

    @cached_property
    def paragraph_repeats(self) -> tuple[float, float]:
        """The share of paragraphs that repeat an earlier one, and of characters in them."""
        text = self.text.strip()
        # As splitting at `\n{2,}` does, but quicker.
        parts = [part.lstrip("\n") for part in text.split("\n\n")]
        paragraphs = [part for part in parts if part] or [text]
        num_elements, num_characters = repeats(paragraphs)
        return num_elements / len(paragraphs), num_characters / len(self.text)

    @cached_property
    def line_repeats(self) -> tuple[float, float]:
        """The share of lines that repeat an earlier one, and of characters in them."""
        # As splitting at `\n+` does, with its empty strings at the ends, but quicker.
        lines = [line for line in self.text.split("\n") if line]
        lines += [""] * (self.text.startswith("\n") + self.text.endswith("\n"))
        num_elements, num_characters = repeats(lines)
        return num_elements / len(lines), num_characters / len(self.text)

    @cached_property
    def words(self) -> Words:
        """The words."""
        return self.table.words(self.text)

    @cached_property
    def num_words(self) -> int:
        """How many words there are, those that are only signs included."""
        return len(self.words.ids)

    @cached_property
    def word_flags(self) -> NDArray[np.uint8]:
        """What is known of each word, as `word_table` names it."""
        return self.table.flags(self.words.ids)

    @cached_property
    def word_lengths(self) -> Integers:
        """The characters of each word."""
        return self.table.lengths(self.words.ids)

    @cached_property
    def repetition(self) -> WordRepetition:
        """The n-grams of the words."""
        return WordRepetition(self.table, self.words.ids)
