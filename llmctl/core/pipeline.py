"""A recipe's stages in order: what is stale and why, what runs next, under the lock.

    clean → corpus    tokenize → shards    train → model    evaluate → report

A stage's artifact is up to date when its key (see `manifest.Identity`) is the one that
the recipe, its inputs and the parents' keys give, and its files are intact.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from llmctl.core import atomic, workspace
from llmctl.core.artifacts.run_directory import (
    DECISIONS_NAME,
    RunDirectory,
    discard_training,
)
from llmctl.core.artifacts.sources import Source, resolve_sources
from llmctl.core.clean_plan import PreparedShard, Shard
from llmctl.core.cleaning.input_digests import clean_inputs
from llmctl.core.errors import DataError, LlmctlError, MissingInputError, RecipeError, UsageError
from llmctl.core.lock import exclusive, shared
from llmctl.core.manifest import (
    DigestCache,
    Identity,
    Manifest,
    check_files,
    differences,
    read_manifest,
    reasons_stale,
)
from llmctl.core.progress import Progress
from llmctl.core.recipe import LoadedRecipe, runs_directory
from llmctl.core.work_settings import WorkSettings
from llmctl.core.workspace import Workspace

StageName = Literal["clean", "tokenize", "train", "eval"]
Status = Literal["up to date", "stale", "missing", "unfinished", "aside", "damaged", "unknown"]

STAGES: tuple[StageName, ...] = ("clean", "tokenize", "train", "eval")
ARTIFACTS: dict[StageName, str] = {
    "clean": "corpus",
    "tokenize": "shards",
    "train": "model",
    "eval": "report",
}
PARENTS: dict[StageName, tuple[StageName, ...]] = {
    "clean": (),
    "tokenize": ("clean",),
    "train": ("tokenize",),
    "eval": ("tokenize", "train"),
}
DEVICES = ("auto", "cpu", "cuda", "mps")
DTYPES = ("auto", "float32", "bfloat16", "float16")
# Raised when the same plan and inputs give other data than before; enters the key.
BEHAVIOURS: dict[StageName, int] = {"clean": 1, "tokenize": 2, "train": 2, "eval": 1}


@dataclass(frozen=True)
class Settings:
    """What the command line adds to a recipe; none of it enters a key.

    Attributes:
        device: auto, cpu, cuda or mps.
        dtype: auto, float32, bfloat16 or float16.
        only: Run the one stage and refuse where its input is missing or stale.
        restart: Give up an unfinished training under another key.
        wait_seconds: How long to wait for another process's lock.
        run_directory: Another folder for this run.
        workers: Processes that clean and tokenize; None: as many as there are processors.

    Raises:
        UsageError: An unknown device or type.
    """

    device: str = "auto"
    dtype: str = "auto"
    only: bool = False
    restart: bool = False
    wait_seconds: float = 0.0
    run_directory: Path | None = None
    workers: int | None = None

    def __post_init__(self) -> None:
        for option, word, known in (
            ("--device", self.device, DEVICES),
            ("--dtype", self.dtype, DTYPES),
        ):
            if word not in known:
                raise UsageError(f"{option} {word}: expected one of {', '.join(known)}")


@dataclass(frozen=True)
class StageState:
    """How one stage's artifact stands to the recipe.

    Attributes:
        reasons: Why it is not up to date, a phrase each.
    """

    stage: StageName
    path: Path
    status: Status
    reasons: tuple[str, ...] = ()
    manifest: Manifest | None = None


@dataclass
class Outcome:
    """What `bring_up_to_date` found and did."""

    path: Path
    manifest: Manifest
    ran: list[str] = field(default_factory=list[str])


class Run:
    """A recipe in its run directory.

    Args:
        loaded: The recipe.
        settings: What the command line says.
        progress: Who watches; None: nothing is run, and nothing downloaded.
    """

    def __init__(
        self, loaded: LoadedRecipe, settings: Settings, progress: Progress | None = None
    ) -> None:
        self.loaded = loaded
        self.recipe = loaded.recipe
        self.settings = settings
        self.progress = progress or Progress()
        self._download_progress = progress
        path = settings.run_directory or runs_directory() / self.recipe.name
        self.directory = RunDirectory(path)
        self.cache = DigestCache(self.directory.digests)
        self._identities: dict[StageName, Identity] = {}

    def artifact(self, stage: StageName) -> Path:
        """Where the stage's artifact lies."""
        return self.directory.path / ARTIFACTS[stage]

    @cached_property
    def sources(self) -> list[Source]:
        """The inputs of clean.

        Raises:
            MissingInputError: One matches nothing.
        """
        return resolve_sources(
            self.recipe.clean.inputs,
            self.loaded.inputs_directory,
            text_field=self.recipe.clean.text_field,
            progress=self._download_progress,
        )

    def identity(self, stage: StageName) -> Identity:
        """What the stage's artifact is to be made from, by the recipe and the inputs."""
        if stage not in self._identities:
            self._identities[stage] = self._find_identity(stage)
        return self._identities[stage]

    def _find_identity(self, stage: StageName) -> Identity:
        plan, inputs = self._plan(stage), dict[str, str]()
        if stage == "clean":
            try:
                base = self.loaded.inputs_directory
                inputs = clean_inputs(
                    self.recipe.clean, self.sources, base, self.cache, self._download_progress
                )
            except MissingInputError:
                # Raw text is often deleted once it is cleaned; the corpus then stands as it is.
                made = read_manifest(self.artifact("clean"))
                if made is None or made.plan != plan:
                    raise
                return made.identity
        if stage == "tokenize":
            from llmctl.core.tokenizing.inputs import tokenize_inputs  # costs pyarrow

            inputs = tokenize_inputs(
                self.recipe.tokenize,
                self.loaded.inputs_directory,
                self.cache,
                self._download_progress,
            )
        if stage == "eval":
            inputs = {str(path): self.cache.sha256(path) for path in self._evaluation_files()}
        parents = {ARTIFACTS[parent]: self.identity(parent).key for parent in PARENTS[stage]}
        return Identity(ARTIFACTS[stage], plan, parents, inputs, BEHAVIOURS[stage])

    def _plan(self, stage: StageName) -> dict[str, Any]:
        recipe = self.recipe
        if stage == "clean":
            return recipe.clean.model_dump(mode="json")
        plan: dict[str, Any] = {stage: getattr(recipe, stage).model_dump(mode="json")}
        if stage == "train":
            plan["model"] = recipe.model.model_dump(mode="json")
        return {**plan, "seed": recipe.seed}

    def _other_corpora(self) -> list[Path]:
        return [self.loaded.inputs_directory / name for name in self.recipe.tokenize.corpora]

    def _evaluation_files(self) -> list[Path]:
        paths = [self.loaded.inputs_directory / name for name in self.recipe.eval.data]
        for path in paths:
            if not path.is_file():
                raise MissingInputError(f"{path}: no such file, named by eval.data")
        return paths

    def state(self, stage: StageName) -> StageState:
        """Say how the stage's artifact stands to the recipe, without changing anything."""
        path = self.artifact(stage)
        try:
            identity = self.identity(stage)
        except MissingInputError as error:
            return StageState(stage, path, "unknown", (str(error),))
        try:
            manifest = read_manifest(path)
            if manifest is not None and manifest.key == identity.key:
                check_files(path, manifest, self.cache)
                return StageState(stage, path, "up to date", (), manifest)
        except (DataError, MissingInputError) as error:
            return StageState(stage, path, "damaged", (str(error),))
        if stage == "train":
            aside = read_manifest(workspace.aside_path(path, identity.key))
            if aside is not None and aside.key == identity.key:
                reason = f"made before, kept as {workspace.aside_path(path, identity.key).name}"
                return StageState(stage, path, "aside", (reason,), aside)
            if self.directory.training_key() == identity.key:
                reason = f"training stopped after step {self.directory.last_step()}"
                return StageState(stage, path, "unfinished", (reason,))
        if manifest is None:
            return StageState(stage, path, "missing", ("not made yet",))
        return StageState(stage, path, "stale", tuple(reasons_stale(manifest, identity)), manifest)

    def states(self) -> list[StageState]:
        """The state of every stage, in order."""
        found = [self.state(stage) for stage in STAGES]
        self.cache.save()
        return found

    def bring_up_to_date(self, stage: StageName) -> Outcome:
        """Run what has to run so that the stage's artifact fits the recipe.

        Raises:
            BusyError: Another process works on the run.
            LlmctlError: Whatever a stage ends with.
        """
        outcome = Outcome(self.artifact(stage), Manifest.model_construct())
        stop = self.progress.stop
        with exclusive(self.directory.lock, wait_seconds=self.settings.wait_seconds, stop=stop):
            for name in STAGES:
                workspace.settle(self.artifact(name), keep_former=name == "train")
            self._remove_leftovers()
            self.directory.write_resolved(self.recipe.model_dump(mode="json"))
            try:
                outcome.manifest = self._ensure(stage, outcome)
            except LlmctlError as error:
                with suppress(LlmctlError):  # on a full disk the reason says more
                    self.directory.log("stopped", stage=stage, error=str(error))
                raise
            finally:
                self.cache.save()
        return outcome

    def prepare_shard(self, shard: Shard) -> PreparedShard:
        """Make the units of one shard of `clean`, beside other processes that make theirs.

        Raises:
            BusyError: Another process makes this shard, or works on the run.
            LlmctlError: Whatever the stage ends with.
        """
        from llmctl.core.stages.clean import clean_shard

        stop = self.progress.stop
        with shared(self.directory.lock, wait_seconds=self.settings.wait_seconds, stop=stop):
            if self.state("clean").status == "up to date":
                return PreparedShard(self.artifact("clean"), 0)
            space = Workspace(self.artifact("clean"), self.identity("clean"), is_shared=True)
            self.cache.save()
            return clean_shard(
                self.recipe.clean,
                self.sources,
                space,
                shard,
                settings=self._work_settings(),
                progress=self.progress,
            )

    def _work_settings(self) -> WorkSettings:
        return WorkSettings(self.settings.workers, self.loaded.inputs_directory)

    def _remove_leftovers(self) -> None:
        """Drop what crashes left behind: half-written files, a training that is over."""
        for leftover in self.directory.path.glob(".*.tmp"):
            atomic.remove_tree(leftover)
        model = read_manifest(self.artifact("train"))
        is_over = model is not None and model.key == self.directory.training_key()
        if is_over or not (self.directory.training / DECISIONS_NAME).exists():
            discard_training(self.directory.training)

    def _ensure(self, stage: StageName, outcome: Outcome) -> Manifest:
        state = self.state(stage)
        if state.status == "up to date" and state.manifest is not None:
            return state.manifest
        if state.status == "damaged":
            self._intact(stage)  # raises what is wrong
        identity = self.identity(stage)
        path = self.artifact(stage)
        if state.status == "aside" and workspace.bring_back(path, identity.key):
            self.progress.note(f"{path}: found again ({', '.join(state.reasons)})")
            self.directory.log("found again", stage=stage, key=identity.key)
            return self._intact(stage)
        if stage in ("train", "eval") and self.settings.device != "auto":
            from llmctl.core.model.device import resolve_device

            resolve_device(self.settings.device)  # before hours of cleaning, not after
        if stage == "train":
            self._refuse_foreign_training(identity)
        for parent in PARENTS[stage]:
            self._require(parent, outcome)
            self._intact(parent)
        self.progress.note(f"{stage}: starting ({'; '.join(state.reasons)})")
        self.directory.log("started", stage=stage, key=identity.key, reasons=state.reasons)
        manifest = self._execute(stage)
        outcome.ran.append(stage)
        self.directory.log("finished", stage=stage, key=identity.key, counts=manifest.counts)
        return manifest

    def _require(self, parent: StageName, outcome: Outcome) -> None:
        if not self.settings.only:
            self._ensure(parent, outcome)
            return
        state = self.state(parent)
        if state.status == "damaged":
            self._intact(parent)
        if state.status != "up to date":
            raise MissingInputError(
                f"{state.path}: {state.status} ({'; '.join(state.reasons)}) and --only was "
                f"given; run `llmctl {parent}` first, or leave --only out"
            )

    def _intact(self, stage: StageName) -> Manifest:
        path = self.artifact(stage)
        manifest = read_manifest(path)
        if manifest is None:
            raise MissingInputError(f"{path}: vanished while it was needed")
        check_files(path, manifest)
        return manifest

    def _refuse_foreign_training(self, identity: Identity) -> None:
        key = self.directory.training_key()
        if not self.settings.restart and key in (None, identity.key):
            return
        if self.directory.last_step() > 0 and not self.settings.restart:
            changed = differences(self.directory.training_plan(), dict(identity.plan))
            listed = "\n  ".join(changed or ["the shards or the version of llmctl differ"])
            raise RecipeError(
                f"{self.directory.training}: an unfinished training of another recipe, at step "
                f"{self.directory.last_step()}:\n  {listed}\n"
                "change the recipe back to go on with it, or give it up with --restart"
            )
        discard_training(self.directory.training)

    def _execute(self, stage: StageName) -> Manifest:
        space = Workspace(self.artifact(stage), self.identity(stage), keep_former=stage == "train")
        recipe, settings, progress = self.recipe, self.settings, self.progress
        if stage == "clean":
            from llmctl.core.stages.clean import clean

            work = self._work_settings()
            return clean(recipe.clean, self.sources, space, settings=work, progress=progress)
        if stage == "tokenize":
            from llmctl.core.stages.tokenize import tokenize

            return tokenize(
                recipe.tokenize,
                [self.artifact("clean"), *self._other_corpora()],
                space,
                seed=recipe.seed,
                settings=self._work_settings(),
                progress=progress,
            )
        if stage == "train":
            from llmctl.core.stages.train import train

            return train(
                recipe,
                self.artifact("tokenize"),
                self.directory.training,
                space,
                device=settings.device,
                dtype=settings.dtype,
                progress=progress,
            )
        from llmctl.core.stages.evaluate import evaluate

        return evaluate(
            recipe.eval.model_copy(
                update={"data": tuple(str(path) for path in self._evaluation_files())}
            ),
            self.artifact("train"),
            self.artifact("tokenize"),
            space,
            seed=recipe.seed,
            device=settings.device,
            progress=progress,
        )
