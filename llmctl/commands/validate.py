"""`llmctl validate`: all that is wrong with a recipe, at once."""

from __future__ import annotations

import typer

from llmctl.commands import options


def validate(recipe: options.RecipeArgument, overrides: options.Overrides = None) -> None:
    """Check a recipe without running it. Names every mistake with its line and column."""
    from llmctl.core.recipe import load_recipe

    loaded = load_recipe(recipe, overrides or ())
    typer.echo(f"{loaded.path}: valid")
