"""Which language a text is in: by its script, and for Latin script by its commonest words."""

from __future__ import annotations

import re
from collections import Counter

UNKNOWN = "und"

# Beside so few kana a Chinese text quotes Japanese; Japanese prose has a third or more.
_MIN_KANA_SHARE = 0.05
# A chapter of technical Chinese can be nine tenths code and names in Latin script; English
# with a twelfth of Han characters is not met.
_LETTERS_PER_CHARACTER = 12
_MIN_STOP_WORD_SHARE = 0.05
_MIN_STOP_WORDS = 2
_WORDS_LOOKED_AT = 2000

_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_KANA = re.compile(r"[\u3041-\u3096\u30a1-\u30fa\uff66-\uff9d]")
_HANGUL = re.compile(r"[\u1100-\u11ff\u3131-\u318e\uac00-\ud7a3]")
_LETTER = re.compile(r"[^\W\d_]")
_LATIN_WORD = re.compile(r"[a-zà-öø-ÿ]+")

# The other languages are here so that what they share with English is not taken for it.
_STOP_WORDS = {
    "en": "the of and to in is that for it as with this be are not by if or from on which an a",
    "de": "der die das und in zu den ist von mit sich des auf für nicht ein eine im dem es an",
    "fr": "le la les de des et en un une du que est pour dans qui par sur pas au ce il se",
    "es": "el la los las de y en que un una por con para es del se no al lo su como",
    "it": "il la le di e che un una per in con del della non si è sono da al i",
    "pt": "o a os as de e que um uma para com não em do da no na por se é",
    "nl": "de het een en van in is dat op te voor met niet zijn aan er die of om ook",
    "sv": "och att det som en på är av för med den till i inte har de ett om var så",
}
_LANGUAGES_BY_WORD: dict[str, list[str]] = {}
for _language, _words in _STOP_WORDS.items():
    for _word in _words.split():
        _LANGUAGES_BY_WORD.setdefault(_word, []).append(_language)


def language_of(text: str) -> str:
    """Return "zh", "ja", "ko" or "en", or "und" where it is none of these or too short."""
    if text.isascii():
        return _latin_language(text)
    num_han, num_kana, num_hangul = (
        len(pattern.findall(text)) for pattern in (_HAN, _KANA, _HANGUL)
    )
    num_asian = num_han + num_kana + num_hangul
    num_others = len(_LETTER.findall(text)) - num_asian
    if num_asian * _LETTERS_PER_CHARACTER < num_others or not num_asian:
        return _latin_language(text)
    if num_hangul > num_han + num_kana:
        return "ko"
    return "ja" if num_kana >= _MIN_KANA_SHARE * (num_han + num_kana) else "zh"


def _latin_language(text: str) -> str:
    """Return "en" where English stop words are frequent and no other language's are more so."""
    words = _first_words(text)
    found = Counter(language for word in words for language in _LANGUAGES_BY_WORD.get(word, ()))
    num_english = found["en"]
    enough = num_english >= max(_MIN_STOP_WORDS, _MIN_STOP_WORD_SHARE * len(words))
    return "en" if enough and num_english == max(found.values()) else UNKNOWN


def _first_words(text: str) -> list[str]:
    # A character a word of seven, on average, is enough text for the words looked at.
    return _LATIN_WORD.findall(text[: _WORDS_LOOKED_AT * 7].lower())
