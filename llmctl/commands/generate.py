"""`llmctl generate`: a prompt in, its continuation out."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from llmctl.commands import options


def generate(
    prompt: Annotated[
        str | None, typer.Argument(metavar="PROMPT", help="Text to continue; - reads stdin.")
    ] = None,
    model: options.Model = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Tokens written at most.")] = None,
    temperature: Annotated[
        float | None, typer.Option(min=0, help="Divides the logits; 0 is greedy.")
    ] = None,
    top_k: Annotated[int | None, typer.Option(min=1, help="Only the k likeliest tokens.")] = None,
    top_p: Annotated[
        float | None, typer.Option(min=0, max=1, help="Only the likeliest of this probability.")
    ] = None,
    min_p: Annotated[
        float | None, typer.Option(min=0, max=1, help="Only tokens so likely beside the likeliest.")
    ] = None,
    stop: Annotated[
        list[str] | None, typer.Option(help="End before this text; repeatable.")
    ] = None,
    seed: options.Seed = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    echo: Annotated[bool, typer.Option("--echo", help="Print the prompt too.")] = False,
    stream: Annotated[bool, typer.Option(help="Print as it is written.")] = True,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Continue a text. Only the continuation goes to stdout, as it is written.

    What is not given is as in a recipe's `generate` section by default.
    """
    from llmctl.commands.stage_command import print_json, watched
    from llmctl.core.artifacts.run_directory import find_model
    from llmctl.core.errors import UsageError
    from llmctl.core.recipe import generation_plan, runs_directory
    from llmctl.core.stages.generate import drawn_seed, open_model, stream_completion
    from llmctl.terminal.writer import TextWriter

    if prompt is None:
        raise UsageError('no prompt; try: llmctl generate "The world is"')
    text = sys.stdin.read().removesuffix("\n") if prompt == "-" else prompt
    plan = generation_plan(
        max_tokens=max_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        stop=tuple(stop) if stop else None,
    )
    with watched(quiet=quiet) as progress:
        path = find_model(model, runs_directory(), progress)
    if str(path) != model and not quiet:
        typer.echo(f"model: {path}", err=True)
    language_model = open_model(path, device=device, dtype=dtype)
    seed = drawn_seed() if seed is None else seed
    writer = TextWriter(text, echo=echo, stream=stream, silent=as_json)
    completion = stream_completion(language_model, text, plan, seed=seed, write=writer.write)
    writer.finish()
    if as_json:
        print_json(
            {
                "model": str(path),
                "seed": seed,
                "prompt": completion.prompt,
                "text": completion.text,
                "finish_reason": completion.finish_reason,
                "tokens": len(completion.token_ids),
            }
        )
