"""`llmctl status`: what is up to date, what is stale and why; all runs without a recipe."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from llmctl.commands import options


def status(
    recipe: Annotated[
        str | None, typer.Argument(metavar="RECIPE", help="A recipe; without one, all runs.")
    ] = None,
    overrides: options.Overrides = None,
    run_directory: options.RunDirectory = None,
    as_json: options.AsJson = False,
) -> None:
    """Say what is up to date, what is stale and why. Changes nothing and waits for nobody."""
    from llmctl.commands.stage_command import print_json
    from llmctl.core.pipeline import Run, Settings
    from llmctl.core.recipe import load_recipe, runs_directory
    from llmctl.core.summary import overview
    from llmctl.terminal.tables import print_runs, print_states

    if recipe is None:
        runs = overview(runs_directory())
        print_json(runs) if as_json else print_runs(runs, runs_directory())
        return
    run = Run(load_recipe(recipe, overrides or ()), Settings(run_directory=run_directory))
    states = run.states()
    if as_json:
        found: dict[str, Any] = {
            state.stage: {
                "status": state.status,
                "reasons": list(state.reasons),
                "path": str(state.path),
            }
            for state in states
        }
        print_json({"run": str(run.directory.path), "holder": run.directory.holder(), **found})
    else:
        print_states(states, run.directory.holder())
