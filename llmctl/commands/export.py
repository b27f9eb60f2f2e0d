"""`llmctl export`: a model or shards in, a directory out that other programs load."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llmctl.commands import options

DEFAULT_SHARD_SIZE = "5GB"


def export(
    source: Annotated[
        str,
        typer.Argument(
            metavar="MODEL|SHARDS",
            help="A model directory, a run's name or a Hub id; with --format a directory of "
            "shards or a run's name.",
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Where the result goes.")],
    shards_format: Annotated[
        str | None,
        typer.Option("--format", help="Of shards: nanogpt or datatrove."),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(help="float32, bfloat16 or float16; by default each tensor as it is."),
    ] = None,
    max_shard_size: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Of a file of weights: 500MB, 2GiB; by default 5GB."),
    ] = None,
    max_seconds: options.MaxSeconds = None,
    wait: options.Wait = 0.0,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Write a model for transformers, vLLM and llama.cpp, or shards for nanoGPT or datatrove."""
    from llmctl.commands.stage_command import print_outcome, watched
    from llmctl.core.errors import UsageError
    from llmctl.core.recipe import runs_directory
    from llmctl.core.stages.export_shards import find_shards, refuse_shards
    from llmctl.core.standalone import export_model, export_shards

    if shards_format is None:
        refuse_shards(source)
        path = options.found_model(source, quiet=quiet)
    elif dtype is not None or max_shard_size is not None:
        raise UsageError("--dtype and --max-shard-size are of models, --format is of shards")
    else:
        path = find_shards(source, runs_directory())
    with watched(max_seconds=max_seconds, quiet=quiet) as progress:
        if shards_format is None:
            outcome = export_model(
                path,
                output,
                dtype=dtype,
                max_shard_size=max_shard_size or DEFAULT_SHARD_SIZE,
                wait_seconds=wait,
                progress=progress,
            )
        else:
            outcome = export_shards(
                path, output, format_name=shards_format, wait_seconds=wait, progress=progress
            )
        if not outcome.ran:
            progress.note(f"export: up to date, nothing to do ({outcome.path})")
    print_outcome(outcome, as_json=as_json)
