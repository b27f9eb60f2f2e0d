"""Everything that tokenizing found, as its report says it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tokenizers

from llmctl.core.artifacts.shards_facts import (
    ComparedTokenizer,
    CurvePoint,
    Leaks,
    MixRow,
    ShardsFacts,
    SplitFacts,
    TextCounts,
)
from llmctl.core.progress import Progress
from llmctl.core.tokenize_plan import TokenizePlan
from llmctl.core.tokenizing.encoded_units import UnitFiles
from llmctl.core.tokenizing.sampling import Sample, read_sample
from llmctl.core.tokenizing.token_facts import TokenFacts
from llmctl.core.tokenizing.token_tally import EncodedTexts, TokenTally
from llmctl.core.tokenizing.tokenizer_making import MadeTokenizer
from llmctl.core.tokenizing.tokenizer_reference import resolve_tokenizer
from llmctl.core.tokenizing.vocabulary_facts import vocabulary_facts
from llmctl.core.tokens.tokenizer import Tokenizer
from llmctl.core.tokens.tokenizer_training import cut


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found beside the counts.

    Attributes:
        plan: The recipe's section.
        made: The tokenizer.
        base: What paths are relative to.
        bound: Documents of a content hash below it are held out; None: the second one is.
        mix: By corpus and source.
        leaks: What training sees again.
        splits: Documents and tokens of each split.
        warnings: Whole sentences.
    """

    plan: TokenizePlan
    made: MadeTokenizer
    base: Path
    bound: int | None
    mix: Sequence[MixRow]
    leaks: Sequence[Leaks]
    splits: Mapping[str, SplitFacts]
    warnings: Sequence[str]


def gathered_facts(
    findings: Findings,
    tally: TokenTally,
    facts: TokenFacts,
    units: Sequence[UnitFiles],
    progress: Progress,
) -> ShardsFacts:
    """Put everything together.

    Args:
        findings: What was found.
        tally: Of all units.
        facts: Of the tokenizer.
        units: All of them, in order.
        progress: Asked for an early end.

    Raises:
        MissingInputError, DataError: A tokenizer to compare with cannot be read.
        Interrupted, OutOfTime: `progress` asked for the end.
    """
    plan, made = findings.plan, findings.made
    curve: list[CurvePoint] = []
    comparison: list[ComparedTokenizer] = []
    if plan.compare or plan.vocab_sizes:
        sample = read_sample((unit.sample for unit in units), findings.bound)
        curve = _curve(plan, made, sample, progress)
        comparison = _comparison(findings, facts.tokenizer, sample, progress)
    return ShardsFacts(
        tokenizer=plan.from_ or f"{plan.model}, {plan.pretokenizer or 'llmctl'}",
        total=tally.total(),
        languages=tally.languages(),
        sources=tally.sources(),
        vocabulary=vocabulary_facts(facts, tally.occurrences_V),
        lengths=tally.lengths(),
        all_lengths=tally.all_lengths(),
        splits=findings.splits,
        curve=curve,
        comparison=comparison,
        mix=findings.mix,
        leaks=findings.leaks,
        training=made.training,
        special_tokens=tally.special_tokens(plan.allow_special_tokens),
        warnings=findings.warnings,
    )


def _curve(
    plan: TokenizePlan, made: MadeTokenizer, sample: Sample, progress: Progress
) -> list[CurvePoint]:
    if not plan.vocab_sizes or made.largest is None:
        return []
    largest = tokenizers.Tokenizer.from_file(str(made.largest))
    points: list[CurvePoint] = []
    for size in sorted({plan.vocab_size, *plan.vocab_sizes}):
        progress.check()
        counts = _counts(Tokenizer(cut(largest, size)), sample)
        points.append(
            CurvePoint(
                size,
                {
                    language: round(found.bytes_per_token, 4)
                    for language, found in counts.items()
                    if found.bytes_per_token is not None
                },
            )
        )
    return points


def _comparison(
    findings: Findings, own: Tokenizer, sample: Sample, progress: Progress
) -> list[ComparedTokenizer]:
    if not findings.plan.compare:
        return []
    compared = [ComparedTokenizer("this one", own.vocab_size, _counts(own, sample))]
    for reference in findings.plan.compare:
        progress.check()
        other = resolve_tokenizer(reference, findings.base, progress=progress).tokenizer
        compared.append(ComparedTokenizer(reference, other.vocab_size, _counts(other, sample)))
    return compared


def _counts(tokenizer: Tokenizer, sample: Sample) -> dict[str, TextCounts]:
    tally = TokenTally(TokenFacts(tokenizer))
    for language, texts in sorted(sample.items()):
        encoded = tokenizer.encode_batch(texts)
        lengths = np.array([len(ids) for ids in encoded], dtype=np.int64)
        ids = np.array([token for ids in encoded for token in ids], dtype=np.uint32)
        names = [language] * len(texts)
        tally.add(EncodedTexts(texts, names, names, lengths, ids))
    return tally.languages()
