"""`llmctl clean`: raw text in, a corpus out."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.commands import options


def clean(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="RECIPE | INPUT…",
            help="A recipe; with -o: files, directories, globs, hub:…, https://…, or -.",
        ),
    ],
    output: options.Output = None,
    overrides: options.Overrides = None,
    profile: Annotated[
        str | None, typer.Option(help="standard, web, web-en, web-zh, web-ja, code, none, …")
    ] = None,
    text_field: Annotated[
        str | None, typer.Option(help="The field of a record that holds the text.")
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(metavar="CORPUS", help="Drop what this earlier corpus holds already."),
    ] = None,
    sample: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Clean N documents only, drawn from all.")
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="End with an error where a rule drops more of a language or source."
        ),
    ] = None,
    workers: options.Workers = None,
    shard: Annotated[
        str | None,
        typer.Option(metavar="I/N", help="Prepare part I of N; then run without it to finish."),
    ] = None,
    run_directory: options.RunDirectory = None,
    max_seconds: options.MaxSeconds = None,
    wait: options.Wait = 0.0,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Repair, filter and deduplicate text. Dropped documents are kept with their reason."""
    from llmctl.commands import stage_command
    from llmctl.core import standalone
    from llmctl.core.clean_plan import Shard
    from llmctl.core.pipeline import Settings
    from llmctl.core.recipe import Recipe, override

    flags = {"profile": profile, "text_field": text_field, "sample": sample, "max_drop": max_drop}
    changes = [*(overrides or ()), *options.assignments("clean", flags)]
    changes += options.assignments("clean.duplicates", {"against": against or None})
    settings = Settings(wait_seconds=wait, run_directory=run_directory, workers=workers)
    with stage_command.watched(max_seconds=max_seconds, quiet=quiet) as progress:
        part = None if shard is None else Shard.from_words(shard)
        if output is None:
            recipe = stage_command.sole_recipe(inputs)
            made = stage_command.run_clean(recipe, changes, part, settings, progress)
        else:
            plan = override(Recipe(), changes).clean
            plan = plan.model_copy(update={"inputs": tuple(inputs)})
            if part is None:
                made = standalone.clean_files(plan, output, settings, progress)
            else:
                made = standalone.prepare_shard(plan, output, part, settings, progress)
    stage_command.print_outcome(made, as_json=as_json)
