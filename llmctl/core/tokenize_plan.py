"""The recipe's section `tokenize`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field

from llmctl.core.clean_plan import EVALUATION_FIELDS, Count, Plan, Share, Strings

MIN_VOCAB_SIZE = 257
# The library counts pairs of tokens in 32 bits with a sign: no pair of so few bytes overflows.
MAX_TRAINING_BYTES = 2_000_000_000

VocabularyKind = Literal["bpe", "word", "character", "byte"]
PretokenizerName = Literal["llmctl", "gpt2", "cl100k", "o200k", "llama3", "qwen2"]
VocabularySize = Annotated[int, Field(ge=MIN_VOCAB_SIZE, le=10_000_000)]
Weight = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]


class TokenMix(Plan):
    """How often one corpus or source is seen in training."""

    weight: Weight | None = None
    """Its share of the training tokens, relative to the other weights; null: as it is."""
    epochs: Weight | None = None
    """With a weight: repeated at most so often, 1 by default; without: exactly so often."""


class TokenizePlan(Plan):
    """Corpus → tokenizer and shards."""

    model_config = pydantic.ConfigDict(serialize_by_alias=True)

    from_: Annotated[str | None, Field(alias="from")] = None
    """Use this tokenizer, and train none: a tokenizer.json, vocab.json with merges.txt, a file of
    tiktoken ranks, a model directory, a run's name or a Hub id."""
    model: VocabularyKind = "bpe"
    """Byte pairs; or whole words, characters or bytes. What is not in it is written in bytes."""
    pretokenizer: PretokenizerName | None = None
    """How text is cut before merging; null: llmctl's, or with `from` the one that belongs to it."""
    vocab_size: VocabularySize = 4096
    """Entries of the vocabulary: 256 bytes, the special tokens, and what is learnt."""
    vocab_sizes: Annotated[tuple[VocabularySize, ...], Field(strict=False)] = ()
    """Other sizes to be reported beside it, from the same training."""
    min_frequency: Count = 2
    """A pair, a word or a character seen less often gets no entry."""
    special_tokens: Strings = ()
    """Further special tokens, such as <|im_start|>; their ids follow END_OF_TEXT's."""
    end_token: str | None = None
    """Ends each document; null: <|endoftext|>, or what belongs to the tokenizer of `from`."""
    allow_special_tokens: Strings = ()
    """Special tokens that are meant where they stand in a text; others stay text there."""
    allow_lossy: bool = False
    """Accept a tokenizer from which not every text comes back; what is lost is counted."""
    max_training_bytes: Annotated[int, Field(ge=1, le=MAX_TRAINING_BYTES)] = 200_000_000
    """The tokenizer learns from at most so many bytes of text."""
    max_document_training_bytes: Count = 1_000_000
    """And from at most so many of one document, taken from all over it."""
    training_shares: dict[str, Share] = Field(default={})
    """Shares of languages in max_training_bytes, such as {zh: 0.5}; what they leave is shared
    evenly by the others. By default all share evenly, and none gives more than it has."""
    chat_template: str | None = None
    """A Jinja file that writes conversations; null: that of `from`, else ChatML."""
    prompt_template: str | None = None
    """What precedes the answer of a pair, with its fields in braces: "{question}\\n"."""
    answer_template: str | None = None
    """The answer, which is what is learnt: "{answer}"."""
    corpora: Strings = ()
    """Finished corpora that are tokenized beside the recipe's own."""
    mix: dict[str, TokenMix] = Field(default={})
    """Weights and epochs by the name of a corpus or a source; names are patterns, as "web/*"."""
    validation_share: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Share of the documents held out, chosen by a hash of their content."""
    evaluation_files: Strings = ()
    """Evaluation data, which must not be in the training split: looked for there and reported."""
    evaluation_fields: Strings = EVALUATION_FIELDS
    """The fields of their records; those that one lacks are passed over."""
    compare: Strings = ()
    """Other tokenizers, named as in `from`, that the report sets beside this one."""
    shard_tokens: Count = 100_000_000
    """A shard file is closed at the first document end after so many tokens."""

    @pydantic.model_validator(mode="before")
    @classmethod
    def _from_trains_nothing(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("from") is not None:
            trained = sorted(_OF_TRAINING & data.keys())
            if trained:
                listed = ", ".join(trained)
                raise ValueError(f"{listed}: of a training, and with `from` there is none")
        return data

    @pydantic.field_validator("answer_template")
    @classmethod
    def _needs_both_templates(cls, value: str | None, info: pydantic.ValidationInfo) -> str | None:
        if (value is None) != (info.data.get("prompt_template") is None):
            raise ValueError("prompt_template and answer_template go together")
        return value

    @pydantic.field_validator("training_shares")
    @classmethod
    def _at_most_all(cls, value: dict[str, float]) -> dict[str, float]:
        if sum(value.values()) > 1:
            raise ValueError(f"the shares must be at most 1 in all, found {sum(value.values()):g}")
        return value


_OF_TRAINING = frozenset(
    {
        "model",
        "vocab_size",
        "vocab_sizes",
        "min_frequency",
        "special_tokens",
        "max_training_bytes",
        "max_document_training_bytes",
        "training_shares",
    }
)
