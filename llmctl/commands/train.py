"""`llmctl train`: a recipe in, a model directory out."""

from __future__ import annotations

from llmctl.commands import options


def train(
    recipe: options.RecipeArgument,
    overrides: options.Overrides = None,
    run_directory: options.RunDirectory = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    only: options.Only = False,
    restart: options.Restart = False,
    max_seconds: options.MaxSeconds = None,
    wait: options.Wait = 0.0,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Train a Transformer on the recipe's text. Starts, resumes, or says it is complete."""
    from llmctl.commands.stage_command import print_outcome, run_stage, watched
    from llmctl.core.pipeline import Settings

    settings = Settings(device, dtype, only, restart, wait, run_directory)
    with watched(max_seconds=max_seconds, quiet=quiet) as progress:
        outcome = run_stage("train", recipe, overrides, settings, progress)
    print_outcome(outcome, as_json=as_json)
