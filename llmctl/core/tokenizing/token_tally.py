"""What encoding makes of documents, counted where it happens and added up to the whole.

A tally of the whole is the sum of the tallies of its parts, whatever the parts and their
order: everything in it is whole numbers. D documents, N tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import zstandard
from numpy.typing import NDArray

from llmctl.core import atomic
from llmctl.core.artifacts.shards_facts import LengthFacts, SpecialToken, TextCounts
from llmctl.core.errors import DataError
from llmctl.core.tokenizing.document_lengths import DocumentLengths
from llmctl.core.tokenizing.token_facts import WHOLE_TOKEN, TokenFacts

_OCCURRENCES = np.dtype("<i8")
# documents, bytes, characters, tokens, single bytes, Han characters, tokens on them in parts
_NUM_COUNTS = 7
# So many tokens fit the cache with what is worked out for them: half the time of a million.
_AT_ONCE = 1 << 15


@dataclass(frozen=True, slots=True)
class EncodedTexts:
    """Documents and their ids, one after the other.

    Attributes:
        texts: D texts as they were encoded.
        sources: Of each.
        languages: Of each.
        lengths_D: Tokens of each, without one that ends it.
        ids_N: The tokens of all.
        literals: How often the name of each special token stands in the texts.
    """

    texts: Sequence[str]
    sources: Sequence[str]
    languages: Sequence[str]
    lengths_D: NDArray[np.integer]
    ids_N: NDArray[np.unsignedinteger]
    literals: Mapping[str, int] = field(default_factory=dict[str, int])


class TokenTally:
    """Counts of encoded documents.

    It holds some hundred bytes for each language of each source, and eight for each entry
    of the vocabulary.

    Args:
        facts: Of the tokenizer that encoded them.

    Attributes:
        occurrences_V: How often each id occurs.
    """

    def __init__(self, facts: TokenFacts) -> None:
        self.occurrences_V: NDArray[np.int64] = np.zeros(facts.vocab_size, dtype=_OCCURRENCES)
        self._facts = facts
        self._counts: dict[tuple[str, str], NDArray[np.int64]] = {}
        self._lengths: dict[str, DocumentLengths] = {}
        names = {token: facts.tokenizer.piece(token) for token in facts.tokenizer.special_ids}
        self._specials = dict.fromkeys((name for _, name in sorted(names.items())), 0)

    def add(self, encoded: EncodedTexts) -> None:
        """Count documents; about a megabyte of text at once costs least.

        Raises:
            ValueError: Texts, sources, languages and lengths are not as many, the lengths
                are not those of the ids, or an id is not in the vocabulary.
        """
        texts, ids_N = encoded.texts, encoded.ids_N
        lengths_D = np.asarray(encoded.lengths_D, dtype=np.int64)
        numbers = {len(texts), len(encoded.sources), len(encoded.languages), len(lengths_D)}
        if len(numbers) > 1 or lengths_D.sum() != len(ids_N):
            raise ValueError(
                f"{len(texts)} texts, {len(encoded.sources)} sources, {len(encoded.languages)} "
                f"languages, {len(lengths_D)} lengths of {lengths_D.sum()} tokens, {len(ids_N)} ids"
            )
        if len(ids_N) and ids_N.max() >= len(self.occurrences_V):
            raise ValueError(f"the id {ids_N.max()} in a vocabulary of {len(self.occurrences_V)}")
        self.occurrences_V += np.bincount(ids_N, minlength=len(self.occurrences_V))
        self._add_literals(encoded.literals)
        rows = np.ones((len(texts), _NUM_COUNTS), dtype=np.int64)
        rows[:, 1] = [len(text.encode("utf-8", "surrogatepass")) for text in texts]
        rows[:, 2] = [len(text) for text in texts]
        rows[:, 3] = lengths_D
        stops_D = np.cumsum(lengths_D)
        first = start = 0
        while first < len(texts):
            last = int(np.searchsorted(stops_D, start + _AT_ONCE, side="right"))
            last = max(last, first + 1)
            stop = int(stops_D[last - 1])
            self._count_tokens(ids_N[start:stop], rows[first:last])
            first, start = last, stop
        self._add_rows(encoded, rows)

    def _count_tokens(self, ids_N: NDArray[np.unsignedinteger], rows: NDArray[np.int64]) -> None:
        """Count the tokens of a few documents into their rows."""
        places_N = ids_N.astype(np.int64)  # as an index three times as fast as uint32
        han = self._facts.han(places_N)
        values = (self._facts.is_single_byte_V[places_N], han.characters_N, han.parts_N)
        for column, values_N in enumerate(values, 4):
            rows[:, column] = _sums(values_N, rows[:, 3])

    def _add_rows(self, encoded: EncodedTexts, rows: NDArray[np.int64]) -> None:
        places: dict[tuple[str, str], int] = {}
        groups = [
            places.setdefault(key, len(places))
            for key in zip(encoded.languages, encoded.sources, strict=True)
        ]
        sums = np.zeros((len(places), _NUM_COUNTS), dtype=np.int64)
        np.add.at(sums, groups, rows)
        for key, row in zip(places, sums, strict=True):
            self._add_counts(key, row)
        languages = np.array([language for language, _ in places], dtype=object)[groups]
        for language in {language for language, _ in places}:
            found = self._lengths.setdefault(language, DocumentLengths())
            found.add(rows[languages == language, 3])

    def _add_counts(self, key: tuple[str, str], row: NDArray[np.int64]) -> None:
        known = self._counts.get(key)
        self._counts[key] = row if known is None else known + row

    def _add_literals(self, literals: Mapping[str, int]) -> None:
        for name, count in literals.items():
            self._specials[name] += count

    def as_json(self) -> dict[str, Any]:
        """Return everything but the occurrences."""
        return {
            "counts": [[*key, *row.tolist()] for key, row in sorted(self._counts.items())],
            "lengths": {name: found.as_json() for name, found in sorted(self._lengths.items())},
            "specials": self._specials,
        }

    def write(self, path: Path) -> None:
        """Write a file for `add_file`: a line of JSON and the occurrences, int64, in zstd.

        Raises:
            StorageError: The disk is full.
        """
        content = orjson.dumps(self.as_json(), option=orjson.OPT_APPEND_NEWLINE)
        content += self.occurrences_V.astype(_OCCURRENCES).tobytes()
        atomic.write_file(path, zstandard.compress(content))

    def add_file(self, path: Path) -> None:
        """Add the tally of a part, of the same tokenizer.

        Raises:
            DataError: The file is damaged, or of another vocabulary.
        """
        try:
            line, _, occurrences = zstandard.decompress(path.read_bytes()).partition(b"\n")
            content = orjson.loads(line)
            occurrences_V = np.frombuffer(occurrences, dtype=_OCCURRENCES)
        except (zstandard.ZstdError, ValueError) as error:
            raise DataError(f"{path}: damaged; remove it and run the same command again") from error
        if len(occurrences_V) != len(self.occurrences_V) or [*content["specials"]] != [
            *self._specials
        ]:
            raise DataError(
                f"{path}: of a tokenizer of {len(occurrences_V)} entries, expected one of "
                f"{len(self.occurrences_V)} with the same special tokens"
            )
        self.occurrences_V += occurrences_V
        for language, source, *row in content["counts"]:
            self._add_counts((language, source), np.array(row, dtype=np.int64))
        for language, found in content["lengths"].items():
            self._lengths.setdefault(language, DocumentLengths()).add_json(found)
        self._add_literals(content["specials"])

    def total(self) -> TextCounts:
        """Return the counts of all documents."""
        return _text_counts(sum(self._counts.values(), np.zeros(_NUM_COUNTS, dtype=np.int64)))

    def languages(self) -> dict[str, TextCounts]:
        """Return the counts by language."""
        return self._by(0)

    def sources(self) -> dict[str, TextCounts]:
        """Return the counts by source."""
        return self._by(1)

    def _by(self, part: int) -> dict[str, TextCounts]:
        sums: dict[str, NDArray[np.int64]] = {}
        for key, row in self._counts.items():
            name = key[part]
            sums[name] = sums[name] + row if name in sums else row
        return {name: _text_counts(row) for name, row in sorted(sums.items())}

    def lengths(self) -> dict[str, LengthFacts]:
        """Return the lengths of documents by language."""
        found = {name: lengths.facts() for name, lengths in sorted(self._lengths.items())}
        return {name: facts for name, facts in found.items() if facts is not None}

    def all_lengths(self) -> LengthFacts | None:
        """Return the lengths of all documents; None without any."""
        together = DocumentLengths()
        for lengths in self._lengths.values():
            together.add_json(lengths.as_json())
        return together.facts()

    def special_tokens(self, allowed: Sequence[str] = ()) -> list[SpecialToken]:
        """Return the special tokens, and how often their names stand in the texts.

        Args:
            allowed: Those that mean the token there.
        """
        tokenizer = self._facts.tokenizer
        named = ((token, tokenizer.piece(token)) for token in sorted(tokenizer.special_ids))
        return [
            SpecialToken(token, name, self._specials[name], name in allowed)
            for token, name in named
        ]


def _sums(values_N: NDArray[Any], lengths_D: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the sum of each document's values."""
    sums_D = np.zeros(len(lengths_D), dtype=np.int64)
    filled = np.flatnonzero(lengths_D)
    if len(filled):
        starts = (np.cumsum(lengths_D) - lengths_D)[filled]
        sums_D[filled] = np.add.reduceat(values_N, starts, dtype=np.int64)
    return sums_D


def _text_counts(row: NDArray[np.int64]) -> TextCounts:
    *counts, han_parts = row.tolist()
    return TextCounts(*counts, han_tokens=han_parts / WHOLE_TOKEN)
