"""optimizers: Muon worked by hand, AdamW against PyTorch's, then state and stacking."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from llmctl.core.model.projection import Part
from llmctl.core.recipe import TrainPlan
from llmctl.core.training.optimizers import Optimizer, orthogonalise

PLAN = TrainPlan(
    learning_rate=0.1,
    embedding_learning_rate=0.03,
    norm_learning_rate=0.007,
    momentum=0.5,
    weight_decay=0.5,
)


def newton_schulz(value: float) -> float:
    """The quintic on one singular value, five times, in double precision."""
    for _ in range(5):
        value = 3.4445 * value - 4.7750 * value**3 + 2.0315 * value**5
    return value


def whole(parameters) -> list[tuple[str, list[Part]]]:
    """Parameters that consist of one part each."""
    return [(name, [Part(name, parameter)]) for name, parameter in parameters]


def with_gradients(*gradients: list) -> list[tuple[str, nn.Parameter]]:
    """Parameters of ones with the given gradients, named a, b, …"""
    found = []
    for name, gradient in zip("abcdef", gradients, strict=False):
        parameter = nn.Parameter(torch.ones(torch.tensor(gradient).shape))
        parameter.grad = torch.tensor(gradient)
        found.append((name, parameter))
    return found


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        pytest.param([[4.0]], [[newton_schulz(1)]], id="1 x 1: the sign"),
        pytest.param([[-0.01]], [[-newton_schulz(1)]], id="whatever its size"),
        pytest.param(
            [[0.0, -3.0], [3.0, 0.0]],
            [[0.0, -newton_schulz(0.5**0.5)], [newton_schulz(0.5**0.5), 0.0]],
            id="a rotation times 3: both values are 1/sqrt 2 of the norm",
        ),
        pytest.param(
            [[0.6, 0.0], [0.0, 0.8], [0.0, 0.0]],
            [[newton_schulz(0.6), 0.0], [0.0, newton_schulz(0.8)], [0.0, 0.0]],
            id="tall: each value by itself",
        ),
        pytest.param([[0.0, 0.0]], [[0.0, 0.0]], id="nothing stays nothing"),
    ],
)
def test_orthogonalised_by_hand(matrix, expected):
    found = orthogonalise(torch.tensor([matrix]))

    torch.testing.assert_close(found, torch.tensor([expected]), rtol=1e-5, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 6),
    columns=st.integers(1, 6),
    seed=st.integers(0, 1000),
    values=st.lists(st.floats(0.1, 1.0), min_size=6, max_size=6),
)
def test_singular_values_come_near_1_and_directions_stay(rows, columns, seed, values):
    generator = torch.Generator().manual_seed(seed)
    draw = torch.randn(max(rows, columns), max(rows, columns), generator=generator).double()
    left = torch.linalg.qr(draw)[0][:rows, : min(rows, columns)]
    right = torch.linalg.qr(draw.T)[0][:columns, : min(rows, columns)]
    if rows < columns:
        left = torch.linalg.qr(draw[:rows, :rows])[0]
    elif columns < rows:
        right = torch.linalg.qr(draw[:columns, :columns])[0]
    matrix = left @ torch.diag(torch.tensor(values[: min(rows, columns)]).double()) @ right.T

    found = orthogonalise(matrix.float().unsqueeze(0))[0].double()

    inside = left.T @ found @ right
    diagonal = inside.diagonal()
    torch.testing.assert_close(inside, torch.diag(diagonal), rtol=0, atol=1e-4)
    torch.testing.assert_close(left @ inside @ right.T, found, rtol=0, atol=1e-4)
    assert diagonal.min() > 0.6
    assert diagonal.max() < 1.3


def test_two_steps_of_muon_by_hand():
    """Averages 2 and -1 look ahead to 3 and -2.5, whose signs the update takes."""
    [(name, weight)] = with_gradients([[4.0]])
    optimizer = Optimizer(whole([(name, weight)]), frozenset(), PLAN)
    size = newton_schulz(1)

    optimizer.step(1.0)
    first = 1 * (1 - 0.1 * 0.5) - 0.1 * size
    assert weight.item() == pytest.approx(first)
    assert optimizer.state()["momentum.a"].item() == pytest.approx(2.0)

    weight.grad = torch.tensor([[-4.0]])
    optimizer.step(0.5)
    assert weight.item() == pytest.approx(first * (1 - 0.05 * 0.5) + 0.05 * size)
    assert optimizer.state()["momentum.a"].item() == pytest.approx(-1.0)


def test_the_look_ahead_decides_where_average_and_gradient_differ():
    """After 4 and -1 the average is 0.5 and the look-ahead -0.25: the step goes up."""
    [(name, weight)] = with_gradients([[4.0]])
    optimizer = Optimizer(whole([(name, weight)]), frozenset(), PLAN)
    optimizer.step(1.0)
    before = weight.item()
    weight.grad = torch.tensor([[-1.0]])

    optimizer.step(1.0)

    assert weight.item() == pytest.approx(before * 0.95 + 0.1 * newton_schulz(1))


@pytest.mark.parametrize(
    ("gradient", "scale"),
    [
        pytest.param([[2.0], [0.0], [0.0], [0.0]], 2.0, id="four outputs of one input: sqrt 4"),
        pytest.param([[2.0, 0.0, 0.0, 0.0]], 1.0, id="one output of four inputs: no more than 1"),
    ],
)
def test_a_wide_output_takes_a_larger_step(gradient, scale):
    [(name, weight)] = with_gradients(gradient)

    Optimizer(whole([(name, weight)]), frozenset(), PLAN).step(1.0)

    expected = 0.95 - 0.1 * scale * newton_schulz(1)
    assert weight.flatten()[0].item() == pytest.approx(expected, rel=1e-5)
    assert weight.flatten()[1].item() == pytest.approx(0.95)


def test_the_first_step_of_adam_is_the_rate_by_kind_and_factor():
    """Its first update is the gradient over its own size; tables and gains decay not."""
    parameters = with_gradients([[5.0, -5.0]], [3.0, -3.0])

    Optimizer(whole(parameters), frozenset({"a"}), PLAN).step(0.5)

    (_, table), (_, gain) = parameters
    torch.testing.assert_close(table.data, torch.tensor([[1 - 0.015, 1 + 0.015]]))
    torch.testing.assert_close(gain.data, torch.tensor([1 - 0.0035, 1 + 0.0035]))


def test_gradients_are_left_as_they_were():
    parameters = with_gradients([[4.0]], [3.0])

    Optimizer(whole(parameters), frozenset(), PLAN).step(1.0)

    assert [parameter.grad.item() for _, parameter in parameters] == [4.0, 3.0]


def made_parameters() -> list[tuple[str, nn.Parameter]]:
    generator = torch.Generator().manual_seed(1)
    shapes = {"table": (7, 3), "a": (4, 3), "b": (4, 3), "c": (3, 4), "d": (4, 3), "gain": (3,)}
    return [
        (name, nn.Parameter(torch.randn(shape, generator=generator)))
        for name, shape in shapes.items()
    ]


def take_steps(optimizer: Optimizer, parameters, first: int, last: int) -> None:
    for step in range(first, last):
        generator = torch.Generator().manual_seed(step)
        for _, parameter in parameters:
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimizer.step(1 / (step + 1))


def test_adam_equals_pytorchs_over_several_steps():
    ours = [pair for pair in made_parameters() if pair[0] in ("table", "gain")]
    theirs = [pair for pair in made_parameters() if pair[0] in ("table", "gain")]
    groups = [
        {"params": [theirs[0][1]], "lr": PLAN.embedding_learning_rate},
        {"params": [theirs[1][1]], "lr": PLAN.norm_learning_rate},
    ]
    peer = torch.optim.AdamW(groups, betas=(0.9, 0.95), eps=1e-10, weight_decay=0)
    optimizer = Optimizer(whole(ours), frozenset({"table"}), PLAN)

    for step in range(5):
        for (_, mine), (_, other) in zip(ours, theirs, strict=True):
            mine.grad = torch.randn(mine.shape, generator=torch.Generator().manual_seed(step))
            other.grad = mine.grad.clone()
        optimizer.step(1.0)
        peer.step()

    for (_, mine), (_, other) in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-7)


def test_stacked_equals_one_by_one():
    stacked, single = made_parameters(), made_parameters()
    take_steps(Optimizer(whole(stacked), frozenset({"table"}), PLAN), stacked, 0, 4)

    optimizers = [Optimizer(whole([pair]), frozenset({"table"}), PLAN) for pair in single]
    for step in range(4):
        generator = torch.Generator().manual_seed(step)
        for (_, parameter), optimizer in zip(single, optimizers, strict=True):
            parameter.grad = torch.randn(parameter.shape, generator=generator)
            optimizer.step(1 / (step + 1))

    for (name, ours), (_, theirs) in zip(stacked, single, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6, msg=name)


def test_state_and_load_go_on_bit_for_bit():
    uninterrupted, halves = made_parameters(), made_parameters()
    optimizer = Optimizer(whole(uninterrupted), frozenset({"table"}), PLAN)
    take_steps(optimizer, uninterrupted, 0, 5)

    first = Optimizer(whole(halves), frozenset({"table"}), PLAN)
    take_steps(first, halves, 0, 2)
    state = {name: tensor.clone() for name, tensor in first.state().items()}
    again = [(name, nn.Parameter(tensor.detach().clone())) for name, tensor in halves]
    second = Optimizer(whole(again), frozenset({"table"}), PLAN)
    second.load(state)
    take_steps(second, again, 2, 5)

    for (_, ours), (_, theirs) in zip(again, uninterrupted, strict=True):
        assert torch.equal(ours, theirs)


def test_the_state_names_every_parameter():
    names = set(Optimizer(whole(made_parameters()), frozenset({"table"}), PLAN).state())

    assert names == {
        "num_steps",
        *(f"momentum.{name}" for name in "abcd"),
        *(f"{kind}.{name}" for kind in ("mean", "square") for name in ("table", "gain")),
    }


def test_parts_of_one_parameter_are_updated_each_by_itself():
    pairs = with_gradients([[0.5, 1.0], [2.0, -1.0]], [[1.0, 3.0]])
    fused = nn.Parameter(torch.ones(3, 2))
    fused.grad = torch.cat([parameter.grad for _, parameter in pairs])
    parts = [Part("a", fused, (slice(0, 2),)), Part("b", fused, (slice(2, 3),))]

    apart = Optimizer(whole(pairs), frozenset(), PLAN)
    together = Optimizer([("both", parts)], frozenset(), PLAN)
    for optimizer in (apart, together):
        optimizer.step(1.0)

    assert torch.equal(fused, torch.cat([parameter for _, parameter in pairs]))
    assert apart.state().keys() == together.state().keys()


@pytest.mark.parametrize("name", ["table", "a"])
def test_a_parameter_without_a_gradient_is_refused(name):
    parameters = [pair for pair in made_parameters() if pair[0] == name]

    with pytest.raises(ValueError, match=rf"{name} has no gradient; was backward run\?"):
        Optimizer(whole(parameters), frozenset({"table"}), PLAN).step(1.0)
