"""What every command that runs stages does around its one call into core."""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from llmctl.core.clean_plan import PreparedShard, Shard
    from llmctl.core.pipeline import Outcome, Settings, StageName
    from llmctl.core.progress import Progress


@contextmanager
def watched(*, max_seconds: float | None = None, quiet: bool = False) -> Generator[Progress]:
    """Progress for one command: shown as the terminal allows, ended early by signals."""
    from llmctl.core.stopping import Stop, stop_on_signals
    from llmctl.terminal.watcher import watcher

    with stop_on_signals(Stop(max_seconds)) as stop:
        yield watcher(stop, quiet=quiet)


def run_stage(
    stage: StageName,
    recipe: str,
    overrides: Sequence[str] | None,
    settings: Settings,
    progress: Progress,
) -> Outcome:
    """Bring one stage's artifact of a recipe up to date."""
    from llmctl.core.pipeline import Run
    from llmctl.core.recipe import load_recipe

    run = Run(load_recipe(recipe, overrides or ()), settings, progress)
    outcome = run.bring_up_to_date(stage)
    if not outcome.ran:
        progress.note(f"{stage}: complete, nothing to do ({outcome.path})")
    return outcome


def run_clean(
    recipe: str,
    overrides: Sequence[str],
    shard: Shard | None,
    settings: Settings,
    progress: Progress,
) -> Outcome | PreparedShard:
    """Bring the corpus of a recipe up to date, or prepare a shard of it."""
    if shard is None:
        return run_stage("clean", recipe, overrides, settings, progress)
    from llmctl.core.pipeline import Run
    from llmctl.core.recipe import load_recipe

    return Run(load_recipe(recipe, overrides), settings, progress).prepare_shard(shard)


def print_outcome(outcome: Outcome | PreparedShard, *, as_json: bool) -> None:
    """The result on stdout: the artifact's path, or one JSON object."""
    from llmctl.core.pipeline import Outcome

    if not isinstance(outcome, Outcome):
        print_artifact(outcome.path, {"units": outcome.num_units}, [], as_json=as_json)
        return
    print_artifact(outcome.path, outcome.manifest.counts, list(outcome.ran), as_json=as_json)


def print_artifact(
    path: Path, counts: dict[str, Any], ran: Sequence[str], *, as_json: bool
) -> None:
    """An artifact's path on stdout, or one JSON object that tells more."""
    if as_json:
        print_json({"path": str(path), "ran": list(ran), "counts": counts})
    else:
        typer.echo(path)


def print_json(value: Any) -> None:
    """One JSON object on stdout, on one line."""
    typer.echo(json.dumps(value, ensure_ascii=False))


def sole_recipe(inputs: Sequence[str]) -> str:
    """The one positional argument of a command that was not given `-o`.

    Raises:
        UsageError: There are several.
    """
    from llmctl.core.errors import UsageError

    if len(inputs) != 1:
        raise UsageError(f"expected one recipe, got {len(inputs)} arguments; for inputs add -o DIR")
    return inputs[0]
