"""trainer: a step against a direct computation; micro-batches, interruptions and resuming."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
import safetensors.torch
import torch
from torch.nn import functional

from llmctl.core.errors import Interrupted, NumericsError
from llmctl.core.model.architecture import Architecture
from llmctl.core.model.transformer import Transformer
from llmctl.core.recipe import ModelShape, TrainPlan
from llmctl.core.training import trainer as trainer_module
from llmctl.core.training.batches import UNLEARNED, Batches
from llmctl.core.training.decisions import Decisions
from llmctl.core.training.trainer import Trainer

SHAPE = ModelShape(
    num_layers=2,
    width=16,
    num_heads=2,
    num_key_value_heads=1,
    head_width=8,
    mlp_width=24,
    context_tokens=8,
)
VOCAB_SIZE = 50
PLAN = TrainPlan(steps=6, warmup_share=0.5, cooldown_share=0.5)


@dataclass
class Split:
    tokens: np.ndarray
    masks: np.ndarray | None = None

    @property
    def num_tokens(self) -> int:
        return len(self.tokens)


SPLIT = Split(np.random.default_rng(0).integers(VOCAB_SIZE, size=300).astype(np.uint16))


def made_trainer(
    micro_batch: int = 2, plan: TrainPlan = PLAN, *, dtype: str = "float32", tied: bool = True
) -> Trainer:
    """A trainer of a model whose every parameter is drawn, gains too."""
    model = Transformer(
        Architecture.from_shape(SHAPE.model_copy(update={"tie_embeddings": tied}), VOCAB_SIZE)
    )
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    decisions = Decisions(
        key="k",
        plan={},
        num_steps=6,
        sequences_per_step=4,
        micro_batch_sequences=micro_batch,
        device="cpu",
        dtype=dtype,
        num_threads=1,
    )
    return Trainer(model, Batches(SPLIT, 8, 4, seed=3), plan, decisions)


def weights_of(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}


def state_of(trainer: Trainer) -> dict[str, torch.Tensor]:
    state = {f"optimizer.{name}": tensor for name, tensor in trainer.optimizer.state().items()}
    return {name: tensor.clone() for name, tensor in (weights_of(trainer) | state).items()}


def assert_same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name


@pytest.mark.parametrize("tied", [True, False])
def test_figures_and_gradients_equal_a_direct_computation(tied):
    trainer, direct = (
        made_trainer(plan=PLAN.model_copy(update={"clip_norm": None}), tied=tied) for _ in range(2)
    )
    inputs_BT, targets_BT = Batches(SPLIT, 8, 4, seed=3).batch(2)
    logits_BTV = direct.model(inputs_BT)
    loss = functional.cross_entropy(logits_BTV.flatten(0, 1), targets_BT.flatten())
    loss.backward()
    gradients = {name: tensor.grad for name, tensor in direct.model.named_parameters()}

    figures = trainer.step(2)

    norm = math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients.values()))
    assert figures.loss == pytest.approx(loss.item(), rel=1e-6)
    assert figures.gradient_norm == pytest.approx(norm, rel=1e-5)
    for name, parameter in trainer.model.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-4, atol=1e-6, msg=name)


def test_only_what_is_learned_is_learnt():
    """Against the loss that ignores targets; one micro-batch learns nothing."""
    masked = Split(SPLIT.tokens, np.random.default_rng(1).integers(2, size=300, dtype=np.uint8))
    plan = PLAN.model_copy(update={"clip_norm": None})
    trainer, direct = made_trainer(1, plan), made_trainer(1, plan)
    trainer._batches = Batches(masked, 8, 4, seed=3)
    inputs_BT, targets_BT = trainer._batches.batch(2)
    targets_BT[1] = UNLEARNED
    trainer._batches.batch = lambda _step: (inputs_BT, targets_BT)
    logits_BTV = direct.model(inputs_BT)
    loss = functional.cross_entropy(
        logits_BTV.flatten(0, 1), targets_BT.flatten(), ignore_index=UNLEARNED
    )
    loss.backward()

    figures = trainer.step(2)

    assert 0 < (targets_BT != UNLEARNED).sum() < targets_BT.numel() - 8
    assert figures.loss == pytest.approx(loss.item(), rel=1e-6)
    theirs = dict(direct.model.named_parameters())
    for name, ours in trainer.model.named_parameters():
        torch.testing.assert_close(ours.grad, theirs[name].grad, rtol=1e-4, atol=1e-6, msg=name)


def test_validation_scores_only_what_is_learned():
    masked = Split(SPLIT.tokens, np.random.default_rng(1).integers(2, size=300, dtype=np.uint8))
    lengths_V = torch.arange(VOCAB_SIZE) % 3
    trainer = made_trainer()
    tokens = torch.from_numpy(SPLIT.tokens[:65].astype("int64"))
    losses_N = trainer._losses(tokens, 8).detach()
    learned_N = torch.from_numpy(masked.masks[1:65] == 1)
    text_N = learned_N & (lengths_V[tokens[1:]] > 0)

    nats, bits_per_byte = trainer.validate(masked, lengths_V, 64)

    assert nats == pytest.approx(float(losses_N[learned_N].mean()), rel=1e-6)
    expected = losses_N[text_N].sum() / lengths_V[tokens[1:]][learned_N].sum() / math.log(2)
    assert bits_per_byte == pytest.approx(float(expected), rel=1e-6)


def test_the_rate_follows_the_schedule():
    trainer = made_trainer()

    rates = [trainer.step(step).learning_rate for step in range(6)]

    assert rates == pytest.approx([PLAN.learning_rate * x / 3 for x in (1, 2, 3, 3, 2, 1)])


def test_a_factor_scales_what_a_step_changes():
    """Warm-up's first third changes the gains a third as much as the plateau would."""
    small, full = made_trainer(), made_trainer(plan=PLAN.model_copy(update={"warmup_share": 0.0}))
    before = weights_of(small)["final_norm.gain"]

    small.step(0)
    full.step(0)

    change = weights_of(full)["final_norm.gain"] - before
    assert change.abs().max() > 1e-3
    torch.testing.assert_close(
        weights_of(small)["final_norm.gain"] - before, change / 3, rtol=1e-3, atol=1e-6
    )


def test_learning_lowers_the_loss():
    trainer = made_trainer()
    inputs_BT, targets_BT = Batches(SPLIT, 8, 4, seed=3).batch(0)
    trainer._batches = type("One", (), {"batch": lambda _self, _step: (inputs_BT, targets_BT)})()

    losses = [trainer.step(step).loss for step in range(6)]

    assert losses[-1] < losses[0] - 0.2


@pytest.mark.parametrize("micro_batch", [1, 2])
def test_micro_batches_give_the_whole_batchs_step(micro_batch):
    whole, parts = made_trainer(4), made_trainer(micro_batch)

    figures = [(whole.step(step), parts.step(step)) for step in range(2)]

    for ours, theirs in figures:
        assert ours.loss == pytest.approx(theirs.loss, abs=1e-6, rel=1e-6)
        assert ours.gradient_norm == pytest.approx(theirs.gradient_norm, rel=1e-5)
    for name, tensor in weights_of(whole).items():
        torch.testing.assert_close(weights_of(parts)[name], tensor, rtol=0, atol=1e-5, msg=name)


@pytest.mark.parametrize("tokens_seen", [0, 1, 2])
def test_a_step_interrupted_before_or_after_any_micro_batch_never_was(tokens_seen):
    trainer, undisturbed = made_trainer(), made_trainer()
    trainer.step(0)
    undisturbed.step(0)
    before = state_of(trainer)
    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if calls == tokens_seen + 1:
            raise Interrupted(15)

    with pytest.raises(Interrupted):
        trainer.step(1, check)
    assert calls == tokens_seen + 1
    assert_same(state_of(trainer), before)

    trainer.step(1)
    undisturbed.step(1)
    assert_same(state_of(trainer), state_of(undisturbed))


def test_it_is_asked_before_every_micro_batch_and_before_the_update():
    calls = []

    made_trainer(1).step(0, lambda: calls.append(1))

    assert len(calls) == 4 + 1


def test_resumed_equals_uninterrupted_bit_for_bit():
    whole = made_trainer()
    for step in range(6):
        whole.step(step)

    first = made_trainer()
    for step in range(2):
        first.step(step)
    saved = safetensors.torch.save(state_of(first))
    second, state = made_trainer(), safetensors.torch.load(saved)
    optimizer_state = {
        name.removeprefix("optimizer."): tensor
        for name, tensor in state.items()
        if name.startswith("optimizer.")
    }
    second.optimizer.load(optimizer_state)
    second.model.load_state_dict({name: state[name] for name in second.model.state_dict()})
    for step in range(2, 6):
        second.step(step)

    assert_same(state_of(second), state_of(whole))


@pytest.mark.parametrize(
    ("clip_norm", "factor"),
    [
        pytest.param(0.01, None, id="a long gradient is cut to the norm"),
        pytest.param(1e6, 1.0, id="a short one stays"),
        pytest.param(None, 1.0, id="null: never"),
    ],
)
def test_gradients_are_clipped_and_the_norm_told_is_the_one_before(clip_norm, factor):
    trainer = made_trainer(plan=PLAN.model_copy(update={"clip_norm": clip_norm}))

    told = trainer.step(0).gradient_norm

    squares = [parameter.grad.square().sum() for parameter in trainer.model.parameters()]
    left = math.sqrt(float(sum(squares)))
    assert left == pytest.approx(0.01 if factor is None else told, rel=1e-3)
    assert told > 0.05


def spoil_weight(trainer: Trainer) -> None:
    trainer.model.final_norm.gain.data[0] = float("nan")


def spoil_gradient(trainer: Trainer) -> None:
    trainer.model.final_norm.gain.register_hook(lambda gradient: gradient * math.inf)


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        pytest.param(spoil_weight, "loss nan, gradient norm nan", id="the loss"),
        pytest.param(spoil_gradient, r"loss \d+\.\d+, gradient norm (inf|nan)", id="the gradient"),
    ],
)
def test_what_is_not_finite_ends_the_training_before_the_update(spoil, found):
    trainer = made_trainer()
    spoil(trainer)
    before = state_of(trainer)

    with pytest.raises(
        NumericsError,
        match=rf"step 3: {found}: no longer finite; lower train.learning_rate and "
        r"train.embedding_learning_rate, and begin anew with --restart. The last checkpoint",
    ) as raised:
        trainer.step(2)

    assert raised.value.exit_code == 1
    for name, tensor in state_of(trainer).items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0, equal_nan=True)


def test_bfloat16_computes_about_the_same_and_keeps_float32_weights():
    narrow, wide = made_trainer(dtype="bfloat16"), made_trainer()

    ours, theirs = narrow.step(0), wide.step(0)

    assert ours.loss == pytest.approx(theirs.loss, rel=0.02)
    assert ours.loss != theirs.loss
    assert {tensor.dtype for tensor in weights_of(narrow).values()} == {torch.float32}


def directly(trainer: Trainer, tokens: np.ndarray, lengths_V: torch.Tensor) -> tuple[float, float]:
    """Every target from the start of its window on, one window at a time."""
    nats, num_bytes = [], []
    for start in range(0, len(tokens) - 1, 8):
        window = torch.from_numpy(tokens[start : start + 9].astype(np.int64))
        with torch.no_grad():
            logits_TV = trainer.model(window[None, :-1])[0]
        nats += functional.cross_entropy(logits_TV, window[1:], reduction="none").tolist()
        num_bytes += lengths_V[window[1:]].tolist()
    of_text = sum(x for x, length in zip(nats, num_bytes, strict=True) if length)
    return sum(nats) / len(nats), of_text / math.log(2) / sum(num_bytes)


@pytest.mark.parametrize(
    ("num_tokens", "max_tokens", "scored"),
    [
        pytest.param(300, 16, 17, id="whole windows, one batch"),
        pytest.param(300, 100, 101, id="several batches and half a window"),
        pytest.param(30, 1000, 30, id="no more than there are"),
        pytest.param(5, 1000, 5, id="less than a window"),
        pytest.param(2, 1000, 2, id="a single target"),
    ],
)
def test_validation_equals_a_direct_computation(monkeypatch, num_tokens, max_tokens, scored):
    monkeypatch.setattr(trainer_module, "VALIDATION_BATCH_TOKENS", 24)
    trainer, split = made_trainer(), Split(SPLIT.tokens[:num_tokens])
    lengths_V = torch.arange(VOCAB_SIZE) % 4  # every fourth token stands for no text

    found = trainer.validate(split, lengths_V, max_tokens)

    assert found == pytest.approx(directly(trainer, split.tokens[:scored], lengths_V), rel=1e-5)


def test_validation_changes_nothing():
    trainer, undisturbed = made_trainer(), made_trainer()
    trainer.step(0)
    undisturbed.step(0)

    trainer.validate(SPLIT, torch.ones(VOCAB_SIZE, dtype=torch.long), 50)
    trainer.step(1)
    undisturbed.step(1)

    assert_same(state_of(trainer), state_of(undisturbed))
