"""`llmctl tokenize`: a corpus in, a tokenizer and shards of ids out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llmctl.commands import options


def tokenize(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(metavar="RECIPE | CORPUS…", help="A recipe; with -o: corpus directories."),
    ] = None,
    output: options.Output = None,
    overrides: options.Overrides = None,
    run_directory: options.RunDirectory = None,
    workers: options.Workers = None,
    only: options.Only = False,
    max_seconds: options.MaxSeconds = None,
    wait: options.Wait = 0.0,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    text: Annotated[
        str | None,
        typer.Option(metavar="FILE|-", help="Encode each line of a text to JSON Lines on stdout."),
    ] = None,
    decode: Annotated[
        str | None,
        typer.Option(metavar="FILE|-", help="Decode ids, a text for each line, likewise."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("-m", "--model", help="Whose tokenizer; a tokenizer.json, shards, a model."),
    ] = None,
    special: Annotated[
        bool, typer.Option("--special", help="With --text: special tokens in it are meant.")
    ] = False,
    with_pieces: Annotated[
        bool, typer.Option("--with-pieces", help="With --text: also what each id stands for.")
    ] = False,
    raw: Annotated[
        bool, typer.Option("--raw", help="With --decode: the bytes, nothing between the texts.")
    ] = False,
) -> None:
    """Train a tokenizer, or take one, and encode corpora into shards.

    --text and --decode use a tokenizer that is there, and need neither recipe nor corpus.
    """
    from llmctl.commands import tokenize_text
    from llmctl.commands.stage_command import print_outcome, run_stage, sole_recipe, watched
    from llmctl.core.pipeline import Settings
    from llmctl.core.recipe import Recipe, override
    from llmctl.core.standalone import tokenize_corpora

    conversion = tokenize_text.Conversion(text, decode, model, special, with_pieces, raw)
    others: dict[str, object] = {
        "RECIPE | CORPUS": inputs,
        "--output": output,
        "--set": overrides,
        "--run-dir": run_directory,
        "--workers": workers,
        "--only": only,
        "--max-seconds": max_seconds is not None,
        "--wait": wait,
        "--json": as_json,
    }
    if conversion.is_wanted(others):
        tokenize_text.convert(conversion, quiet=quiet)
        return
    settings = Settings(only=only, wait_seconds=wait, run_directory=run_directory, workers=workers)
    with watched(max_seconds=max_seconds, quiet=quiet) as progress:
        if output is None:
            recipe_name = sole_recipe(inputs or ())
            outcome = run_stage("tokenize", recipe_name, overrides, settings, progress)
        else:
            recipe = override(Recipe(), overrides or ())
            outcome = tokenize_corpora(
                recipe.tokenize,
                [Path(name) for name in inputs or ()],
                output,
                seed=recipe.seed,
                settings=settings,
                progress=progress,
            )
    print_outcome(outcome, as_json=as_json)
