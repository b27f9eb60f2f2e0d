"""`runs/<recipe name>/`: where a recipe's artifacts, its training and its log lie together."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from llmctl.core import atomic, lock
from llmctl.core.artifacts.hub_cache import parse_reference
from llmctl.core.artifacts.hub_layout import CONFIG_NAME, vocabulary_files
from llmctl.core.artifacts.hub_repository import locate
from llmctl.core.errors import DataError, MissingInputError, OutputError
from llmctl.core.manifest import MANIFEST_NAME, Manifest, read_manifest
from llmctl.core.progress import Progress
from llmctl.core.recipe import user_path

DECISIONS_NAME = "decisions.json"
RESOLVED_NAME = "recipe.resolved.yaml"
_STEP_NAME = re.compile(r"step-(\d{8})")
_OF_A_TRAINING = re.compile(
    r"(\.work-|\.old-)?step-\d{8}|\.?(decisions\.json|metrics\.jsonl|samples\.jsonl)(\.tmp)?"
)
_MODEL_NAME = re.compile(r"model(-[0-9a-f]{8})?")


class RunDirectory:
    """The paths of a run and what can be read from them without knowing the recipe."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def lock(self) -> Path:
        """Held by whoever writes."""
        return self.path / ".lock"

    @property
    def digests(self) -> Path:
        """The cache of file digests."""
        return self.path / ".digests.json"

    @property
    def training(self) -> Path:
        """The container of a training's checkpoints, decisions and metrics."""
        return self.path / "training"

    def write_resolved(self, recipe: Mapping[str, Any]) -> None:
        """Write `recipe.resolved.yaml`: the recipe with every default, if it changed."""
        target = self.path / RESOLVED_NAME
        data = yaml.safe_dump(dict(recipe), sort_keys=False, allow_unicode=True).encode()
        if not target.exists() or target.read_bytes() != data:
            atomic.write_file(target, data)

    def log(self, event: str, **details: Any) -> None:
        """Append a line to `events.jsonl`."""
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        line = json.dumps({"time": now, "event": event, **details}, ensure_ascii=False)
        target = self.path / "events.jsonl"
        with atomic.storage_errors(target), target.open("ab") as handle:
            handle.write(line.encode("utf-8", "backslashreplace") + b"\n")

    def holder(self) -> str | None:
        """Who is working on the run now, or None."""
        return lock.holder(self.lock)

    def training_key(self) -> str | None:
        """The key of the training in the container, or None."""
        return self._decisions().get("key")

    def training_plan(self) -> dict[str, Any]:
        """The plan of the training in the container."""
        return self._decisions().get("plan", {})

    def last_step(self) -> int:
        """The newest whole checkpoint's step; 0 where there is none."""
        return max(checkpoint_steps(self.training), default=0)

    def _decisions(self) -> dict[str, Any]:
        try:
            found = json.loads((self.training / DECISIONS_NAME).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


def checkpoint_steps(training: Path) -> list[int]:
    """The steps of the whole checkpoints in a training's container, in order."""
    if not training.is_dir():
        return []
    matches = ((_STEP_NAME.fullmatch(path.name), path) for path in training.iterdir())
    return sorted(
        int(match[1]) for match, path in matches if match and (path / MANIFEST_NAME).is_file()
    )


def discard_training(training: Path) -> None:
    """Delete a training's container, so that no crash leaves a part that looks alive.

    Checkpoints without their decisions could be taken for those of the next training;
    called again, this removes what a crash in it left behind.

    Raises:
        OutputError: It holds something that no training wrote.
    """
    given_up = training.with_name(f"{atomic.OLD_PREFIX}{training.name}")
    if given_up.exists():
        atomic.remove_tree(given_up)
    if training.exists():
        for path in [training] if training.is_file() else sorted(training.iterdir()):
            if not _OF_A_TRAINING.fullmatch(path.name):
                raise OutputError(
                    f"{path}: would be deleted, and no training wrote it; move it away, or name "
                    "another folder with --run-dir"
                )
        with atomic.storage_errors(training):
            atomic.rename(training, given_up)
        atomic.remove_tree(given_up)


def list_runs(directory: Path) -> list[RunDirectory]:
    """Every run under the runs' directory, by name."""
    if not directory.is_dir():
        return []
    marked = (path for path in directory.iterdir() if (path / RESOLVED_NAME).is_file())
    return [RunDirectory(path) for path in sorted(marked)]


def find_model(reference: str | None, runs: Path, progress: Progress | None = None) -> Path:
    """Return a model's directory.

    Args:
        reference: A directory, a run's name, or an id of the Hugging Face Hub, tried in
            this order; None for the newest finished model.
        runs: The runs' directory.
        progress: Told of a download from the Hub.

    Raises:
        MissingInputError: There is none; the message says where it was looked for.
        DataError: The Hub's index of the weights is damaged.
        OutputError: The Hub's cache cannot be written.
        StorageError: The disk is full or failing.
    """
    if reference is None:
        found = [model for run in list_runs(runs) for model in finished_models(run.path)]
        if not found:
            raise MissingInputError(
                f"{runs}: no finished model here; train one with `llmctl train quickstart`, "
                "or name one with -m"
            )
        return _newest(found)
    sought = _Sought("model", CONFIG_NAME, lambda found: (found / CONFIG_NAME).is_file())
    return _find(reference, user_path(reference), runs, sought, progress)


def find_tokenizer(
    reference: str, runs: Path, progress: Progress | None = None, *, base: Path = Path()
) -> Path:
    """Return the directory of a tokenizer.

    Args:
        reference: A directory, of a model, of shards or with a tokenizer alone; a run's name;
            or an id of the Hugging Face Hub; tried in this order.
        runs: The runs' directory.
        progress: Told of a download from the Hub, which leaves the weights there.
        base: What a relative path begins at.

    Raises:
        MissingInputError: There is none; the message says where it was looked for.
        OutputError: The Hub's cache cannot be written.
        StorageError: The disk is full or failing.
    """
    sought = _Sought(
        "tokenizer",
        "tokenizer.json, vocab.json with merges.txt, or a file of tiktoken ranks",
        lambda found: bool(vocabulary_files(found)),
        kinds=("model", "shards"),
    )
    return _find(reference, base / user_path(reference), runs, sought, progress)


@dataclass(frozen=True, slots=True)
class _Sought:
    """What a directory is looked for for, the files that it needs, and the kinds that have them."""

    name: str
    files: str
    is_in: Callable[[Path], bool]
    kinds: tuple[str, ...] = ("model",)


def _find(
    reference: str, path: Path, runs: Path, sought: _Sought, progress: Progress | None
) -> Path:
    run = runs / reference
    candidates = [path, *(each / kind for each in (path, run) for kind in sought.kinds)]
    for candidate in candidates:
        if sought.is_in(candidate):
            return candidate
    aside = finished_models(path) or finished_models(run)
    if aside:
        return _newest(aside)
    *others, last = map(str, candidates)
    looked = (
        f"{reference}: no {sought.name} here; looked for {sought.files} in {', '.join(others)} and "
        f"{last}"
    )
    of_the_hub = parse_reference(reference)
    # What is there, if only in part, is what was meant.
    if of_the_hub is None or path.exists() or run.exists():
        raise MissingInputError(looked)
    try:
        is_tokenizer = sought.name == "tokenizer"
        return locate(of_the_hub, progress=progress, tokenizer_only=is_tokenizer)
    except MissingInputError as error:
        raise MissingInputError(f"{looked}; on the Hugging Face Hub, {error}") from error


def _newest(models: list[Path]) -> Path:
    return max(models, key=lambda path: (path / MANIFEST_NAME).stat().st_mtime_ns)


def finished_models(run: Path) -> list[Path]:
    """The finished models of a run, those that stepped aside included."""
    if not run.is_dir():
        return []
    named = (path for path in sorted(run.iterdir()) if _MODEL_NAME.fullmatch(path.name))
    return [path for path in named if readable_manifest(path) is not None]


def readable_manifest(directory: Path) -> Manifest | None:
    """The directory's manifest; None for a damaged one, which must not hide its neighbours."""
    try:
        return read_manifest(directory)
    except DataError:
        return None
