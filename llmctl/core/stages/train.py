"""Shards → model: starts, resumes where it was stopped, and publishes a model directory."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from llmctl import __version__
from llmctl.core import atomic
from llmctl.core.artifacts.checkpoint import checkpoint_path, read_checkpoint, write_checkpoint
from llmctl.core.artifacts.row_log import RowLog
from llmctl.core.artifacts.run_directory import (
    DECISIONS_NAME,
    checkpoint_steps,
    discard_training,
)
from llmctl.core.artifacts.shards import TokenShards
from llmctl.core.errors import LlmctlError
from llmctl.core.language_model.language_model import LanguageModel, write_language_model
from llmctl.core.manifest import Manifest
from llmctl.core.model.architecture import Architecture
from llmctl.core.model.device import resolve_device, resolve_dtype
from llmctl.core.model.initialisation import initialise
from llmctl.core.model.transformer import Transformer
from llmctl.core.progress import Progress
from llmctl.core.recipe import GeneratePlan, Recipe, seconds
from llmctl.core.tokens.tokenizer import Tokenizer
from llmctl.core.training.batches import Batches
from llmctl.core.training.decisions import (
    Decisions,
    micro_batch_sequences,
    read_decisions,
    sequences_per_step,
    steps_within,
)
from llmctl.core.training.schedule import evenly_spread
from llmctl.core.training.trainer import StepFigures, Trainer
from llmctl.core.workspace import Workspace

METRICS_NAME = "metrics.jsonl"
SAMPLES_NAME = "samples.jsonl"
CHECKPOINTS_KEPT = 2
SAMPLE_TEMPERATURE = 0.7


def train(
    recipe: Recipe,
    shards: Path,
    training: Path,
    workspace: Workspace,
    *,
    device: str = "auto",
    dtype: str = "auto",
    progress: Progress,
) -> Manifest:
    """Train a Transformer on the shards and publish it.

    What a killed training left in `training` under the same key is gone on with, and
    gives the weights that an uninterrupted one would have given.

    Args:
        recipe: Shape, plan and seed.
        shards: The tokenized corpus.
        training: The container of checkpoints, decisions, metrics and samples; emptied
            once the model is published.
        workspace: Where the model directory grows.
        device: auto, cpu, cuda or mps.
        dtype: auto, float32, bfloat16 or float16.
        progress: Told of every step; asked for an early end between micro-batches.

    Raises:
        Interrupted: A signal came; the last whole step is saved.
        OutOfTime: The time limit passed; likewise.
        NumericsError: The loss is no longer finite.
        DataError: The shards are too small for the recipe.
        DeviceError: The device is not here.
    """
    session = _Session(recipe, shards, training, workspace.identity.key, progress)
    session.prepare(dict(workspace.identity.plan), device, dtype)
    session.resume()
    session.run()
    return session.publish(workspace)


@dataclass
class _Position:
    """Where a training stands: everything beside the tensors that a checkpoint holds."""

    step: int = 0
    training_seconds: float = 0.0
    best_loss: float = float("inf")
    validations_without_gain: int = 0
    last_validation: dict[str, float] = field(default_factory=dict[str, float])


class _Session:
    """One process's part of a training."""

    def __init__(
        self, recipe: Recipe, shards: Path, training: Path, key: str, progress: Progress
    ) -> None:
        self.recipe = recipe
        self.plan = recipe.train
        self.training = training
        self.key = key
        self.progress = progress
        self.shards = TokenShards.open(shards)
        self.shards.require_content("to train on", "text", "conversation")
        self.tokenizer = Tokenizer.from_file(self.shards.tokenizer_path, lossless=True)
        self.byte_lengths_V = torch.from_numpy(self.tokenizer.byte_lengths()).long()
        self.metrics = RowLog(training / METRICS_NAME)
        self.samples = RowLog(training / SAMPLES_NAME)
        self.position = _Position()
        self.best_weights: dict[str, Tensor] = {}

    def prepare(self, plan: dict[str, Any], device: str, dtype: str) -> None:
        """Settle what the machine decides, or obey what was settled; build the trainer."""
        path = self.training / DECISIONS_NAME
        decisions = read_decisions(path)
        if decisions is None or decisions.key != self.key:
            with atomic.storage_errors(self.training):
                discard_training(self.training)
                self.training.mkdir(parents=True)
            decisions = self._decide(plan, device, dtype)
            decisions.write(path)
        decisions.apply()
        self.decisions = decisions
        self.trainer = self._build(decisions)
        self.language_model = LanguageModel(self.trainer.model, self.tokenizer)

    def _decide(self, plan: dict[str, Any], device: str, dtype: str) -> Decisions:
        shape = self.recipe.model
        resolved = resolve_device(device)
        sequences = sequences_per_step(self.plan, shape)
        decisions = Decisions(
            key=self.key,
            plan=plan,
            num_steps=self.plan.steps or 1_000_000,
            sequences_per_step=sequences,
            micro_batch_sequences=micro_batch_sequences(
                sequences, shape.context_tokens, resolved.type
            ),
            device=resolved.type,
            dtype=resolve_dtype(dtype, resolved),
            num_threads=torch.get_num_threads(),
        )
        if self.plan.steps is not None:
            return decisions
        trainer = self._build(decisions)  # its steps are only timed, its weights thrown away
        overhead = self._overhead_seconds(trainer)
        num_steps = steps_within(
            self.plan, lambda step: trainer.step(step, self.progress.check), overhead
        )
        return decisions.model_copy(update={"num_steps": num_steps})

    def _overhead_seconds(self, trainer: Trainer) -> float:
        """Seconds that all validations and samples will take."""
        plan, split = self.plan, self.shards.split("validation")
        probe_tokens = min(self.recipe.model.context_tokens * 8, split.num_tokens - 1)
        start = time.monotonic()
        trainer.validate(split, self.byte_lengths_V, probe_tokens)
        middle = time.monotonic()
        num_tokens = min(plan.validation_tokens, split.num_tokens - 1)
        validation = (middle - start) * num_tokens / probe_tokens
        probe = GeneratePlan(max_tokens=8, temperature=SAMPLE_TEMPERATURE)
        list(LanguageModel(trainer.model, self.tokenizer).complete(plan.prompts, probe, seed=0))
        sample = (time.monotonic() - middle) * plan.sample_tokens / probe.max_tokens
        return validation * plan.num_validations + sample * plan.num_samples

    def _build(self, decisions: Decisions) -> Trainer:
        shape = self.recipe.model
        batches = Batches(
            self.shards.split("train"),
            shape.context_tokens,
            decisions.sequences_per_step,
            self.recipe.seed,
        )
        model = Transformer(Architecture.from_shape(shape, self.shards.vocab_size))
        initialise(model, self.recipe.seed)
        return Trainer(model.to(decisions.device), batches, self.plan, decisions)

    def resume(self) -> None:
        """Go on from the newest checkpoint that is sound, if there is one."""
        for leftover in self.training.glob(".work-*"):
            atomic.remove_tree(leftover)
        for step in reversed(checkpoint_steps(self.training)):
            path = checkpoint_path(self.training, step)
            try:
                tensors, position = read_checkpoint(path)
            except LlmctlError as error:
                self.progress.warn(f"{error}; going back to the checkpoint before")
                atomic.remove_tree(path)
                continue
            self._restore(tensors, position)
            self.progress.note(f"train: going on after step {step} of {self.decisions.num_steps}")
            break
        self.metrics.cut_back(self.position.step)
        self.samples.cut_back(self.position.step)

    def _restore(self, tensors: dict[str, Tensor], position: dict[str, Any]) -> None:
        self.trainer.model.load_state_dict(_without_prefix(tensors, "model."))
        self.trainer.optimizer.load(_without_prefix(tensors, "optimizer."))
        self.best_weights = _without_prefix(tensors, "best.")
        self.position = _Position(**position)

    def run(self) -> None:
        """Train to the end, saving on the way and before any early end."""
        num_steps = self.decisions.num_steps
        validate_at = evenly_spread(self.plan.num_validations, num_steps)
        sample_at = evenly_spread(self.plan.num_samples, num_steps)
        last_save = time.monotonic()
        self.progress.begin("train", num_steps, "steps")
        self.progress.advance(self.position.step)
        try:
            while self.position.step < num_steps and not self._out_of_patience():
                figures = self._one_step()
                if self.position.step in validate_at:
                    self._validate()
                if self.position.step in sample_at:
                    self._sample()
                self._report(figures)
                if time.monotonic() - last_save >= seconds(self.plan.checkpoint_every):
                    self.save()
                    last_save = time.monotonic()
        except LlmctlError as error:
            if error.exit_code != 1 and self.position.step not in checkpoint_steps(self.training):
                self.save()
            raise
        finally:
            self.progress.end()

    def _one_step(self) -> StepFigures:
        start = time.monotonic()
        figures = self.trainer.step(self.position.step, self.progress.check)
        elapsed = time.monotonic() - start
        self.position.step += 1
        self.position.training_seconds += elapsed
        tokens_per_step = self.decisions.sequences_per_step * self.recipe.model.context_tokens
        self.metrics.append(
            {
                "step": self.position.step,
                "tokens": self.position.step * tokens_per_step,
                "seconds": round(self.position.training_seconds, 3),
                "loss": figures.loss,
                "learning_rate": figures.learning_rate,
                "gradient_norm": figures.gradient_norm,
                "tokens_per_second": round(tokens_per_step / elapsed, 1),
            }
        )
        return figures

    def _validate(self) -> None:
        split = self.shards.split("validation")
        loss, bits_per_byte = self.trainer.validate(
            split, self.byte_lengths_V, self.plan.validation_tokens
        )
        position = self.position
        position.last_validation = {
            "validation_loss": loss,
            "validation_bits_per_byte": bits_per_byte,
        }
        self.metrics.append({"step": position.step, **position.last_validation})
        if loss < position.best_loss:
            position.best_loss = loss
            position.validations_without_gain = 0
            if self.plan.patience is not None:
                weights = self.trainer.model.state_dict()
                self.best_weights = {name: tensor.clone() for name, tensor in weights.items()}
        else:
            position.validations_without_gain += 1

    def _out_of_patience(self) -> bool:
        patience = self.plan.patience
        return patience is not None and self.position.validations_without_gain >= patience

    def _sample(self) -> None:
        plan = GeneratePlan(max_tokens=self.plan.sample_tokens, temperature=SAMPLE_TEMPERATURE)
        for completion in self.language_model.complete(
            self.plan.prompts, plan, seed=self.recipe.seed
        ):
            row = {"prompt": completion.prompt, "text": completion.text}
            self.samples.append({"step": self.position.step, **row})
            self.progress.sample(self.position.step, completion.prompt, completion.text)

    def _report(self, figures: StepFigures) -> None:
        shown: dict[str, float] = {"loss": figures.loss}
        if self.position.last_validation:
            shown["validation bits/byte"] = self.position.last_validation[
                "validation_bits_per_byte"
            ]
        tokens_per_step = self.decisions.sequences_per_step * self.recipe.model.context_tokens
        shown["tokens/s"] = (
            self.position.step * tokens_per_step / max(self.position.training_seconds, 1e-9)
        )
        self.progress.advance(1, **shown)

    def save(self) -> None:
        """Publish a checkpoint after the last whole step and drop the oldest ones."""
        tensors = _with_prefix(self.trainer.model.state_dict(), "model.")
        tensors |= _with_prefix(self.trainer.optimizer.state(), "optimizer.")
        tensors |= _with_prefix(self.best_weights, "best.")
        path = checkpoint_path(self.training, self.position.step)
        write_checkpoint(path, tensors, vars(self.position), training_key=self.key)
        for step in checkpoint_steps(self.training)[:-CHECKPOINTS_KEPT]:
            atomic.remove_tree(checkpoint_path(self.training, step))

    def publish(self, workspace: Workspace) -> Manifest:
        """Write the model directory with the training's record beside the weights."""
        if self.best_weights:
            self.trainer.model.load_state_dict(self.best_weights)
        position, decisions = self.position, self.decisions
        num_parameters = sum(parameter.numel() for parameter in self.trainer.model.parameters())
        tokens = position.step * decisions.sequences_per_step * self.recipe.model.context_tokens
        counts: dict[str, Any] = {
            "parameters": num_parameters,
            "steps": position.step,
            "tokens": tokens,
            "training_seconds": round(position.training_seconds, 1),
            "tokens_per_second": round(tokens / max(position.training_seconds, 1e-9)),
            **position.last_validation,
        }
        with atomic.storage_errors(workspace.result):
            write_language_model(
                workspace.result,
                self.trainer.model,
                self.shards.tokenizer_path,
                _card(self.recipe, counts),
            )
            for name in (DECISIONS_NAME, METRICS_NAME, SAMPLES_NAME):
                if (self.training / name).exists():
                    shutil.copyfile(self.training / name, workspace.result / name)
        manifest = workspace.publish(counts, device=decisions.device)
        discard_training(self.training)
        return manifest


def _with_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def _without_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def _card(recipe: Recipe, counts: dict[str, Any]) -> str:
    """The model card: Markdown with the metadata block that model hubs read."""
    shape = recipe.model
    return f"""---
library_name: transformers
pipeline_tag: text-generation
---

# {recipe.name}

A language model of {counts["parameters"]:,} parameters, trained by llmctl {__version__} for
{counts["steps"]:,} steps on {counts["tokens"]:,} tokens.

- Architecture: Qwen3 (RMSNorm, rotary positions, grouped-query attention with QK-norm, SwiGLU);
  {shape.num_layers} layers, width {shape.width}, {shape.num_heads} heads, context
  {shape.context_tokens} tokens.
- Text: {", ".join(recipe.clean.inputs)}.
- `manifest.json` names what it was made from; `metrics.jsonl` holds its training.

```python
from transformers import pipeline
print(pipeline("text-generation", model=".")("The world is")[0]["generated_text"])
```
"""
