"""`llmctl clean`: raw text in, a corpus out."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.commands import options


def clean(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="RECIPE | INPUT…", help="A recipe; with -o: files, directories, globs, or -."
        ),
    ],
    output: options.Output = None,
    overrides: options.Overrides = None,
    run_directory: options.RunDirectory = None,
    max_seconds: options.MaxSeconds = None,
    wait: options.Wait = 0.0,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Repair, filter and deduplicate text. Dropped documents are kept with their reason."""
    from llmctl.commands.stage_command import print_outcome, run_stage, sole_recipe, watched
    from llmctl.core.pipeline import Settings
    from llmctl.core.recipe import Recipe, override
    from llmctl.core.standalone import clean_files

    with watched(max_seconds=max_seconds, quiet=quiet) as progress:
        if output is None:
            settings = Settings(wait_seconds=wait, run_directory=run_directory)
            outcome = run_stage("clean", sole_recipe(inputs), overrides, settings, progress)
        else:
            plan = override(Recipe(), overrides or ()).clean
            plan = plan.model_copy(update={"inputs": tuple(inputs)})
            outcome = clean_files(plan, output, wait_seconds=wait, progress=progress)
    print_outcome(outcome, as_json=as_json)
