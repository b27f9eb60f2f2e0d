"""Everything that a cleaning reads, by its digest: what the corpus's key is made from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from llmctl.core.artifacts.sources import Source, printable
from llmctl.core.clean_plan import CleanPlan
from llmctl.core.manifest import DigestCache, require_manifest
from llmctl.core.progress import Progress


def clean_inputs(
    plan: CleanPlan,
    sources: Sequence[Source],
    base: Path,
    cache: DigestCache,
    progress: Progress | None = None,
) -> dict[str, str]:
    """Return the digests by name.

    Args:
        plan: The recipe's section.
        sources: The documents.
        base: What the other paths of the plan are relative to.
        cache: Of digests.
        progress: Told of what is downloaded; None: only what was downloaded before is there.

    Raises:
        MissingInputError: Something is not there.
        DataError: What is named as an earlier corpus is none.
    """
    inputs = {source.name: source.digest(cache) for source in sources}
    if plan.decontaminate.files:
        from llmctl.core.artifacts.evaluation_items import evaluation_sources

        for source in evaluation_sources(plan.decontaminate.files, base, progress):
            inputs[f"decontaminate: {source.name}"] = source.digest(cache)
    for name in plan.duplicates.against:
        inputs[f"against: {printable(name)}"] = require_manifest(base / name, "corpus").key
    return inputs
