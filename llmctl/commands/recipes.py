"""`llmctl recipes`: the recipes that come with llmctl."""

from __future__ import annotations

from typing import Annotated

import typer


def recipes(
    name: Annotated[str | None, typer.Argument(help="Print this one.")] = None,
    profile: Annotated[
        str | None, typer.Option(help="Print the thresholds of a profile of `clean`.")
    ] = None,
) -> None:
    """List the built-in recipes, or print one to copy and change."""
    from llmctl.core.errors import MissingInputError
    from llmctl.core.recipe import built_in_recipes

    if profile is not None:
        _print_profile(profile)
        return
    known = built_in_recipes()
    if name is None:
        for path in known.values():
            typer.echo(path.stem)
        return
    if name not in known:
        raise MissingInputError(f"{name}: no built-in recipe; there are: {', '.join(known)}")
    typer.echo(known[name].read_text(encoding="utf-8"), nl=False)


def _print_profile(profile: str) -> None:
    import yaml

    from llmctl.core.recipe import Recipe, override
    from llmctl.core.text.profiles import thresholds

    plan = override(Recipe(), [f"clean.profile={profile}"]).clean
    found = {"clean": {"profile": profile, **thresholds(plan)}}
    typer.echo(yaml.safe_dump(found, sort_keys=False, allow_unicode=True), nl=False)
