"""One stage without a recipe: inputs in, an artifact in the folder that `-o` names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from llmctl.core import workspace
from llmctl.core.artifacts.sources import Source, printable, resolve_sources
from llmctl.core.clean_plan import CleanPlan, PreparedShard, Shard
from llmctl.core.cleaning.input_digests import clean_inputs
from llmctl.core.errors import OutputError, UsageError
from llmctl.core.lock import exclusive, shared
from llmctl.core.manifest import (
    DigestCache,
    Identity,
    Manifest,
    check_files,
    read_manifest,
    require_manifest,
)
from llmctl.core.pipeline import BEHAVIOURS, Outcome, Settings
from llmctl.core.progress import Progress
from llmctl.core.tokenize_plan import TokenizePlan
from llmctl.core.work_settings import WorkSettings
from llmctl.core.workspace import Workspace

_VERBS = {"corpus": "clean", "shards": "tokenize", "export": "export"}


def clean_files(plan: CleanPlan, out: Path, settings: Settings, progress: Progress) -> Outcome:
    """Clean `plan.inputs`, relative to the working directory, into the corpus `out`.

    Raises:
        OutputError: `out` holds something that is no corpus.
        LlmctlError: Whatever the stage ends with.
    """
    from llmctl.core.stages.clean import clean

    sources, identity = _cleaning(plan, out, progress)
    cleaning = WorkSettings(settings.workers)
    return _make(
        out,
        identity,
        lambda space: clean(plan, sources, space, settings=cleaning, progress=progress),
        wait_seconds=settings.wait_seconds,
        progress=progress,
    )


def prepare_shard(
    plan: CleanPlan, out: Path, shard: Shard, settings: Settings, progress: Progress
) -> PreparedShard:
    """Make the units of one shard of what `clean_files` cleans.

    Raises:
        BusyError: Another process makes this shard, or the whole.
        LlmctlError: Whatever the stage ends with.
    """
    from llmctl.core.stages.clean import clean_shard

    sources, identity = _cleaning(plan, out, progress)
    cleaning = WorkSettings(settings.workers)
    with shared(_hidden(out, "lock"), wait_seconds=settings.wait_seconds, stop=progress.stop):
        found = read_manifest(out)
        if found is not None and found.key == identity.key:
            return PreparedShard(out, 0)
        space = Workspace(out, identity, is_shared=True)
        return clean_shard(plan, sources, space, shard, settings=cleaning, progress=progress)


def _cleaning(plan: CleanPlan, out: Path, progress: Progress) -> tuple[list[Source], Identity]:
    """Find the sources of a cleaning into `out`, and the identity of its corpus."""
    cache = DigestCache(_hidden(out, "digests.json"))
    sources = resolve_sources(
        plan.inputs, Path.cwd(), text_field=plan.text_field, progress=progress
    )
    for source in sources:
        if source.origin == "file" and out.resolve() in source.path.resolve().parents:
            raise OutputError(f"{out}: holds the input {source.name}; name another folder")
    inputs = clean_inputs(plan, sources, Path.cwd(), cache, progress)
    # A name need not be text, and the manifest must be.
    written = plan.model_copy(update={"inputs": tuple(printable(name) for name in plan.inputs)})
    cache.save()
    plan_json = written.model_dump(mode="json")
    return sources, Identity("corpus", plan_json, {}, inputs, BEHAVIOURS["clean"])


def tokenize_corpora(
    plan: TokenizePlan,
    corpora: Sequence[Path],
    out: Path,
    *,
    seed: int,
    settings: Settings,
    progress: Progress,
) -> Outcome:
    """Tokenize corpora into the shards `out`; paths in the plan are of the working directory.

    Raises:
        UsageError: There are no corpora.
        MissingInputError: One is no finished corpus.
        DataError: It is damaged.
        OutputError: `out` holds something that are no shards.
    """
    from llmctl.core.stages.tokenize import tokenize
    from llmctl.core.tokenizing.inputs import tokenize_inputs

    if not corpora:
        raise UsageError("no corpus; try: llmctl tokenize CORPUS -o DIR")
    directories = [*corpora, *map(Path, plan.corpora)]
    parents: dict[str, str] = {}
    for number, directory in enumerate(directories, start=1):
        parent = require_manifest(directory, "corpus")
        check_files(directory, parent)
        parents["corpus" if number == 1 else f"corpus {number}"] = parent.key
    cache = DigestCache(_hidden(out, "digests.json"))
    identity = Identity(
        "shards",
        {"tokenize": plan.model_dump(mode="json"), "seed": seed},
        parents,
        tokenize_inputs(plan, Path.cwd(), cache, progress),
        BEHAVIOURS["tokenize"],
    )
    cache.save()
    work = WorkSettings(settings.workers)
    return _make(
        out,
        identity,
        lambda space: tokenize(
            plan, directories, space, seed=seed, settings=work, progress=progress
        ),
        wait_seconds=settings.wait_seconds,
        progress=progress,
    )


def export_model(
    model: Path,
    out: Path,
    *,
    dtype: str | None,
    max_shard_size: str,
    wait_seconds: float,
    progress: Progress,
) -> Outcome:
    """Write a model directory for other programs as the artifact `out`.

    Raises:
        UsageError: `dtype` or `max_shard_size` is unknown.
        MissingInputError: A file of the model is not there.
        DataError: The model is damaged, or none that llmctl loads.
        OutputError: `out` holds something that is no export, or the model itself.
    """
    from llmctl.core.stages import export as stage

    plan = stage.ExportPlan.from_words(dtype, max_shard_size, model)
    _refuse_overlap(out, "model", model)
    source = stage.open_source(model)
    cache = DigestCache(_hidden(out, "digests.json"))
    parent = read_manifest(model)
    if parent is not None:
        check_files(model, parent, cache)
    identity = Identity(
        stage.KIND,
        plan.as_dict(),
        {} if parent is None else {parent.kind: parent.key},
        {path.name: cache.sha256(path) for path in source.paths},
        stage.BEHAVIOUR,
    )
    cache.save()
    outcome = _make(
        out,
        identity,
        lambda space: stage.export(plan, source, space, progress=progress),
        wait_seconds=wait_seconds,
        progress=progress,
        cache=cache,
    )
    cache.save()
    return outcome


def export_shards(
    shards: Path, out: Path, *, format_name: str, wait_seconds: float, progress: Progress
) -> Outcome:
    """Write finished shards for another program as the artifact `out`.

    Raises:
        UsageError: `format_name` is unknown.
        MissingInputError: A file of the shards is not there.
        DataError: They are damaged, or hold what the format has no room for.
        OutputError: `out` holds something that is no export, or the shards themselves.
    """
    from llmctl.core.artifacts.shards import TokenShards
    from llmctl.core.stages import export_shards as stage

    known_format = stage.format_from_word(format_name)
    _refuse_overlap(out, "shards", shards)
    source = TokenShards.open(shards)
    stage.require_fit(known_format, source)
    cache = DigestCache(_hidden(out, "digests.json"))
    check_files(shards, source.manifest, cache)
    cache.save()
    identity = Identity(
        stage.KIND,
        {"format": known_format},
        {source.manifest.kind: source.manifest.key},
        {},
        stage.BEHAVIOUR,
    )
    outcome = _make(
        out,
        identity,
        lambda space: stage.export_shards(known_format, source, space, progress=progress),
        wait_seconds=wait_seconds,
        progress=progress,
        cache=cache,
    )
    cache.save()
    return outcome


def _refuse_overlap(out: Path, kind: str, source: Path) -> None:
    ours, theirs = out.resolve(), source.resolve()
    if ours == theirs or ours in theirs.parents or theirs in ours.parents:
        raise OutputError(f"{out}: overlaps the {kind} {source}; name another folder")


def _make(
    out: Path,
    identity: Identity,
    make: Callable[[Workspace], Manifest],
    *,
    wait_seconds: float,
    progress: Progress,
    cache: DigestCache | None = None,
) -> Outcome:
    with exclusive(_hidden(out, "lock"), wait_seconds=wait_seconds, stop=progress.stop):
        workspace.settle(out)
        found = read_manifest(out)
        if found is not None and found.kind != identity.kind:
            raise OutputError(f"{out}: is a {found.kind}, no {identity.kind}; name another folder")
        if found is not None and found.key == identity.key:
            check_files(out, found, cache)
            return Outcome(out, found)
        manifest = make(Workspace(out, identity))
        return Outcome(out, manifest, [_VERBS[identity.kind]])


def _hidden(out: Path, suffix: str) -> Path:
    return out.parent / f".{out.name}.{suffix}"
