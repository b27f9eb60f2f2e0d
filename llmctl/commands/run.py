"""`llmctl run`: all five verbs of a recipe, and a card of what came out."""

from __future__ import annotations

from llmctl.commands import options


def run(
    recipe: options.RecipeArgument,
    overrides: options.Overrides = None,
    run_directory: options.RunDirectory = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    restart: options.Restart = False,
    max_seconds: options.MaxSeconds = None,
    wait: options.Wait = 0.0,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """All five verbs, as far as they are not up to date."""
    from llmctl.commands.stage_command import print_json, watched
    from llmctl.core.pipeline import Settings
    from llmctl.core.recipe import load_recipe
    from llmctl.core.summary import run_all
    from llmctl.terminal.card import print_card

    settings = Settings(
        device=device,
        dtype=dtype,
        restart=restart,
        wait_seconds=wait,
        run_directory=run_directory,
    )
    with watched(max_seconds=max_seconds, quiet=quiet) as progress:
        summary = run_all(load_recipe(recipe, overrides or ()), settings, progress)
    print_json(summary.as_dict()) if as_json else print_card(summary)
