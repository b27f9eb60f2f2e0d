"""Made documents with planted near-duplicates and traps, and what is true of them.

English: words of drawn letters, drawn by Zipf's law, in sentences and paragraphs. Chinese:
characters drawn by Zipf's law. Nothing is a copy of anything but what is planted:

    edits      pairs, the second with 1, 2, 5 or 10 % of its words (characters) replaced, left
               out or put in at drawn places
    templates  families of one text with other values in its gaps, alike by 0.6 to 0.7
    quotations pairs that share a fifth
    poems      families of eight lines, of which neighbours share three
"""

from __future__ import annotations

import functools
import itertools
import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import orjson

LANGUAGES = ("en", "zh")
EDITS = (1, 2, 5, 10)
TRAPS = ("template", "quotation", "poem")
_SHINGLE_WORDS = 5
_NUM_WORDS = {"en": 30_000, "zh": 3_000}


@dataclass(frozen=True)
class Planted:
    """A document.

    Attributes:
        id: Its own.
        text: Its text.
        family: Documents of one family have something in common, others nothing.
        kind: "single", "edit 5 %", "template", …
        language: "en" or "zh".
    """

    id: str
    text: str
    family: int
    kind: str
    language: str

    def line(self) -> bytes:
        """Return it as a line of JSON Lines."""
        return orjson.dumps({"id": self.id, "text": self.text}, option=orjson.OPT_APPEND_NEWLINE)


class _Writer:
    """Draws text of a language, as a list of words (of characters in Chinese)."""

    def __init__(self, language: str, generator: random.Random) -> None:
        self.language = language
        self._generator = generator
        number = _NUM_WORDS[language]
        if language == "zh":
            self._words = [chr(0x4E00 + 5 * rank) for rank in range(number)]
            generator.shuffle(self._words)
        else:
            letters = "etaoinshrdlcumwfgypbvk"
            found: dict[str, None] = {}
            while len(found) < number:
                length = min(12, max(2, round(generator.gauss(2 + len(found) ** 0.18, 1.5))))
                found["".join(generator.choices(letters, k=length))] = None
            self._words = list(found)
        self._weights = list(itertools.accumulate(1 / (rank + 3) for rank in range(number)))

    def draw(self, number: int) -> list[str]:
        return self._generator.choices(self._words, cum_weights=self._weights, k=number)

    def joined(self, words: Sequence[str], seed: int) -> str:
        """Put the words into sentences; which end where is the same for the same seed."""
        generator = random.Random(seed)
        stops, blank = ("。", "") if self.language == "zh" else (". ", " ")
        commas = "，" if self.language == "zh" else ", "
        parts: list[str] = []
        for word in words:
            drawn = generator.random()
            mark = blank if drawn < 0.87 else commas if drawn < 0.93 else stops
            parts.append(word + (stops.strip() + "\n" if drawn > 0.99 else mark))
        return "".join(parts).strip()

    def edited(self, words: Sequence[str], percent: int) -> list[str]:
        result = list(words)
        for place in self._generator.sample(range(len(words)), round(len(words) * percent / 100)):
            drawn = self._generator.random()
            new = self.draw(1)[0]
            result[place] = new if drawn < 0.6 else "" if drawn < 0.8 else f"{result[place]}\0{new}"
        return [part for word in result for part in word.split("\0") if part]


def planted(
    language: str, num_singles: int, num_of_each: int, seed: int, bases: Iterator[str] | None = None
) -> list[Planted]:
    """Return documents in a drawn order.

    Args:
        language: "en" or "zh".
        num_singles: Documents with nothing in common with others.
        num_of_each: Families of each kind.
        seed: Draws all.
        bases: Texts to take for singles and to edit, in place of made ones.
    """
    generator = random.Random(f"{language} {seed}")
    writer = _Writer(language, generator)
    families: list[tuple[str, list[str]]] = []

    def base() -> list[str]:
        if bases is None:
            return writer.draw(generator.randint(200, 1200))
        text = next(bases)
        return re.findall(r"\S+\s*" if language == "en" else r"[\s\S]", text)

    def told(words: Sequence[str], marks: int) -> str:
        return "".join(words) if bases is not None else writer.joined(words, marks)

    families += [("single", [told(base(), number)]) for number in range(num_singles)]
    for percent in EDITS:
        for number in range(num_of_each):
            words = base()
            pair = [told(each, number) for each in (words, writer.edited(words, percent))]
            families.append((f"edit {percent} %", pair))
    for number in range(num_of_each):
        families += [
            ("template", list(_template(writer, generator, number))),
            ("quotation", list(_quotations(writer, number))),
            ("poem", list(_poems(writer))),
        ]
    documents = [
        Planted(f"{language}-{family}-{place}", text, family, kind, language)
        for family, (kind, texts) in enumerate(families)
        for place, text in enumerate(texts)
    ]
    generator.shuffle(documents)
    return documents


def _template(writer: _Writer, generator: random.Random, seed: int) -> Iterator[str]:
    form = [writer.draw(generator.randint(15, 40)) for _ in range(12)]
    for _ in range(4):
        words = [word for part in form for word in (*part, *writer.draw(generator.randint(2, 4)))]
        yield writer.joined(words, seed)


def _quotations(writer: _Writer, seed: int) -> Iterator[str]:
    quoted = writer.draw(100)
    for _ in range(2):
        yield writer.joined([*writer.draw(200), *quoted, *writer.draw(200)], seed)


def _poems(writer: _Writer) -> Iterator[str]:
    lines = ["".join(writer.draw(7)) for _ in range(5 * 5 + 3)]
    if writer.language == "en":
        lines = [" ".join(writer.draw(7)) for _ in range(5 * 5 + 3)]
    for start in range(0, 25, 5):
        yield ",\n".join(lines[start : start + 8])


@dataclass(frozen=True)
class Score:
    """How well a choice of kept documents fits the truth.

    Attributes:
        right: Dropped documents for each of which one so alike is kept.
        wrong: Dropped documents for which none is kept.
        missed: Pairs so alike of which both are kept.
    """

    right: int
    wrong: int
    missed: int

    def figures(self) -> dict[str, float]:
        """Return recall and precision, and what they are made of."""
        return {
            "recall": round(self.right / max(1, self.right + self.missed), 4),
            "precision": round(self.right / max(1, self.right + self.wrong), 4),
            "right": self.right,
            "wrong": self.wrong,
            "missed": self.missed,
        }


def score(
    documents: Sequence[Planted],
    kept: set[str],
    are_alike: Callable[[Planted, Planted], bool],
) -> Score:
    """Hold what was kept against the truth, family by family."""
    families: defaultdict[tuple[str, int], list[Planted]] = defaultdict(list)
    for document in documents:
        families[document.language, document.family].append(document)
    right = wrong = missed = 0
    for members in families.values():
        there = [each for each in members if each.id in kept]
        for each in members:
            if each.id not in kept:
                is_right = any(are_alike(each, other) for other in there)
                right, wrong = right + is_right, wrong + (not is_right)
        missed += sum(are_alike(*pair) for pair in itertools.combinations(there, 2))
    return Score(right, wrong, missed)


def of_labels(first: Planted, second: Planted) -> bool:
    """Return whether they were planted as near-duplicates."""
    return first.family == second.family and first.kind.startswith("edit")


def of_jaccard(threshold: float) -> Callable[[Planted, Planted], bool]:
    """Return a judge by the true similarity of sets of five words, written down plainly."""
    return lambda first, second: jaccard(first, second) >= threshold


@functools.cache
def jaccard(first: Planted, second: Planted) -> float:
    """Return |A ∩ B| / |A ∪ B| of runs of five words, or of five characters in Chinese."""
    one, other = _shingles(first), _shingles(second)
    return len(one & other) / len(one | other)


def _shingles(document: Planted) -> set[tuple[str, ...]]:
    words = re.findall(r"[\u3400-\u9fff]|[^\W_\u3400-\u9fff]+", document.text.lower())
    return {tuple(words[at : at + _SHINGLE_WORDS]) for at in range(len(words) - _SHINGLE_WORDS + 1)}
