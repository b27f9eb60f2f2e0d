"""How text is cut into pieces before merging; no token ever reaches over a piece's edge.

One regular expression for every language, in the syntax of Oniguruma, which the
`tokenizers` library uses. Some alternative takes every character, so the pieces are the
text; and only blanks are ever gone back over, and of those a bounded number, so cutting
takes time linear in the text, whatever the text.

What differs from the expressions of GPT-4 and Llama 3 (cl100k), and why:

- Runs of Han and kana stand alone. With cl100k, "，准确率" is one piece and "iPhone很好用"
  another, and the vocabulary fills with words that carry their neighbours along.
- Only ASCII goes in front of a word: "(word", " word"; never "，word".
- "'s" is a contraction only at a word's end: "'some'" does not become "'s" and "ome".
- Marks belong to the letter, or to the emoji, that they stand on.
- The last blank of several is left to the next piece only where that one takes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tokenizers import Regex, pre_tokenizers

MAX_DIGITS = 3
# Oniguruma gives up, and `tokenizers` with a panic, after ten million steps back in one match.
MAX_BLANKS = 512

# Han and kana, with the marks that Unicode counts as common to several scripts: 〆, the long
# vowel sign in both widths, the half-width voicing signs.
_CJK = r"\p{Han}\p{Hiragana}\p{Katakana}〆ーｰﾞﾟ"
_LETTER = rf"[\p{{L}}&&[^{_CJK}]]"
# Accents, vowel signs, variation selectors, and the two joiners that shape words in Persian and
# in the scripts of India.
_IN_WORD = rf"[\p{{M}}\u200C\u200D[\p{{L}}&&[^{_CJK}]]]"
_NUMBER = rf"[\p{{N}}&&[^{_CJK}]]"
_SYMBOL = rf"[^\s\p{{L}}\p{{N}}{_CJK}]"

_ALTERNATIVES = (
    # A run of Han and kana, with variation selectors and voicing marks: 模型, カタカナ, 葛󠄀.
    rf"[{_CJK}][{_CJK}\p{{M}}]*",
    # An English contraction at the end of a word, with either apostrophe: 's, ’LL.
    rf"['’](?i:s|t|d|m|ll|ve|re)(?!{_IN_WORD})",
    # A word of any other script, with the ASCII blank or punctuation before it: word, _word.
    rf"[ !-/:-@\[-`{{-~]?{_LETTER}{_IN_WORD}*",
    # Digits from the left by threes: 20241 gives 202 and 41.
    rf"{_NUMBER}{{1,{MAX_DIGITS}}}",
    # Punctuation, symbols and emoji, with the blank before and the line ends after: 。\n.
    rf" ?{_SYMBOL}+[\r\n]*",
    # Blank lines, up to the last line end; the indentation after it is the next piece.
    rf"\s{{0,{MAX_BLANKS}}}[\r\n]+",
    # Blanks before one that the next word or symbol takes, so that "    return" keeps " return".
    rf"\s{{1,{MAX_BLANKS}}}(?= [^\s\p{{N}}{_CJK}])",
    # All other blanks.
    rf"\s{{1,{MAX_BLANKS}}}",
)
PATTERN = "|".join(_ALTERNATIVES)

# Where a piece ends whatever surrounds it: no alternative goes on from a line end to a visible
# character, nor from punctuation to a Chinese character.
_CERTAIN_END = re.compile(r"[\r\n](?=\S)|[，。！？；：、](?=[一-龥])")


def pre_tokenizer() -> pre_tokenizers.PreTokenizer:
    """Return the cutting of text by `PATTERN`, followed by the mapping of bytes to characters."""
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def pieces(text: str) -> list[str]:
    r"""Return the pieces of a text, in order; joined, they are the text.

    >>> pieces("GPT-4o模型，don't\n")
    ['GPT', '-', '4', 'o', '模型', '，', 'don', "'t", '\n']
    """
    split = pre_tokenizers.Split(Regex(PATTERN), behavior="isolated")
    return [piece for piece, _ in split.pre_tokenize_str(text)]


def segments(text: str, min_characters: int) -> Iterator[str]:
    """Yield a text in parts whose pieces, put together, are the pieces of the text.

    The library holds some fifty bytes for each byte of a text while it encodes it, and
    encodes one text in one thread: a long one is better given to it in parts.

    Args:
        text: Any text; an empty one has no parts.
        min_characters: A part ends at the first certain end of a piece after so many.
    """
    start = 0
    while start < len(text):
        found = _CERTAIN_END.search(text, start + min_characters - 1)
        end = found.end() if found else len(text)
        yield text[start:end]
        start = end
