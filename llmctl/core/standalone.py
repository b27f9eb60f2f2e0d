"""One stage without a recipe: inputs in, an artifact in the folder that `-o` names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from llmctl.core import workspace
from llmctl.core.artifacts.sources import printable, resolve_sources
from llmctl.core.errors import OutputError
from llmctl.core.lock import exclusive
from llmctl.core.manifest import (
    DigestCache,
    Identity,
    Manifest,
    check_files,
    read_manifest,
    require_manifest,
)
from llmctl.core.pipeline import BEHAVIOURS, Outcome
from llmctl.core.progress import Progress
from llmctl.core.recipe import CleanPlan, TokenizePlan
from llmctl.core.workspace import Workspace


def clean_files(plan: CleanPlan, out: Path, *, wait_seconds: float, progress: Progress) -> Outcome:
    """Clean `plan.inputs`, relative to the working directory, into the corpus `out`.

    Raises:
        OutputError: `out` holds something that is no corpus.
        LlmctlError: Whatever the stage ends with.
    """
    from llmctl.core.stages.clean import clean

    cache = DigestCache(_hidden(out, "digests.json"))
    sources = resolve_sources(plan.inputs, Path.cwd(), text_field=plan.text_field)
    for source in sources:
        if source.origin == "file" and out.resolve() in source.path.resolve().parents:
            raise OutputError(f"{out}: holds the input {source.name}; name another folder")
    inputs = {source.name: source.digest(cache) for source in sources}
    # A name need not be text, and the manifest must be.
    written = plan.model_copy(update={"inputs": tuple(printable(name) for name in plan.inputs)})
    identity = Identity("corpus", written.model_dump(mode="json"), {}, inputs, BEHAVIOURS["clean"])
    cache.save()
    return _make(
        out,
        identity,
        lambda space: clean(plan, sources, space, progress=progress),
        wait_seconds=wait_seconds,
        progress=progress,
    )


def tokenize_corpus(
    plan: TokenizePlan,
    corpus: Path,
    out: Path,
    *,
    seed: int,
    wait_seconds: float,
    progress: Progress,
) -> Outcome:
    """Tokenize a corpus into the shards `out`.

    Raises:
        MissingInputError: `corpus` is no finished corpus.
        DataError: It is damaged.
        OutputError: `out` holds something that are no shards.
    """
    from llmctl.core.stages.tokenize import tokenize

    parent = require_manifest(corpus, "corpus")
    check_files(corpus, parent)
    identity = Identity(
        "shards",
        {"tokenize": plan.model_dump(mode="json"), "seed": seed},
        {"corpus": parent.key},
        {},
        BEHAVIOURS["tokenize"],
    )
    return _make(
        out,
        identity,
        lambda space: tokenize(plan, corpus, space, seed=seed, progress=progress),
        wait_seconds=wait_seconds,
        progress=progress,
    )


def _make(
    out: Path,
    identity: Identity,
    make: Callable[[Workspace], Manifest],
    *,
    wait_seconds: float,
    progress: Progress,
) -> Outcome:
    with exclusive(_hidden(out, "lock"), wait_seconds=wait_seconds, stop=progress.stop):
        workspace.settle(out)
        found = read_manifest(out)
        if found is not None and found.kind != identity.kind:
            raise OutputError(f"{out}: is a {found.kind}, no {identity.kind}; name another folder")
        if found is not None and found.key == identity.key:
            check_files(out, found)
            return Outcome(out, found)
        manifest = make(Workspace(out, identity))
        return Outcome(out, manifest, ["clean" if identity.kind == "corpus" else "tokenize"])


def _hidden(out: Path, suffix: str) -> Path:
    return out.parent / f".{out.name}.{suffix}"
