"""`llmctl tokenize`: a corpus in, a tokenizer and shards of ids out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llmctl.commands import options


def tokenize(
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="RECIPE | CORPUS", help="A recipe; with -o: a corpus directory."),
    ],
    output: options.Output = None,
    overrides: options.Overrides = None,
    run_directory: options.RunDirectory = None,
    only: options.Only = False,
    max_seconds: options.MaxSeconds = None,
    wait: options.Wait = 0.0,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Train a byte-level BPE tokenizer, encode the corpus into shards."""
    from llmctl.commands.stage_command import print_outcome, run_stage, sole_recipe, watched
    from llmctl.core.pipeline import Settings
    from llmctl.core.recipe import Recipe, override
    from llmctl.core.standalone import tokenize_corpus

    with watched(max_seconds=max_seconds, quiet=quiet) as progress:
        if output is None:
            settings = Settings(only=only, wait_seconds=wait, run_directory=run_directory)
            outcome = run_stage("tokenize", sole_recipe(inputs), overrides, settings, progress)
        else:
            recipe = override(Recipe(), overrides or ())
            outcome = tokenize_corpus(
                recipe.tokenize,
                Path(sole_recipe(inputs)),
                output,
                seed=recipe.seed,
                wait_seconds=wait,
                progress=progress,
            )
    print_outcome(outcome, as_json=as_json)
