"""The expressions that cut text into pieces: ours, and those of well-known tokenizers.

Written in what Oniguruma, which the `tokenizers` library uses, and fancy-regex, which
tiktoken uses, both take and take alike. In each of them some alternative takes every
character, so the pieces are the text.

Ours takes time linear in the text, whatever the text: only blanks are ever gone back over,
and of those a bounded number. What differs in it from cl100k and Llama 3, and why:

- Runs of Han and kana stand alone. With cl100k, "，准确率" is one piece and "iPhone很好用"
  another, and the vocabulary fills with words that carry their neighbours along.
- Only ASCII goes in front of a word: "(word", " word"; never "，word".
- "'s" is a contraction only at a word's end: "'some'" does not become "'s" and "ome".
- Marks belong to the letter, or to the emoji, that they stand on.
- The last blank of several is left to the next piece only where that one takes it.

Sources of the others: openai/tiktoken, tiktoken_ext/openai_public.py (gpt2, cl100k_base,
o200k_base); meta-llama/llama3, llama/tokenizer.py; huggingface/transformers,
models/qwen2/tokenization_qwen2.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmctl.core.tokenize_plan import PretokenizerName

MAX_DIGITS = 3
# Oniguruma gives up, and `tokenizers` with a panic, after ten million steps back in one match.
# Runs of letters and symbols are not bounded: bounds of 64 and of 512 in steps of 32 cost
# tiktoken a third of its speed. `segments` bounds what is matched at once.
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

_LLMCTL = (
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
_CONTRACTION = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_SYMBOLS_AND_BLANKS = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_CL100K = rf"{_CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}|{_SYMBOLS_AND_BLANKS}"
# Words from capitals to small letters: "iPhone" is two, "HTTPServer" one.
_UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_O200K = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_CONTRACTION}?",
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_CONTRACTION}?",
    r"\p{N}{1,3}",
    r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
    r"\s*[\r\n]+|\s+(?!\S)|\s+",
)

# tiktoken 0.8 and later cut blanks at a text's end otherwise in cl100k_base: " \n " is one piece
# there, and " \n" and " " in all tokenizer.json that are published for it.
PATTERNS: dict[PretokenizerName, str] = {
    "llmctl": "|".join(_LLMCTL),
    "gpt2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "cl100k": _CL100K,
    "o200k": "|".join(_O200K),
    "llama3": _CL100K,
    "qwen2": _CL100K.replace(r"\p{N}{1,3}", r"\p{N}"),
}
