"""`llmctl export`: a model in, a directory out that other programs load."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llmctl.commands import options


def export(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A model directory, a run's name or a Hub id.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Where the result goes.")],
    dtype: Annotated[
        str | None,
        typer.Option(help="float32, bfloat16 or float16; by default each tensor as it is."),
    ] = None,
    max_shard_size: Annotated[
        str, typer.Option(metavar="SIZE", help="Of a file of weights: 5GB, 500MB, 2GiB.")
    ] = "5GB",
    max_seconds: options.MaxSeconds = None,
    wait: options.Wait = 0.0,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Write a model as transformers, vLLM and llama.cpp read it."""
    from llmctl.commands.stage_command import print_outcome, watched
    from llmctl.core.standalone import export_model

    source = options.found_model(model, quiet=quiet)
    with watched(max_seconds=max_seconds, quiet=quiet) as progress:
        outcome = export_model(
            source,
            output,
            dtype=dtype,
            max_shard_size=max_shard_size,
            wait_seconds=wait,
            progress=progress,
        )
        if not outcome.ran:
            progress.note(f"export: up to date, nothing to do ({outcome.path})")
    print_outcome(outcome, as_json=as_json)
