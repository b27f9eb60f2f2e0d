"""`llmctl schema`: the JSON Schema of a recipe, for editors."""

from __future__ import annotations

import json

import typer


def schema() -> None:
    """Print the JSON Schema of a recipe. An editor completes and checks recipes by it."""
    from llmctl.core.recipe import json_schema

    typer.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))
