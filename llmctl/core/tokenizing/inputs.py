"""Everything that tokenizing reads, by its digest: what the shards' key is made from."""

from __future__ import annotations

from pathlib import Path

from llmctl.core.artifacts.evaluation_items import evaluation_sources
from llmctl.core.artifacts.sources import printable
from llmctl.core.manifest import DigestCache, require_manifest
from llmctl.core.progress import Progress
from llmctl.core.tokenize_plan import TokenizePlan
from llmctl.core.tokenizing.tokenizer_reference import resolve_tokenizer


def tokenize_inputs(
    plan: TokenizePlan, base: Path, cache: DigestCache, progress: Progress | None = None
) -> dict[str, str]:
    """Return the digests, by name, of what is read beside the recipe's own corpus.

    Args:
        plan: The recipe's section.
        base: What paths are relative to.
        cache: Of digests.
        progress: Told of what is downloaded; None: only what was downloaded before is there.

    Raises:
        MissingInputError: Something is not there.
        DataError: What is named as a corpus is none, or a tokenizer is damaged.
    """
    inputs: dict[str, str] = {}
    if plan.from_ is not None:
        inputs |= _tokenizer_files("from", plan.from_, base, cache, progress)
    for reference in plan.compare:
        inputs |= _tokenizer_files(f"compare {reference}", reference, base, cache, progress)
    if plan.chat_template is not None:
        inputs["chat_template"] = cache.sha256(base / plan.chat_template)
    for source in evaluation_sources(
        plan.evaluation_files, base, progress, "tokenize.evaluation_files"
    ):
        inputs[f"evaluation: {source.name}"] = source.digest(cache)
    for name in plan.corpora:
        inputs[f"corpus: {printable(name)}"] = require_manifest(base / name, "corpus").key
    return inputs


def _tokenizer_files(
    label: str, reference: str, base: Path, cache: DigestCache, progress: Progress | None
) -> dict[str, str]:
    source = resolve_tokenizer(reference, base, progress=progress)
    return {f"{label}: {path.name}": cache.sha256(path) for path in source.files}
