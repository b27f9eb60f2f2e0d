"""Evaluation items found in documents: shared n-grams, and whole short items.

What counts as found (after the 13-grams of GPT-3, Brown et al. 2020, appendix C,
arXiv:2005.14165, made fit for scripts without spaces):

- Texts are compared by their words (`words.words`): blind to case, width, punctuation and
  white space. A character of a script without spaces is a word.
- A spaced word weighs 1 / `ngram_words`, an unspaced one 1 / `ngram_characters`. Words in a
  row are an n-gram as soon as they weigh 1 together: 13 English words, 24 Chinese
  characters, or some of both. An n-gram of an item in a document is a hit.
- A shorter item is a hit only as a whole. One of less than `MIN_ITEM_SHARE` of an n-gram
  ("Yes", 北京) is not looked for: it would take half of a corpus with it.
- What says nothing of its item is not looked for: words in a row of which less than a third
  are different ones with letters (tables of numbers, "la la la"), and n-grams of more than
  `MAX_NGRAM_ITEMS` different items (their common template).

Hashes find the candidates, and the words themselves decide.

Shapes: T characters of the items' words, E entries of a table, W words of a document.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmctl.core.text.contamination_arrays import Builder, EvaluationItem, ItemCounts, Scale, Table
from llmctl.core.text.word_codes import (
    FIRST,
    Codes,
    Indices,
    WordCodes,
    word_codes,
)

_BLANKS = " \t\u3000"

_CHUNK_CHARACTERS = 1 << 16

# The end of a sentence or line: what closes it goes with it, and so do the blanks after it.
_SENTENCE_END = re.compile(
    "[。！？…]+[”’」』）》\"']*[ \t\u3000]*|[.!?]+[\"'”’)\\]]*(?:[ \t]+|(?=\n))|\n+[ \t\u3000]*"
)


@dataclass(frozen=True, slots=True)
class Hit:
    """A stretch of a document that an evaluation item holds too.

    Attributes:
        item: The item's name.
        start: Where the stretch begins in the document, in characters.
        end: Where it ends.
        matched: The stretch as it stands there.
    """

    item: str
    start: int
    end: int
    matched: str


class EvaluationIndex:
    """The evaluation items, ready to be looked for.

    Args:
        arrays: What `build` made; `arrays` gives them back. Each can be saved, and mapped into
            the memory of other processes.
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.arrays = dict(arrays)
        self._codes: Codes = arrays["codes"]
        self._scale = Scale(*arrays["scale"].tolist())
        self._ngrams = Table(arrays, "ngram")
        self._whole = Table(arrays, "whole")

    @classmethod
    def build(
        cls, items: Iterable[EvaluationItem], *, ngram_words: int, ngram_characters: int
    ) -> EvaluationIndex:
        """Take in the items.

        Args:
            items: The items; those without words are passed over.
            ngram_words: So many words in a row are a hit.
            ngram_characters: So many characters in a row are one, in scripts without spaces.
        """
        builder = Builder(Scale(ngram_words, ngram_characters))
        for item in items:
            builder.add(item)
        return cls(builder.arrays())

    @property
    def counts(self) -> ItemCounts:
        """What became of the items."""
        items, repeated, too_short, uninformative = self.arrays["counts"].tolist()
        ngrams, whole = len(self._ngrams.hashes), len(self._whole.hashes)
        return ItemCounts(items, repeated, too_short, uninformative, ngrams, whole)

    def find(self, text: str) -> list[Hit]:
        """Return the hits in a document by their place; those of one item that meet are one."""
        spans: dict[int, list[tuple[int, int]]] = {}
        for item, start, end in sorted(set(self._spans(text))):
            known = spans.setdefault(item, [])
            if known and start <= known[-1][1]:
                known[-1] = (known[-1][0], max(end, known[-1][1]))
            else:
                known.append((start, end))
        hits = [
            Hit(self._name(item), start, end, text[start:end])
            for item, known in spans.items()
            for start, end in known
        ]
        return sorted(hits, key=lambda hit: (hit.start, hit.end, hit.item))

    def cut(self, text: str, hits: Sequence[Hit]) -> str:
        """Return the text without the sentences, or lines, that hold a hit.

        Where that brings words together that are a hit again, it is cut too: `find` finds
        nothing in what is returned, which may be empty.
        """
        while hits:
            text = _without_sentences(text, hits)
            hits = self.find(text)
        return text

    def _name(self, item: int) -> str:
        begin, end = self.arrays["name_bounds"][item : item + 2].tolist()
        return self.arrays["names"][begin:end].tobytes().decode("utf-8", "surrogatepass")

    def _spans(self, text: str) -> Iterator[tuple[int, int, int]]:
        """Yield the item, start and end of each n-gram and whole item found."""
        begin = 0
        while begin < len(text):
            end = min(begin + _CHUNK_CHARACTERS, len(text))
            is_last = end == len(text)
            words = word_codes(text[begin:end])
            # The last word may go on in the next chunk.
            ends = self._scale.ngram_ends(words, len(words) if is_last else len(words) - 1)
            num_firsts = len(words) if is_last else len(ends)
            for item, start, stop in self._found(words, ends, num_firsts):
                yield item, begin + start, begin + stop
            # On from the first word whose n-gram is not whole; one longer than a chunk is no text.
            more = 0 if is_last or not len(ends) else int(words.begins_T[words.bounds[len(ends)]])
            begin = begin + more if more else end

    def _found(
        self, words: WordCodes, ends: Indices, num_firsts: int
    ) -> Iterator[tuple[int, int, int]]:
        heads = ends[:0]
        if len(self._whole.hashes):
            heads = self._scale.head_ends(words)[:num_firsts]
        firsts = np.concatenate((np.arange(len(ends)), np.arange(len(heads))))
        if not len(firsts):
            return
        hashes = words.hashes(firsts, np.concatenate((ends, heads)))
        content: bytes | None = None
        for table, found in (
            (self._ngrams, hashes[: len(ends)]),
            (self._whole, hashes[len(ends) :]),
        ):
            for word, entry in table.candidates(found):
                content = content or words.codes_T.tobytes()
                begin, end = int(words.bounds[word]), int(words.bounds[word]) + table.length(entry)
                is_word_end = end >= len(words.codes_T) or words.codes_T[end] & FIRST
                expected = self._codes[table.begins[entry] : table.ends[entry]].tobytes()
                if is_word_end and content[4 * begin : 4 * end] == expected:
                    start, stop = words.begins_T[begin], words.ends_T[end - 1]
                    yield int(table.items[entry]), int(start), int(stop)


def _without_sentences(text: str, hits: Sequence[Hit]) -> str:
    bounds = [0, *(match.end() for match in _SENTENCE_END.finditer(text)), len(text)]
    pieces: list[str] = []
    done = 0
    for hit in sorted(hits, key=lambda hit: hit.start):
        start = max(done, bounds[bisect_right(bounds, hit.start) - 1])
        end = bounds[bisect_left(bounds, hit.end)]
        if end <= done:
            continue
        kept = text[done:start]
        if text[end : end + 1] in ("\n", ""):
            kept = kept.rstrip(_BLANKS)
            # A line of which nothing is left goes with its end.
            if (kept.endswith("\n") or not start) and end < len(text):
                end += 1
        pieces.append(kept)
        done = end
    pieces.append(text[done:])
    return "".join(pieces)
