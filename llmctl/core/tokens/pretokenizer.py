"""How text is cut into pieces before merging; no token ever reaches over a piece's edge."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

from tokenizers import Regex, pre_tokenizers

from llmctl.core.tokens.pretokenizer_patterns import PATTERNS

if TYPE_CHECKING:
    from llmctl.core.tokenize_plan import PretokenizerName

# Where no certain end is found in so many characters, `segments` cuts all the same.
MAX_PIECE_CHARACTERS = 100_000

# Where a piece ends whatever surrounds it, with every expression of `PATTERNS`: blanks are only
# ever taken at a piece's front, and neither letters nor numbers take along what follows them,
# but for apostrophes, marks and joiners.
_CERTAIN_END = re.compile(
    r"\S(?=[ \t\u3000])"
    r"|[^\W_](?=[\r\n!-&(-/:-@\[-`{-~，。！？；：、…（）《》「」“”])"
    r"|[0-9](?=[A-Za-z])|[A-Za-z](?=[0-9])"
)


def pre_tokenizer(name: PretokenizerName = "llmctl") -> pre_tokenizers.PreTokenizer:
    """Return the cutting of text as `name` does it, then the mapping of bytes to characters."""
    return cutting(PATTERNS[name])


def cutting(pattern: str) -> pre_tokenizers.PreTokenizer:
    """Return the cutting of text by any expression, then the mapping of bytes to characters."""
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def pieces(text: str, name: PretokenizerName = "llmctl") -> list[str]:
    r"""Return the pieces of a text, in order; joined, they are the text.

    >>> pieces("GPT-4o模型，don't\n")
    ['GPT', '-', '4', 'o', '模型', '，', 'don', "'t", '\n']
    """
    return [piece for piece, _ in _split(name).pre_tokenize_str(text)]


@cache
def _split(name: PretokenizerName) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Split(Regex(PATTERNS[name]), behavior="isolated")


def segments(
    text: str, min_characters: int, name: PretokenizerName | None = "llmctl"
) -> Iterator[str]:
    """Yield a text in parts whose pieces, put together, are the pieces of the text.

    The library holds some fifty bytes for each byte of a text while it encodes it, and
    encodes one text in one thread: a long one is better given to it in parts. There is one
    exception: where no piece surely ends within MAX_PIECE_CHARACTERS, such as in a letter
    repeated for ever, the text is cut there, and a piece may be cut in two.

    Args:
        text: Any text; an empty one has no parts.
        min_characters: A part ends at the first certain end of a piece after so many.
        name: How text is cut; None where that is not known: then the text is one part.
    """
    start = 0
    while start < len(text):
        end = len(text)
        if name is not None:
            limit = start + min_characters + MAX_PIECE_CHARACTERS
            found = _CERTAIN_END.search(text, start + min_characters - 1, limit)
            end = found.end() if found else min(limit, end)
        yield text[start:end]
        start = end
