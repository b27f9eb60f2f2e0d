"""All units of the corpora, encoded by several processes."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterator
from pathlib import Path

from llmctl.core.job_runner import JobRunner
from llmctl.core.progress import Progress
from llmctl.core.tokenize_plan import TokenizePlan
from llmctl.core.tokenizing.corpus_units import CorpusUnits, UnitJob
from llmctl.core.tokenizing.document_encoding import DocumentRules
from llmctl.core.tokenizing.tokenizer_making import MadeTokenizer
from llmctl.core.tokenizing.unit_encoding import EncodingSetting, UnitEncoder
from llmctl.core.tokens.encoder import EncodersDiffer
from llmctl.core.tokens.encoder_proof import open_encoder, prove
from llmctl.core.tokens.learned_spans import resolve_chat_template
from llmctl.core.workspace import Workspace

# With less text, to prove the fast encoder takes longer than it saves.
MIN_PROVED_BYTES = 4_000_000
_NUM_CHECKED = 100
_CHECKED_CHARACTERS = 1000


def make_units(
    plan: TokenizePlan,
    made: MadeTokenizer,
    units: CorpusUnits,
    workspace: Workspace,
    runner: JobRunner,
    base: Path,
    progress: Progress,
) -> list[str]:
    """Make the units that are not there; return the names of all, in order.

    Raises:
        DataError: The corpora are damaged, or a document cannot be encoded.
        RecipeError: The plan does not fit the documents.
        StorageError: The disk is full.
        Interrupted, OutOfTime: `progress` asked for the end.
    """
    first = next(iter(units.jobs()))
    is_large = max(units.num_bytes, len(first.lines)) >= MIN_PROVED_BYTES
    setting = EncodingSetting(
        DocumentRules(plan.prompt_template, plan.answer_template, plan.allow_special_tokens),
        plan.pretokenizer or (None if plan.from_ else "llmctl"),
        made.path,
        is_large and _is_proved(made.path, first, progress),
        made.end_id,
        resolve_chat_template(plan.chat_template, base, made.template, made.end_token),
        workspace.units,
        made.dtype.name,
        is_sampled=bool(plan.compare or plan.vocab_sizes),
        num_workers=runner.num_workers,
    )
    names: list[str] = []

    def jobs() -> Iterator[UnitJob]:
        for job in units.jobs():
            names.append(job.name)
            yield job

    if runner.num_workers > 1:  # this process only waits now
        next_step = "llmctl.core.tokenizing.publishing"
        threading.Thread(target=importlib.import_module, args=[next_step], daemon=True).start()
    for _ in runner.run("encode", None, jobs(), UnitEncoder, setting):
        pass
    return sorted(names)


def _is_proved(tokenizer: Path, first: UnitJob, progress: Progress) -> bool:
    """Tell whether the fast encoder can be used; a note says why not."""
    proof = prove(tokenizer)
    reason = proof.reason
    if proof.is_equal:
        documents = first.documents()[:_NUM_CHECKED]
        texts = [document.plain_text[:_CHECKED_CHARACTERS] for document in documents]
        try:
            open_encoder(tokenizer, is_proved=True).check(texts)
        except EncodersDiffer as difference:
            reason = str(difference)
    if reason:
        progress.note(f"encoded by the tokenizers library, which is slower: {reason}")
    return not reason
