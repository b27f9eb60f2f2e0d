"""`llmctl eval`: figures of a model, of a file under a model, or of texts against references."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llmctl.commands import options


def eval(  # noqa: A001
    recipe: Annotated[
        str | None, typer.Argument(metavar="RECIPE", help="Score the recipe's model.")
    ] = None,
    model: options.Model = None,
    data: Annotated[
        list[Path] | None, typer.Option("--data", help="Score these text files with the model.")
    ] = None,
    hypotheses: Annotated[
        Path | None, typer.Option(help="Texts to judge, a line each: BLEU, chrF and ROUGE.")
    ] = None,
    references: Annotated[
        list[Path] | None, typer.Option(help="What they should say, a line each; repeatable.")
    ] = None,
    language: Annotated[
        str | None, typer.Option(help="Language of the texts, e.g. zh; found out by default.")
    ] = None,
    overrides: options.Overrides = None,
    run_directory: options.RunDirectory = None,
    device: options.Device = "auto",
    only: options.Only = False,
    max_seconds: options.MaxSeconds = None,
    wait: options.Wait = 0.0,
    seed: options.Seed = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure a model, or texts against references.

    Perplexity and bits per byte of a model; BLEU, chrF and ROUGE of texts.
    """
    from llmctl.commands.stage_command import print_json, print_outcome, run_stage, watched
    from llmctl.core.errors import UsageError
    from llmctl.core.pipeline import Settings
    from llmctl.core.recipe import Recipe, runs_directory
    from llmctl.terminal.tables import print_scores

    forms = (recipe is not None, data is not None, hypotheses is not None)
    if sum(forms) != 1 or (hypotheses is None) != (references is None):
        raise UsageError(
            "give one of: RECIPE, to score its model on its validation split; --data FILE, to "
            "score a text with a model (-m); --hypotheses FILE --references FILE, to compare texts"
        )
    with watched(max_seconds=max_seconds, quiet=quiet) as progress:
        if recipe is not None:
            settings = Settings(
                device=device, only=only, wait_seconds=wait, run_directory=run_directory
            )
            outcome = run_stage("eval", recipe, overrides, settings, progress)
            print_outcome(outcome, as_json=as_json)
            return
        from llmctl.core.artifacts.run_directory import find_model
        from llmctl.core.stages.evaluate import evaluate_files, evaluate_hypotheses

        if data is not None:
            path = find_model(model, runs_directory(), progress)
            progress.note(f"model: {path}")
            scores = evaluate_files(
                path,
                data,
                device=device,
                bootstrap_samples=Recipe().eval.bootstrap_samples,
                seed=Recipe().seed if seed is None else seed,
                progress=progress,
            )
        else:
            scores = evaluate_hypotheses(hypotheses or Path(), references or [], language)
    print_json(scores) if as_json else print_scores(scores)
