"""Options that several commands share, each written once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

RecipeArgument = Annotated[
    str, typer.Argument(metavar="RECIPE", help="A recipe file, or a built-in recipe's name.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change one value: train.steps=200."),
]
RunDirectory = Annotated[
    Path | None, typer.Option("--run-dir", help="Another folder for this run.")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Dtype = Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")]
Only = Annotated[
    bool, typer.Option("--only", help="Run this stage alone; its input must be up to date.")
]
Output = Annotated[
    Path | None, typer.Option("-o", "--output", help="Where the result goes; no recipe is read.")
]
MaxSeconds = Annotated[
    float | None,
    typer.Option("--max-seconds", min=0, help="Stop in good order after so long, exit code 75."),
]
Wait = Annotated[
    float,
    typer.Option("--wait", min=0, help="Wait at most so many seconds for another process."),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout at the end.")]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Processes; by default as many as processors.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only errors.")]
Restart = Annotated[
    bool, typer.Option("--restart", help="Give up an unfinished training and begin anew.")
]
Seed = Annotated[int | None, typer.Option(min=0, max=2**63 - 1, help="Decides what is drawn.")]
Model = Annotated[
    str | None,
    typer.Option(
        "-m", "--model", help="A model directory, a run's name or a Hub id; else the newest."
    ),
]
Temperature = Annotated[
    float | None,
    typer.Option("--temperature", "--temp", min=0, help="Divides the logits; 0 is greedy."),
]
TopK = Annotated[int | None, typer.Option(min=1, help="Only the k likeliest tokens.")]
TopP = Annotated[
    float | None, typer.Option(min=0, max=1, help="Only the likeliest of this probability.")
]
MinP = Annotated[
    float | None, typer.Option(min=0, max=1, help="Only tokens so likely beside the likeliest.")
]


def assignments(section: str, flags: Mapping[str, object]) -> list[str]:
    """Return flags that were given as `--set` assignments to the keys of a recipe's section."""
    return [
        f"{section}.{key}={json.dumps(value, ensure_ascii=False)}"
        for key, value in flags.items()
        if value is not None
    ]


def found_model(reference: str | None, *, quiet: bool) -> Path:
    """Return the model's directory; stderr says which, unless it was named by its path."""
    from llmctl.commands.late_progress import LateProgress
    from llmctl.core.artifacts.run_directory import find_model
    from llmctl.core.recipe import runs_directory
    from llmctl.core.stopping import Stop, stop_on_signals

    with stop_on_signals(Stop()) as stop:
        path = find_model(reference, runs_directory(), LateProgress(stop, quiet=quiet))
    if str(path) != reference and not quiet:
        typer.echo(f"model: {path}", err=True)
    return path
