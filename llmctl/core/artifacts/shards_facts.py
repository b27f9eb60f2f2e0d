"""What the report of `llmctl tokenize` is made of, as whoever tokenized hands it over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class TextCounts:
    """What texts hold, and the tokens that they became.

    Attributes:
        documents: How many texts.
        bytes: Of UTF-8.
        characters: Of Unicode.
        tokens: Without those that end documents.
        single_bytes: Tokens that are one byte of a character of several.
        han_characters: Characters of the script Han.
        han_tokens: The tokens on them: each counts by the share of its bytes that are theirs.
    """

    documents: int = 0
    bytes: int = 0
    characters: int = 0
    tokens: int = 0
    single_bytes: int = 0
    han_characters: int = 0
    han_tokens: float = 0.0

    @property
    def bytes_per_token(self) -> float | None:
        """Mean length of a token in bytes; None without tokens, as in the next two."""
        return self.bytes / self.tokens if self.tokens else None

    @property
    def characters_per_token(self) -> float | None:
        """Mean length of a token in characters."""
        return self.characters / self.tokens if self.tokens else None

    @property
    def single_byte_share(self) -> float | None:
        """Share of the tokens that are one byte of a character of several."""
        return self.single_bytes / self.tokens if self.tokens else None

    @property
    def tokens_per_han_character(self) -> float | None:
        """What a Han character costs; None where there is none."""
        return self.han_tokens / self.han_characters if self.han_characters else None

    def __add__(self, other: TextCounts) -> TextCounts:
        """Return the counts of both together."""
        mine, theirs = astuple(self), astuple(other)
        return TextCounts(*(a + b for a, b in zip(mine, theirs, strict=True)))

    def as_json(self) -> dict[str, Any]:
        """Return the counts and, where they are defined, the ratios."""
        ratios = {
            "bytes_per_token": self.bytes_per_token,
            "characters_per_token": self.characters_per_token,
            "single_byte_share": self.single_byte_share,
            "tokens_per_han_character": self.tokens_per_han_character,
        }
        return {
            "documents": self.documents,
            "bytes": self.bytes,
            "characters": self.characters,
            "tokens": self.tokens,
            "single_bytes": self.single_bytes,
            "han_characters": self.han_characters,
            "han_tokens": self.han_tokens,
            **{name: ratio for name, ratio in ratios.items() if ratio is not None},
        }


@dataclass(frozen=True, slots=True)
class LengthFacts:
    """Lengths of documents in tokens.

    Attributes:
        documents: How many.
        tokens: Of all.
        shortest: In tokens.
        longest: In tokens.
        quantiles: Length by the share of documents that are no longer.
        edges: Of a histogram, one more than counts.
        counts: Documents from an edge to just below the next.
    """

    documents: int
    tokens: int
    shortest: int
    longest: int
    quantiles: Mapping[float, int]
    edges: Sequence[int]
    counts: Sequence[int]


@dataclass(frozen=True, slots=True)
class TokenEntry:
    """One entry of a vocabulary.

    Attributes:
        id: Its number.
        text: As people read it; <0xE4> for a byte that is no character.
        bytes: What it stands for is so long.
        count: How often it occurs.
    """

    id: int
    text: str
    bytes: int
    count: int


@dataclass(frozen=True, slots=True)
class TokenKind:
    """Entries of one kind.

    Attributes:
        kind: "Han", "Latin words" and so on.
        entries: How many there are.
        unused: How many of them never occur.
        tokens: How often all of them occur.
    """

    kind: str
    entries: int
    unused: int
    tokens: int


@dataclass(frozen=True, slots=True)
class VocabularyFacts:
    """The entries of a vocabulary, and how often they occur in all documents.

    Attributes:
        size: One more than the largest id.
        entries: How many ids stand for something, special tokens included.
        unused: How many never occur, special tokens left out.
        unused_entries: The first few of them, by id, without single bytes, which every
            byte-level vocabulary has.
        kinds: All entries, by kind.
        most_frequent: The most frequent first.
        longest: By characters, the longest first, without those of blanks and signs only: rules
            and indentation would fill the list.
        longest_han: Of Han characters only.
    """

    size: int
    entries: int
    unused: int
    unused_entries: Sequence[TokenEntry]
    kinds: Sequence[TokenKind]
    most_frequent: Sequence[TokenEntry]
    longest: Sequence[TokenEntry]
    longest_han: Sequence[TokenEntry]


@dataclass(frozen=True, slots=True)
class SplitFacts:
    """What one split holds, ends of documents included in the tokens."""

    documents: int
    tokens: int


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """What a vocabulary of one size makes of a sample.

    Attributes:
        vocab_size: Its entries.
        bytes_per_token: By language.
    """

    vocab_size: int
    bytes_per_token: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class ComparedTokenizer:
    """What a tokenizer makes of a sample.

    Attributes:
        name: As the recipe calls it; the report's own comes first.
        vocab_size: Its entries.
        languages: The sample's counts, by language.
    """

    name: str
    vocab_size: int
    languages: Mapping[str, TextCounts]


@dataclass(frozen=True, slots=True)
class MixRow:
    """What the mix made of one corpus or source.

    Attributes:
        corpus: Its name.
        source: Within the corpus; empty for all of it.
        documents: In its training split.
        tokens: Of these.
        epochs: How often they are seen.
        used_tokens: What the training split holds of them.
        weight: As the recipe has it; None where it says nothing.
    """

    corpus: str
    source: str
    documents: int
    tokens: int
    epochs: float
    used_tokens: int
    weight: float | None = None


@dataclass(frozen=True, slots=True)
class LeakSample:
    """A document and what is like it on the other side.

    Attributes:
        id: The training document.
        source: Its source.
        other: The validation document or the evaluation item.
        share: How much of the other is in it, 0 to 1.
    """

    id: str
    source: str
    other: str
    share: float


@dataclass(frozen=True, slots=True)
class Leaks:
    """Training documents that hold what is to be tested.

    Attributes:
        against: "validation", or the name of an evaluation file.
        checked: Documents or items that were looked for.
        found: How many of these were found.
        samples: A few of the pairs.
    """

    against: str
    checked: int
    found: int
    samples: Sequence[LeakSample] = ()


@dataclass(frozen=True, slots=True)
class TrainingText:
    """What of one language a tokenizer was trained on."""

    documents: int
    bytes: int


@dataclass(frozen=True, slots=True)
class TokenizerTraining:
    """How the tokenizer was trained.

    Attributes:
        kind: "bpe", "word", "character" or "byte".
        pretokenizer: How text was cut before merging.
        min_frequency: A pair seen less often got no entry.
        languages: The text, by language.
    """

    kind: str
    pretokenizer: str
    min_frequency: int
    languages: Mapping[str, TrainingText]


@dataclass(frozen=True, slots=True)
class SpecialToken:
    """A special token.

    Attributes:
        id: Its number.
        text: Its name.
        found: How often that name stands in the documents as text.
        is_allowed: Whether it then means the token, else it stays text.
    """

    id: int
    text: str
    found: int = 0
    is_allowed: bool = False


@dataclass(frozen=True, slots=True)
class ShardsFacts:
    """Everything that the report says. What is left empty has no section.

    Attributes:
        tokenizer: What was used, in a line: "bpe, llmctl", a Hub id.
        total: Of all documents.
        languages: The same by language.
        sources: The same by source.
        vocabulary: The entries.
        lengths: Of documents, by language.
        all_lengths: Of all documents.
        splits: By name.
        curve: Sizes of the vocabulary, from one training.
        comparison: Tokenizers on one sample, this one first.
        mix: What training sees how often.
        leaks: What was looked for in the training split.
        training: How the tokenizer was trained; None where it was given.
        special_tokens: By id.
        warnings: Whole sentences.
    """

    tokenizer: str
    total: TextCounts
    languages: Mapping[str, TextCounts]
    sources: Mapping[str, TextCounts]
    vocabulary: VocabularyFacts
    lengths: Mapping[str, LengthFacts] = field(default_factory=dict[str, LengthFacts])
    all_lengths: LengthFacts | None = None
    splits: Mapping[str, SplitFacts] = field(default_factory=dict[str, SplitFacts])
    curve: Sequence[CurvePoint] = ()
    comparison: Sequence[ComparedTokenizer] = ()
    mix: Sequence[MixRow] = ()
    leaks: Sequence[Leaks] = ()
    training: TokenizerTraining | None = None
    special_tokens: Sequence[SpecialToken] = ()
    warnings: Sequence[str] = ()
