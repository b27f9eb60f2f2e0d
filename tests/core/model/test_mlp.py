"""MLPs with and without a gate, and many of which a few are chosen, by hand.

N tokens, D width, E experts, M inner width.
"""

import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from llmctl.core.model.architecture import Architecture, Experts, Layer, Norm
from llmctl.core.model.mlp import ACTIVATIONS, MLP, ExpertMLPs

BARE = Architecture(
    vocab_size=10,
    width=1,
    num_heads=1,
    num_key_value_heads=1,
    head_width=2,
    mlp_width=1,
    context_tokens=8,
    layers=(Layer(1.0),),
    norm=Norm(1e-6),
    tie_embeddings=True,
)
NORMALISED = Experts(num_experts=4, num_chosen=2, width=1, is_normalised=True)


def gelu(x):
    return x * (1 + math.erf(x / math.sqrt(2))) / 2


def gelu_tanh(x):
    return x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2


# ------------------------------------------------------------------ one MLP


@pytest.mark.parametrize(
    ("name", "by_hand"),
    [
        ("silu", lambda x: x / (1 + math.exp(-x))),
        ("gelu", gelu),
        ("gelu_tanh", gelu_tanh),
        ("relu", lambda x: max(x, 0.0)),
    ],
)
def test_activations_by_hand(name, by_hand):
    xs = [-3.0, -0.7, 0.0, 0.4, 2.5]

    found = ACTIVATIONS[name](torch.tensor(xs, dtype=torch.float64)).tolist()

    assert found == pytest.approx([by_hand(x) for x in xs], abs=1e-12)


def test_the_two_gelus_are_two():
    x = torch.tensor([1.0, 2.5])

    assert not torch.allclose(ACTIVATIONS["gelu"](x), ACTIVATIONS["gelu_tanh"](x), atol=1e-5)


def filled(module, **values):
    """Fill parameters by name: lists in their shape."""
    with torch.no_grad():
        for name, value in values.items():
            parameter = module.get_parameter(name.replace("__", "."))
            parameter.copy_(torch.tensor(value).view_as(parameter))
    return module


@torch.no_grad()
def test_without_a_gate_by_hand():
    architecture = replace(BARE, has_gate=False, activation="relu", mlp_width=2, mlp_bias=True)
    mlp = filled(
        MLP(architecture),
        up__weight=[2.0, -1.0],
        up__bias=[1.0, 0.5],
        down__weight=[10.0, 100.0],
        down__bias=[7.0],
    )

    # At 3: relu(7) and relu(-2.5); at -2: relu(-3) and relu(2.5).
    assert mlp(torch.tensor([[[3.0], [-2.0]]])).flatten().tolist() == [77.0, 257.0]


@torch.no_grad()
def test_with_a_gate_and_biases_by_hand():
    architecture = replace(BARE, activation="relu", mlp_bias=True)
    mlp = filled(
        MLP(architecture),
        gate_up__weight=[2.0, 3.0],
        gate_up__bias=[1.0, -4.0],
        down__weight=[10.0],
        down__bias=[0.5],
    )

    # At 2: gate 5, up 2. At -1 the gate is shut.
    assert mlp(torch.tensor([[[2.0], [-1.0]]])).flatten().tolist() == [100.5, 0.5]


def test_parameters_are_those_of_the_kind():
    def names(**changes):
        return {name for name, _ in MLP(replace(BARE, **changes)).named_parameters()}

    assert names() == {"gate_up.weight", "down.weight"}
    assert names(has_gate=False) == {"up.weight", "down.weight"}
    assert names(mlp_bias=True) == {
        *("gate_up.weight", "gate_up.bias"),
        *("down.weight", "down.bias"),
    }


# ------------------------------------------------------------------ experts


def counting_experts(experts):
    """Expert e multiplies a positive x by 10^e; at 1 the router's logits are 0, log 2, …"""
    architecture = replace(BARE, activation="relu")
    count = experts.num_experts
    return filled(
        ExpertMLPs(architecture, experts),
        router__weight=[math.log(1 + expert) for expert in range(count)],
        # relu(x) * 1, the one from x itself: at x = 1 both are 1.
        gate_up=[[1.0, 1.0]] * count,
        down=[10.0**expert for expert in range(count)],
    )


@torch.no_grad()
@pytest.mark.parametrize(
    ("num_chosen", "is_normalised", "expected"),
    [
        # The softmax of 0, log 2, log 3, log 4 is 1/10 to 4/10.
        pytest.param(1, False, 0.4 * 1000, id="the likeliest, by its probability"),
        pytest.param(2, False, 0.4 * 1000 + 0.3 * 100, id="two, by theirs"),
        pytest.param(1, True, 1000, id="the likeliest, whole"),
        pytest.param(2, True, (4 * 1000 + 3 * 100) / 7, id="two, together whole"),
        pytest.param(4, False, 400 + 30 + 2 + 0.1, id="all"),
        pytest.param(4, True, 400 + 30 + 2 + 0.1, id="all are whole already"),
    ],
)
def test_experts_by_hand(num_chosen, is_normalised, expected):
    experts = replace(NORMALISED, num_chosen=num_chosen, is_normalised=is_normalised)

    found = counting_experts(experts)(torch.tensor([[[1.0]]]))

    assert found.item() == pytest.approx(expected, rel=1e-6)


def redrawn_experts(**changes):
    experts = replace(NORMALISED, num_experts=6, num_chosen=3, width=5, **changes)
    module = ExpertMLPs(replace(BARE, width=7), experts)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(generator=generator)
    return module, torch.randn(2, 11, 7, generator=generator)


def every_expert(module, x_ND):
    """What each expert makes of each token, (E, N, D)."""
    updates = []
    for gate_up, down in zip(module.gate_up, module.down, strict=True):
        gate, up = (x_ND @ gate_up.T).chunk(2, dim=-1)
        updates.append((functional.silu(gate) * up) @ down.T)
    return torch.stack(updates)


@torch.no_grad()
@pytest.mark.parametrize("is_normalised", [True, False])
def test_experts_equal_the_sum_over_all_with_the_others_at_0(is_normalised):
    module, x_BTD = redrawn_experts(is_normalised=is_normalised)
    x_ND = x_BTD.flatten(0, 1)

    probabilities_NE = (x_ND @ module.router.weight.T).softmax(-1)
    least_N1 = probabilities_NE.sort(-1, descending=True).values[:, 2:3]
    weights_NE = probabilities_NE * (probabilities_NE >= least_N1)
    if is_normalised:
        weights_NE /= weights_NE.sum(-1, keepdim=True)
    expected_ND = torch.einsum("ne,end->nd", weights_NE, every_expert(module, x_ND))

    assert ((weights_NE > 0).sum(-1) == 3).all()
    torch.testing.assert_close(module(x_BTD).flatten(0, 1), expected_ND)


@torch.no_grad()
def test_every_token_goes_through_as_many_experts_as_are_chosen(monkeypatch):
    module, x_BTD = redrawn_experts()
    passed = []
    compute = module._expert
    monkeypatch.setattr(
        module, "_expert", lambda expert, x: passed.append((expert, x)) or compute(expert, x)
    )

    module(x_BTD)

    assert len({expert for expert, _ in passed}) == len(passed)  # each is read at most once
    seen_ND = torch.cat([x_ND for _, x_ND in passed])
    for x_D in x_BTD.flatten(0, 1):
        assert (seen_ND == x_D).all(-1).sum() == 3


@torch.no_grad()
def test_a_token_s_update_does_not_depend_on_the_others():
    module, x_BTD = redrawn_experts()

    alone = torch.stack([module(x_BTD[:, at : at + 1])[:, 0] for at in range(11)], dim=1)

    torch.testing.assert_close(module(x_BTD), alone)


@torch.no_grad()
def test_in_bfloat16_it_is_nearly_the_same():
    module, x_BTD = redrawn_experts()
    module, x_BTD = module.bfloat16(), x_BTD.bfloat16()

    found = module(x_BTD)

    assert found.dtype == torch.bfloat16
    expected = module.float()(x_BTD.float())
    assert functional.cosine_similarity(found.float(), expected, dim=-1).min() > 0.99
