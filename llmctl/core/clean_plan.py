"""The recipe's section `clean`, every threshold a key, and shards of its work."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pydantic
from pydantic import Field

from llmctl.core.errors import UsageError

Strings = Annotated[tuple[str, ...], Field(strict=False)]
Share = Annotated[float, Field(ge=0, le=1)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


EVALUATION_FIELDS = ("text", "question", "answer", "prompt", "completion")


def _threshold(value: object) -> float | bool | None:
    if value is None or value is False:
        return value
    if isinstance(value, int | float) and value is not True and 0 <= value < float("inf"):
        return float(value)
    raise ValueError("expected a number of at least 0, null (as the profile has it) or false (off)")


# Not a union of types: pydantic would report an error for each of its members.
Threshold = Annotated[
    float | bool | None,
    pydantic.PlainValidator(_threshold, json_schema_input_type=float | Literal[False] | None),
]

Profile = Literal[
    "standard", "web", "web-en", "web-zh", "web-ja", "code", "none", "fineweb", "fineweb2"
]
PrivateKind = Literal["email", "ip", "phone", "chinese_id", "bank_card", "secret"]


class Plan(pydantic.BaseModel):
    """What every section of a recipe is: frozen, strict, without keys it does not know."""

    model_config = pydantic.ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True
    )


class QualityRules(Plan):
    """Thresholds of the quality rules; null: as the profile has it; false: off.

    `max_…` drops a document whose value is above the threshold, `min_…` one below it.
    """

    min_characters: Threshold = None
    """Visible characters (blanks not counted; Chinese, kana, Hangul counted twice)."""
    min_letter_share: Threshold = None
    """Letters (of any script) and digits among the visible characters."""
    max_repeated_line_share: Threshold = None
    """Characters in lines that repeat an earlier line of the document."""
    max_word_characters: Threshold = None
    """Longest run of characters without a space, in scripts that use spaces."""
    min_language_score: Threshold = None
    """How sure the language is."""

    max_duplicate_paragraph_share: Threshold = None
    """Gopher: paragraphs that repeat an earlier one."""
    max_duplicate_paragraph_character_share: Threshold = None
    """Gopher: characters in them."""
    max_duplicate_line_share: Threshold = None
    """Gopher: lines that repeat an earlier one."""
    max_duplicate_line_character_share: Threshold = None
    """Gopher: characters in them."""
    max_top_2_gram_character_share: Threshold = None
    """Gopher: characters in the commonest two words in a row."""
    max_top_3_gram_character_share: Threshold = None
    """Gopher: characters in the commonest three words in a row."""
    max_top_4_gram_character_share: Threshold = None
    """Gopher: characters in the commonest four words in a row."""
    max_duplicate_5_gram_character_share: Threshold = None
    """Gopher: characters in five words in a row that were there before."""
    max_duplicate_6_gram_character_share: Threshold = None
    """Gopher: the same of six words."""
    max_duplicate_7_gram_character_share: Threshold = None
    """Gopher: the same of seven words."""
    max_duplicate_8_gram_character_share: Threshold = None
    """Gopher: the same of eight words."""
    max_duplicate_9_gram_character_share: Threshold = None
    """Gopher: the same of nine words."""
    max_duplicate_10_gram_character_share: Threshold = None
    """Gopher: the same of ten words."""

    min_words: Threshold = None
    """Gopher: words that are not only signs."""
    max_words: Threshold = None
    """Gopher: words that are not only signs."""
    min_mean_word_characters: Threshold = None
    """Gopher: mean length of these words."""
    max_mean_word_characters: Threshold = None
    """Gopher: mean length of these words."""
    max_hashes_per_word: Threshold = None
    """Gopher: signs `#` to a word."""
    max_ellipses_per_word: Threshold = None
    """Gopher: ellipses to a word."""
    max_bullet_line_share: Threshold = None
    """Gopher: lines that begin with a bullet."""
    max_ellipsis_line_share: Threshold = None
    """Gopher: lines that end with an ellipsis."""
    min_alphabetic_word_share: Threshold = None
    """Gopher: words with a letter."""
    min_stop_words: Threshold = None
    """Gopher: different words of `stop_words` that occur."""
    stop_words: Strings | None = None
    """The commonest words of the language; null: as the profile has them."""

    max_line_word_characters: Threshold = None
    """C4: a line with a longer word is cut out."""
    cut_citations: bool | None = None
    """C4: `[12]`, `[edit]` and `[citation needed]` are cut out."""
    cut_unfinished_lines: bool | None = None
    """C4: lines that end without terminal punctuation are cut out."""
    min_line_words: Threshold = None
    """C4: a line with fewer words is cut out."""
    drop_lorem_ipsum: bool | None = None
    """C4: a document with such filling is dropped."""
    cut_javascript_lines: bool | None = None
    """C4: lines that mention JavaScript are cut out."""
    drop_curly_brackets: bool | None = None
    """C4: a document with `{` is dropped."""
    cut_policy_lines: bool | None = None
    """C4: lines about cookies, privacy and terms of use are cut out."""
    min_sentences: Threshold = None
    """C4: sentences in the lines that are left."""

    min_terminal_line_share: Threshold = None
    """FineWeb: lines that end with terminal punctuation."""
    max_short_line_share: Threshold = None
    """FineWeb: lines of at most `short_line_characters`."""
    short_line_characters: Count | None = None
    """FineWeb: how long a short line may be."""
    max_duplicate_character_share: Threshold = None
    """FineWeb: characters in lines that repeat an earlier one."""
    max_newlines_per_word: Threshold = None
    """FineWeb: ends of line to a word."""

    max_line_characters: Threshold = None
    """Code: the longest line."""
    max_mean_line_characters: Threshold = None
    """Code: the mean line."""
    min_alphanumeric_share: Threshold = None
    """Code: letters and digits among all characters."""
    drop_generated_code: bool | None = None
    """Code: a file whose first lines say that a program wrote it is dropped."""


class PrivacyPlan(Plan):
    """Personal data and secrets in the text: what is looked for, and what is done."""

    action: Literal["off", "report", "replace", "drop"] = "report"
    """Count them; put a placeholder in their place; drop their documents."""
    kinds: Annotated[tuple[PrivateKind, ...], Field(strict=False)] = (
        "email",
        "ip",
        "phone",
        "chinese_id",
        "bank_card",
        "secret",
    )
    """What is looked for."""


class DuplicatesPlan(Plan):
    """Texts that are there more than once: what counts as that, and what they are held against."""

    exact: bool = True
    """Documents equal but for case, width and white space count as duplicates."""
    similarity: Share | None = 0.8
    """Documents at least so alike count as near-duplicates; null: none."""
    measure: Literal["jaccard", "containment"] = "jaccard"
    """How alike: shared five-word runs (five characters in Chinese) to all of both, or to those
    of the one that is dropped."""
    against: Strings = ()
    """Earlier corpora; what they hold already is dropped."""
    max_line_documents: Count | None = None
    """A line found in more documents is boilerplate, and is cut out of all; null: off."""
    min_line_characters: Count = 10
    """Shorter lines are not looked at for that."""


class DecontaminationPlan(Plan):
    """Evaluation data in the text: where it stands, what counts as a hit, and what is done."""

    files: Strings = ()
    """Text files (an item a line) or JSON Lines."""
    fields: Strings = EVALUATION_FIELDS
    """The fields of a record to look for; those that it lacks are passed over."""
    ngram_words: Count = 13
    """So many words in a row are a hit."""
    ngram_characters: Count = 24
    """So many characters in a row are a hit, in scripts without spaces."""
    action: Literal["drop", "cut"] = "drop"
    """Drop the document, or cut the sentences with hits out of it."""


class MixPlan(Plan):
    """Shares and bounds of the sources in the corpus."""

    weights: dict[str, NotNegative] = {}
    """Of a source (by name or glob), the share of its documents to keep; 2 takes each twice."""
    max_characters: dict[str, Count] = {}
    """Of a source (by name or glob), the most characters to keep."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 1
    """Decides which documents."""


class CleanPlan(Plan):
    """Raw text → corpus."""

    inputs: Annotated[Strings, Field(min_length=1)] = ("builtin:python-docs",)
    """Files, directories, globs, `-` (standard input), `hub:owner/dataset`, `https://…`, or
    `builtin:python-docs`."""
    text_field: str = "text"
    """The field of a record that holds the text; `data.body` is a field of a field."""
    repair: bool = True
    """Mend mojibake, normalise to NFC, drop control characters, unify line endings."""
    cut_wire_format: bool = True
    """Cut lines that a program's messages left in a text, such as `{"msg_type": …}`."""
    profile: Profile = "standard"
    """The thresholds to begin with, by language; `llmctl recipes --profile NAME` prints them."""
    rules: QualityRules = QualityRules()
    """Thresholds that replace the profile's, in every language."""
    rules_by_language: dict[str, QualityRules] = {}
    """The same for one language: `zh: {min_words: 20}`."""
    languages: Strings = ()
    """Only documents in these are kept, such as `[en, zh]`; empty: all. Naming `ja` lets the
    profiles web and fineweb2 judge Japanese by its words (extra ja); else standard does."""
    privacy: PrivacyPlan = PrivacyPlan()
    """What is done about personal data and secrets."""
    duplicates: DuplicatesPlan = DuplicatesPlan()
    """Which documents say what another one says already."""
    decontaminate: DecontaminationPlan = DecontaminationPlan()
    """What evaluation data must not be found in the corpus."""
    mix: MixPlan = MixPlan()
    """How much of each source is kept."""
    sample: Count | None = None
    """Clean only so many documents, drawn from all; null: every one."""
    max_unreadable: Share = 0.01
    """With more unreadable documents than this share, nothing is published."""
    max_drop: Share | None = None
    """Where one rule drops more of a language or a source, nothing is published; null: a
    warning from a half on."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One of several shares of the units, each made on its own; counted from 1."""

    number: int
    count: int

    @classmethod
    def from_words(cls, words: str) -> Shard:
        """Read "2/8".

        Raises:
            UsageError: It is nothing of the kind.
        """
        match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", words)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise UsageError(f"--shard {words}: expected I/N with I from 1 to N, such as 2/8")
        return cls(int(match[1]), int(match[2]))


@dataclass(frozen=True, slots=True)
class PreparedShard:
    """What was made of one shard.

    Attributes:
        path: Where its units lie, or the corpus where that is complete.
        num_units: How many they are.
    """

    path: Path
    num_units: int
