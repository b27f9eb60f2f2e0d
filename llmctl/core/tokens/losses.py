"""What a tokenizer loses of a text: told by its parts, then by trying."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import tokenizers

from llmctl.core.errors import DataError

# Lost most often: blanks at the ends and in runs, forms that are folded, rare characters.
_TELLING_TEXTS = (
    *("a", " a", "  a", "a ", "a   b", "\n", "\t\n a\r\n\n", "a\x00b\x7f", "A b", "isn't , it ?"),
    *("A\u030a \u212b ﬁ Ａ e\u0301 é ß", "世界，很大。", "「が」か\u3099 ｶﾞ", "𠮷 𪚥", "👩‍❤️‍👩 1️⃣"),
    "\U0010fffd\u200b\ufeff\xa0\u3000",
)


def in_parts(backend: tokenizers.Tokenizer) -> str | None:
    """Return which part of a tokenizer makes two texts one; None where none is known to."""
    normalizer, pre_tokenizer = (
        {} if part is None else json.loads(part.__getstate__())
        for part in (backend.normalizer, backend.pre_tokenizer)
    )
    for step in _flat(normalizer, "normalizers"):
        if step.get("type") not in (None, "Prepend", "Replace"):
            return f"its normalizer {step['type']} changes texts"
        blank = step.get("pattern", {}).get("String"), step.get("content")
        if step.get("type") == "Replace" and blank != (" ", "▁"):
            return f"its normalizer replaces {step['pattern']} by {step['content']!r}"
    if any(step.get("behavior") == "Removed" for step in _flat(pre_tokenizer, "pretokenizers")):
        return "where text is cut, something is removed"
    for token in backend.get_added_tokens_decoder().values():
        if not token.special and (token.lstrip or token.rstrip):
            return f"its token {token.content!r} takes the blanks beside it along"
    entries = backend.get_vocab(with_added_tokens=True)
    if len(set(entries.values())) < len(entries):
        return "an id stands for several entries"
    return None


def in_texts(there_and_back: Callable[[str], str], further: Iterable[str]) -> str | None:
    """Return which text does not come back; None where all that are tried do.

    Args:
        there_and_back: Encodes a text and decodes its ids.
        further: Texts to be tried beside those that others lose.
    """
    for text in (*_TELLING_TEXTS, *further):
        try:
            found = there_and_back(text)
        except DataError as error:
            return str(error)
        if found != text:
            return f"the text {text!r} comes back as {found!r}"
    return None


def _flat(state: dict[str, Any], name: str) -> Iterator[dict[str, Any]]:
    if state.get("type") != "Sequence":
        yield state
        return
    for part in state[name]:
        yield from _flat(part, name)
