"""Encoded units → shards in their place, with the report that answers for them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from llmctl.core import atomic
from llmctl.core.artifacts.shards import TOKENIZER_NAME, SplitName
from llmctl.core.artifacts.shards_facts import Leaks, ShardsFacts, SplitFacts
from llmctl.core.artifacts.shards_report import write_shards_report
from llmctl.core.manifest import Manifest
from llmctl.core.progress import Progress
from llmctl.core.text.splitting import validation_bound
from llmctl.core.tokenize_plan import TokenizePlan
from llmctl.core.tokenizing.assembly import Order, places, write_shards
from llmctl.core.tokenizing.encoded_units import EncodedDocuments, UnitFiles
from llmctl.core.tokenizing.leak_checks import evaluation_leaks, validation_leaks
from llmctl.core.tokenizing.repeating import corpus_name, instance_order, mix_documents
from llmctl.core.tokenizing.reporting import Findings, gathered_facts
from llmctl.core.tokenizing.token_facts import TokenFacts
from llmctl.core.tokenizing.token_tally import TokenTally
from llmctl.core.tokenizing.tokenizer_making import MadeTokenizer
from llmctl.core.tokens.tokenizer import Tokenizer
from llmctl.core.workspace import Workspace


class Publisher:
    """Writes what becomes of all units.

    Args:
        plan: The recipe's section.
        made: The tokenizer.
        workspace: Where the units lie and the shards grow.
        base: What the plan's paths are relative to.
        progress: Who watches.
    """

    def __init__(
        self,
        plan: TokenizePlan,
        made: MadeTokenizer,
        workspace: Workspace,
        base: Path,
        progress: Progress,
    ) -> None:
        self._plan = plan
        self._made = made
        self._workspace = workspace
        self._base = base
        self._progress = progress
        self._tokenizer = Tokenizer.from_file(made.path)

    def publish(
        self, corpora: Sequence[Path], names: Sequence[str], seed: int, *, is_alone: bool
    ) -> Manifest:
        """Write the shards and all that goes with them.

        Args:
            corpora: Their directories.
            names: Of all units, in order.
            seed: Decides the order of the documents.
            is_alone: Whether there are two parts of one document.

        Raises:
            DataError: A unit is damaged, or there are no two different texts.
            RecipeError: The mix does not fit the corpora.
            StorageError: The disk is full.
            Interrupted, OutOfTime: `progress` asked for the end.
        """
        plan, progress, result = self._plan, self._progress, self._workspace.result
        files = [UnitFiles(self._workspace.units, name) for name in names]
        encoded = EncodedDocuments(files, self._made.dtype)
        warnings: list[str] = []
        if encoded.sequences.num_unlearned:
            warnings.append(
                f"{encoded.sequences.num_unlearned:,} conversations have no turn of the assistant; "
                "nothing of them is learned"
            )
        if encoded.sequences.num_lost:
            warnings.append(
                f"{encoded.sequences.num_lost:,} of {len(encoded.lengths_D):,} documents do not "
                f"come back whole from their ids: {self._tokenizer.lossy_reason()}"
            )
        if is_alone:
            bound = None
            is_held_out_D = np.array([False, True])
            warnings.append(
                f"the corpus is one document; its end, {plan.validation_share:.1%}, is held out "
                "for validation"
            )
        else:
            bound = validation_bound(encoded.hashes_D, plan.validation_share)
            is_held_out_D = encoded.hashes_D < np.uint64(bound)
        corpus_names = [corpus_name(path) for path in corpora]
        mix = mix_documents(plan, corpus_names, encoded, is_held_out_D, seed)
        orders: dict[SplitName, Order] = {
            "train": instance_order(encoded, mix.repetitions_D, seed),
            "validation": instance_order(encoded, is_held_out_D.astype(np.uint32), seed),
        }
        shape = (self._tokenizer.vocab_size, self._made.end_id, plan.shard_tokens)
        # Both are numpy's work, which leaves the other a processor.
        with ThreadPoolExecutor(1) as beside:
            looking = beside.submit(validation_leaks, encoded, is_held_out_D, progress)
            offsets = write_shards(orders, encoded, shape, result, progress)
            places(orders, offsets, encoded).write(result)
            shutil.copyfile(self._made.path, result / TOKENIZER_NAME)
            atomic.observer("write", result / TOKENIZER_NAME)
            leaks = [looking.result()]
        leaks += evaluation_leaks(
            plan, self._base, encoded, is_held_out_D, self._tokenizer, progress
        )
        token_facts = TokenFacts(self._tokenizer)
        tally = TokenTally(token_facts)
        for unit in files:
            tally.add_file(unit.tally)
        self._check_conservation(tally, encoded)
        warnings += _warnings(plan, tally, leaks)
        splits = {
            split: SplitFacts(len(order), int(offsets[split][-1]))
            for split, order in orders.items()
        }
        findings = Findings(plan, self._made, self._base, bound, mix.rows, leaks, splits, warnings)
        facts = gathered_facts(findings, tally, token_facts, files, progress)
        for warning in warnings:
            progress.warn(warning)
        write_shards_report(result, facts)
        return self._workspace.publish(self._counts(facts, encoded, orders))

    def _check_conservation(self, tally: TokenTally, encoded: EncodedDocuments) -> None:
        """Tokens are those of the documents, and their bytes are those of the texts."""
        total = tally.total()
        assert total.tokens == int(encoded.lengths_D.sum()), total
        is_whole = encoded.content == "text" and not self._plan.allow_special_tokens
        is_exact = self._tokenizer.is_byte_level and self._tokenizer.lossy_reason() is None
        if is_whole and is_exact:
            num_bytes = int(tally.occurrences_V @ self._tokenizer.byte_lengths().astype(np.int64))
            assert num_bytes == total.bytes, (num_bytes, total)

    def _counts(
        self,
        facts: ShardsFacts,
        encoded: EncodedDocuments,
        orders: dict[SplitName, Order],
    ) -> dict[str, Any]:
        num_bytes_D = encoded.sequences.num_bytes_D
        counts: dict[str, Any] = {
            "content": encoded.content,
            "dtype": self._made.dtype.name,
            "vocab_size": self._tokenizer.vocab_size,
        }
        for split, order in orders.items():
            counts[f"{split}_documents"] = facts.splits[split].documents
            counts[f"{split}_tokens"] = facts.splits[split].tokens
            counts[f"{split}_text_bytes"] = int(num_bytes_D[order].sum())
        return counts | {
            "text_characters": facts.total.characters,
            "bytes_per_token": _rounded(facts.total.bytes_per_token),
            "bytes_per_token_by_language": {
                language: _rounded(found.bytes_per_token)
                for language, found in facts.languages.items()
            },
            "literal_special_tokens": sum(token.found for token in facts.special_tokens),
            "unused_entries": facts.vocabulary.unused,
        }


def _warnings(plan: TokenizePlan, tally: TokenTally, leaks: Sequence[Leaks]) -> list[str]:
    warnings = [
        f"{token.text} stands in the text {token.found:,} times and is encoded as the "
        "characters that it consists of"
        for token in tally.special_tokens(plan.allow_special_tokens)
        if token.found and not token.is_allowed
    ]
    for found in leaks:
        if found.found and found.against != "validation":
            warnings.append(
                f"{found.found:,} of {found.checked:,} items of {found.against} are in the "
                "training split, for the most part or whole; see leaks in the report"
            )
        elif found.found:
            warnings.append(
                f"{found.found:,} of {found.checked:,} validation documents are in the training "
                "split too, for the most part or whole; see leaks in the report, and "
                "clean.duplicates"
            )
    return warnings


def _rounded(ratio: float | None) -> float:
    return round(ratio or 0.0, 4)
