"""What near-duplicates count as a word: runs of letters and digits, or single characters.

Scripts written without spaces (Han, kana, Thai, Lao, Khmer, Myanmar) give a word for each
character: a whole clause taken for a word would make two pages that differ in one
character of each clause look unrelated.
"""

from __future__ import annotations

import re
import unicodedata

# Characters of scripts written without spaces.
UNSPACED = (
    "\u0e01-\u0e3a\u0e40-\u0e4e\u0e81-\u0ede\u1000-\u109f\u1780-\u17d3\u3005-\u3007"
    "\u3041-\u3096\u30a1-\u30fa\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
# Vowel signs and accents, which Python's \w leaves out.
MARKS = (
    "\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u0610-\u061a\u064b-\u065f\u0900-\u0963\u0981-\u0df3"
)

UNSPACED_CHARACTER = re.compile(f"[{UNSPACED}]")
"""One character of such a script, which is a word."""
WORD_CHARACTER = re.compile(f"[^\\W_]|[{UNSPACED}{MARKS}]")
"""One character of a word."""
_WORD = re.compile(f"[{UNSPACED}]|(?:(?![{UNSPACED}])[^\\W_]|[{MARKS}])+")


def words(text: str) -> list[str]:
    """Return the words in order, without punctuation, blind to case and to width.

    >>> words("Straße 12, 你好!")
    ['strasse', '12', '你', '好']
    """
    return _WORD.findall(folded(text))


def folded(text: str) -> str:
    """Return the text blind to case and to compatibility forms: for comparing, never to keep."""
    return unicodedata.normalize("NFKC", text).casefold()
