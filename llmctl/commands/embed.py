"""`llmctl embed`: texts in, a file of vectors out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llmctl.commands import options


def embed(
    source: Annotated[
        str | None,
        typer.Argument(metavar="INPUT", help="A text a line, or JSON Lines; - reads stdin."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--output", help="The .npy file that is written.")
    ] = None,
    model: options.Model = None,
    text_field: Annotated[
        str | None, typer.Option(help="Field of a record that holds the text.", show_default="text")
    ] = None,
    pooling: Annotated[str, typer.Option(help="mean, last or first of the tokens.")] = "mean",
    layer: Annotated[
        int | None, typer.Option(help="States after so many blocks.", show_default="the last")
    ] = None,
    normalize: Annotated[bool, typer.Option(help="Scale vectors to length 1.")] = True,
    truncate: Annotated[
        bool, typer.Option("--truncate", help="Cut off what is beyond the model's context.")
    ] = False,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Write a vector for each line of a file: the model's states, pooled.

    The file holds float32 in the shape (lines, width); numpy.load reads it.
    """
    from llmctl.commands.stage_command import print_json, watched
    from llmctl.core.errors import UsageError

    if source is None or out is None:
        raise UsageError("give an input and an output; try: llmctl embed lines.txt -o vectors.npy")
    path = options.found_model(model, quiet=quiet)
    from llmctl.core.language_model.embedding import VectorPlan
    from llmctl.core.language_model.language_model import LanguageModel
    from llmctl.core.stages.embed import embed as write

    plan = VectorPlan(pooling, layer, normalize, truncate)
    with watched(quiet=quiet) as progress:
        language_model = LanguageModel.load(path, device=device, dtype=dtype)
        shape = write(plan, language_model, source, out, text_field=text_field, progress=progress)
    if as_json:
        print_json({"path": str(out), "model": str(path), "shape": shape})
    else:
        typer.echo(out)
