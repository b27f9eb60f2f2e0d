"""One optimizer step after another. B sequences, T tokens, N = B·T, D width."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from llmctl.core.artifacts.shards import TokenSplit
from llmctl.core.errors import NumericsError
from llmctl.core.model.device import DTYPES
from llmctl.core.model.transformer import Transformer
from llmctl.core.recipe import TrainPlan
from llmctl.core.training.batches import UNLEARNED, Batches
from llmctl.core.training.decisions import Decisions
from llmctl.core.training.loss import cross_entropy_sum
from llmctl.core.training.optimizers import Optimizer
from llmctl.core.training.schedule import Schedule

VALIDATION_BATCH_TOKENS = 4096
_UNCLIPPED = math.inf


@dataclass(frozen=True)
class StepFigures:
    """What one step reports.

    Attributes:
        loss: Mean cross-entropy of the step's targets before the update, in nats.
        gradient_norm: L2 norm of all gradients, before clipping.
        learning_rate: Rate of the matrices at this step.
    """

    loss: float
    gradient_norm: float
    learning_rate: float


class Trainer:
    """A model, its optimizer and the batches, moved on a step at a time.

    Args:
        model: Updated in place.
        batches: A pure function of the step.
        plan: Rates and norms.
        decisions: Micro-batch, device, dtype and length of the training.
    """

    def __init__(
        self, model: Transformer, batches: Batches, plan: TrainPlan, decisions: Decisions
    ) -> None:
        self.model = model
        self._batches = batches
        self._plan = plan
        self._decisions = decisions
        self.schedule = Schedule(decisions.num_steps, plan.warmup_share, plan.cooldown_share)
        self.optimizer = Optimizer(model.parts(), model.table_names, plan)

    def step(self, step: int, check: Callable[[], None] = lambda: None) -> StepFigures:
        """Learn from the batch of `step`, counted from 0.

        Args:
            step: Which batch, and where on the schedule.
            check: Called between micro-batches; what it raises leaves the weights and the
                optimizer as they were before the step.

        Raises:
            NumericsError: The loss or the gradient is not finite.
        """
        inputs_BT, targets_BT = self._batches.batch(step)
        size = self._decisions.micro_batch_sequences
        num_learned = max(1, int((targets_BT != UNLEARNED).sum()))
        self.model.zero_grad(set_to_none=True)
        total = torch.zeros((), device=self._decisions.device)
        for start in range(0, len(inputs_BT), size):
            check()
            part = slice(start, start + size)
            loss_sum = self._loss_sum(inputs_BT[part], targets_BT[part])
            (loss_sum / num_learned).backward()
            total += loss_sum.detach()
        check()
        norm = torch.nn.utils.clip_grad_norm_(
            self.model.parameters(), self._plan.clip_norm or _UNCLIPPED
        )
        figures = StepFigures(
            loss=float(total) / num_learned,
            gradient_norm=float(norm),
            learning_rate=self._plan.learning_rate * self.schedule.factor(step),
        )
        self._refuse_non_finite(step, figures)
        self.optimizer.step(self.schedule.factor(step))
        return figures

    def _loss_sum(self, inputs_BT: Tensor, targets_BT: Tensor) -> Tensor:
        device = self._decisions.device
        targets_N = targets_BT.flatten()
        learned = (targets_N != UNLEARNED).nonzero().squeeze(1)
        with self._autocast():
            states_ND = self.model.hidden(inputs_BT.to(device)).flatten(0, 1)
            if len(learned) < len(targets_N):
                states_ND, targets_N = states_ND[learned.to(device)], targets_N[learned]
            return cross_entropy_sum(states_ND, self.model.output_weight, targets_N.to(device))

    def _autocast(self) -> AbstractContextManager[object]:
        dtype = DTYPES[self._decisions.dtype]
        if dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self._decisions.device, dtype)

    def _refuse_non_finite(self, step: int, figures: StepFigures) -> None:
        if not (math.isfinite(figures.loss) and math.isfinite(figures.gradient_norm)):
            raise NumericsError(
                f"step {step + 1}: loss {figures.loss}, gradient norm {figures.gradient_norm}: no "
                "longer finite; lower train.learning_rate and train.embedding_learning_rate, and "
                "begin anew with --restart. The last checkpoint is kept"
            )

    @torch.no_grad()
    def validate(
        self, split: TokenSplit, byte_lengths_V: Tensor, max_tokens: int
    ) -> tuple[float, float]:
        """Score the beginning of a split in windows of the context.

        Args:
            split: Its documents, laid end to end.
            byte_lengths_V: UTF-8 bytes that each token stands for; 0 for special tokens.
            max_tokens: Score at most so many targets.

        Returns:
            Nats per token over all targets that are learned, and bits per byte over those of
            them that stand for text.
        """
        context = self.model.context_tokens
        num_targets = min(split.num_tokens - 1, max_tokens)
        nats = text_nats = 0.0
        text_bytes = num_learned = 0
        rows = max(1, VALIDATION_BATCH_TOKENS // context)
        for start in range(0, num_targets, rows * context):
            stop = min(start + rows * context, num_targets)
            tokens = torch.from_numpy(split.tokens[start : stop + 1].astype("int64"))
            losses_N = self._losses(tokens, context)
            lengths_N = byte_lengths_V[tokens[1:]]
            if split.masks is not None:
                learned_N = torch.from_numpy(split.masks[start + 1 : stop + 1] == 1)
                losses_N, lengths_N = losses_N[learned_N], lengths_N[learned_N]
            num_learned += len(losses_N)
            nats += float(losses_N.double().sum())
            text_nats += float(losses_N[lengths_N > 0].double().sum())
            text_bytes += int(lengths_N.sum())
        return nats / max(1, num_learned), text_nats / max(1, text_bytes) / math.log(2)

    def _losses(self, tokens: Tensor, context: int) -> Tensor:
        inputs, targets = tokens[:-1], tokens[1:]
        whole = len(targets) // context * context
        pieces: list[Tensor] = []
        for part, shape in ((slice(0, whole), (-1, context)), (slice(whole, None), (1, -1))):
            if len(inputs[part]) == 0:
                continue
            with self._autocast():
                logits_BTV = self.model(inputs[part].view(shape).to(self._decisions.device))
            pieces.append(
                torch.nn.functional.cross_entropy(
                    logits_BTV.flatten(0, 1).float().cpu(), targets[part], reduction="none"
                )
            )
        return torch.cat(pieces)
