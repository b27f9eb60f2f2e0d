"""tokenize: corpora → shards.

1. The tokenizer: trained by a child process on a fair part of the training documents, which
   several processes have written out; or one that is there already.
2. Units: stretches of the corpora, encoded by several processes; a finished unit is a few
   files that the next start takes up.
3. Splits, repetitions and order of all documents, from their content and the seed.
4. The shards, what is seen twice, and the report.

The bytes are the same for any number of processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from llmctl.core import atomic
from llmctl.core.job_runner import JobRunner
from llmctl.core.manifest import Manifest
from llmctl.core.progress import Progress
from llmctl.core.tokenize_plan import TokenizePlan
from llmctl.core.tokenizing.corpus_units import CorpusUnits
from llmctl.core.work_settings import WorkSettings
from llmctl.core.workspace import Workspace

# With less text, starting processes takes longer than it saves.
MIN_SHARED_BYTES = 8_000_000


def tokenize(
    plan: TokenizePlan,
    corpora: Sequence[Path],
    workspace: Workspace,
    *,
    seed: int,
    settings: WorkSettings | None = None,
    progress: Progress,
) -> Manifest:
    """Encode every document of the corpora, and publish the shards.

    Args:
        plan: The recipe's section.
        corpora: Their directories, in order.
        workspace: Where the shards grow.
        seed: Decides the order of the documents.
        settings: What the command line adds.
        progress: Who watches.

    Raises:
        MissingInputError: Something is not there.
        DataError: It is damaged, or too small for two splits.
        RecipeError: The plan does not fit what is there.
        StorageError: The disk is full.
        Interrupted, OutOfTime: `progress` asked for the end; what is finished is kept.
    """
    settings = settings or WorkSettings()
    units = CorpusUnits(corpora, plan.validation_share)
    num_workers = settings.num_workers if units.num_bytes >= MIN_SHARED_BYTES else 1
    with atomic.storage_errors(workspace.path), JobRunner(num_workers, progress) as runner:
        runner.prepare("llmctl.core.tokenizing.unit_encoding")
        # Here, as the processes start meanwhile.
        from llmctl.core.tokenizing.tokenizer_making import make_tokenizer
        from llmctl.core.tokenizing.unit_making import make_units

        made = make_tokenizer(plan, units, workspace, runner, settings.base, progress)
        names = make_units(plan, made, units, workspace, runner, settings.base, progress)
    from llmctl.core.tokenizing.publishing import Publisher

    publisher = Publisher(plan, made, workspace, settings.base, progress)
    return publisher.publish(corpora, names, seed, is_alone=units.is_one_document)
