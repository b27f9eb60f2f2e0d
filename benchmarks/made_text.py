"""Made documents in English and Chinese, as many bytes as asked for, none a copy of another.

Words are drawn by Zipf's law from a made vocabulary with the language's commonest words on
top; sentences and paragraphs have natural lengths. Every fourth document has a fault of the
web: a menu, repeated lines, a list, hardly any text, code, too many signs.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import accumulate
from typing import Literal

STOP_WORDS = {
    "English": "the of and to in is that for it as with be this by on are have from or at",
    "Chinese": "的 是 在 和 了 有 我 他 这 中 大 来 上 国 年 月 日 为 也 不",
}
VOWELS = ("a", "e", "i", "o", "u", "ea", "ou", "ay")
SYLLABLES = [consonant + vowel for consonant in "bcdfghklmnprstvw" for vowel in VOWELS]
NUM_WORDS = 20_000


def made_documents(
    language: Literal["English", "Chinese"], num_bytes: int, seed: int
) -> Iterator[str]:
    """Yield documents until there are so many bytes of UTF-8.

    Args:
        language: Of the words.
        num_bytes: About how much in all.
        seed: Another one, other documents.
    """
    draw = random.Random(f"{language} {seed}")
    words = _vocabulary(language)
    weights = list(accumulate(1 / (rank + 2.7) for rank in range(len(words))))
    number = 0
    while num_bytes > 0:
        text = _document(draw, language, words, weights, is_faulty=number % 4 == 3)
        num_bytes -= len(text.encode())
        number += 1
        yield text


def _vocabulary(language: str) -> list[str]:
    draw = random.Random(language)
    made: dict[str, None] = dict.fromkeys(STOP_WORDS[language].split())
    while len(made) < NUM_WORDS:
        if language == "English":
            made["".join(draw.choices(SYLLABLES, k=draw.choice((1, 2, 2, 3, 3, 4))))] = None
        else:
            size = draw.choice((1, 2, 2, 2, 3))
            made["".join(chr(draw.randint(0x4E00, 0x6FFF)) for _ in range(size))] = None
    return list(made)


def _document(
    draw: random.Random, language: str, words: list[str], weights: list[float], *, is_faulty: bool
) -> str:
    def sentence() -> str:
        found = draw.choices(words, cum_weights=weights, k=draw.randint(6, 24))
        if language == "Chinese":
            middle = len(found) // 2
            return "".join(found[:middle]) + "，" + "".join(found[middle:]) + "。"
        return " ".join(found).capitalize() + draw.choice((".", ".", ".", "?", "!"))

    gap = " " if language == "English" else ""
    paragraphs = [
        gap.join(sentence() for _ in range(draw.randint(2, 7))) for _ in range(draw.randint(2, 14))
    ]
    if is_faulty:
        paragraphs = _spoilt(draw, paragraphs)
    return "\n\n".join(paragraphs)


def _spoilt(draw: random.Random, paragraphs: list[str]) -> list[str]:
    kind = draw.randrange(8)
    if kind == 0:
        return paragraphs[:1] * 3 + paragraphs
    if kind == 1:
        return [line for paragraph in paragraphs for line in ("Home", "About", paragraph, "Home")]
    if kind == 2:
        return ["\n".join(f"- {word[:20]}" for word in paragraphs * 4)]
    if kind == 3:
        return [paragraphs[0][:60]]
    if kind == 4:
        return [*paragraphs, "function () { return 1; }"]
    if kind == 5:
        return [paragraph.replace(" ", " # ").replace("，", "###") for paragraph in paragraphs]
    if kind == 6:
        return [*paragraphs, "lorem ipsum dolor sit amet, consectetur adipiscing elit."]
    return [paragraph[:80] + "..." for paragraph in paragraphs]
