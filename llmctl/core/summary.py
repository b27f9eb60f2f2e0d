"""All five verbs of a recipe in one go, and what came out of this run and of all runs."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from llmctl.core.artifacts.run_directory import list_runs, readable_manifest
from llmctl.core.manifest import read_manifest
from llmctl.core.pipeline import ARTIFACTS, Run, Settings
from llmctl.core.progress import Progress
from llmctl.core.recipe import LoadedRecipe


@dataclass(frozen=True)
class Summary:
    """What a run came to.

    Attributes:
        seconds: Wall time of this command.
        model_counts: What the model's manifest counts: parameters, steps, tokens per second.
        report_counts: What the report's manifest counts: bits per byte and its baselines.
        samples: Prompt and continuation pairs.
    """

    name: str
    seconds: float
    model: Path
    report: Path
    model_counts: dict[str, Any]
    report_counts: dict[str, Any]
    samples: tuple[tuple[str, str], ...]

    def as_dict(self) -> dict[str, Any]:
        """The same for JSON."""
        return {**asdict(self), "model": str(self.model), "report": str(self.report)}


def run_all(loaded: LoadedRecipe, settings: Settings, progress: Progress) -> Summary:
    """Bring everything up to date, then continue the recipe's prompts.

    Raises:
        LlmctlError: Whatever a stage ends with.
    """
    from llmctl.core.stages.generate import generate, open_model

    start = time.monotonic()
    run = Run(loaded, settings, progress)
    report = run.bring_up_to_date("eval")
    model_path = run.artifact("train")
    model = open_model(model_path, device=settings.device, dtype=settings.dtype)
    plan = loaded.recipe.generate
    completions = list(generate(plan, model, plan.prompts, seed=loaded.recipe.seed))
    manifest = read_manifest(model_path)
    return Summary(
        name=loaded.recipe.name,
        seconds=round(time.monotonic() - start, 1),
        model=model_path,
        report=report.path,
        model_counts=manifest.counts if manifest else {},
        report_counts=report.manifest.counts,
        samples=tuple((completion.prompt, completion.text) for completion in completions),
    )


def overview(runs: Path) -> list[dict[str, Any]]:
    """What every run under the runs' directory holds, without asking their recipes."""
    found: list[dict[str, Any]] = []
    for run in list_runs(runs):
        manifests = {name: readable_manifest(run.path / name) for name in ARTIFACTS.values()}
        model, report = manifests["model"], manifests["report"]
        found.append(
            {
                "run": run.path.name,
                "artifacts": [name for name, manifest in manifests.items() if manifest],
                "unfinished_step": run.last_step() or None,
                "holder": run.holder(),
                "created": model.created if model else None,
                "parameters": model.counts.get("parameters") if model else None,
                "bits_per_byte": report.counts.get("bits_per_byte") if report else None,
            }
        )
    return found
