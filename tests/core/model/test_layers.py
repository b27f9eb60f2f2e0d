"""The layers around attention: norms and rotations by hand, their gradients, the first weights."""

import math

import pytest
import torch

from llmctl.core.model.architecture import Architecture
from llmctl.core.model.initialisation import EMBEDDING_STANDARD_DEVIATION, initialise
from llmctl.core.model.mlp import MLP
from llmctl.core.model.normalisation import RMSNorm
from llmctl.core.model.rotary import Rotary, rotate
from llmctl.core.model.transformer import Transformer
from llmctl.core.recipe import ModelShape

SHAPE = ModelShape(
    num_layers=2, width=48, num_heads=3, num_key_value_heads=1, head_width=16, mlp_width=80
)


def test_rms_norm_by_hand():
    norm = RMSNorm(2, epsilon=0.5)
    with torch.no_grad():
        norm.gain.copy_(torch.tensor([2.0, -1.0]))
        scaled = norm(torch.tensor([3.0, 4.0]))

    root = math.sqrt((9 + 16) / 2 + 0.5)
    assert scaled.tolist() == pytest.approx([2 * 3 / root, -4 / root])


def test_rms_norm_for_training_is_the_one_for_inference():
    norm = RMSNorm(16, epsilon=1e-6)
    x = torch.randn(3, 5, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        norm.gain.uniform_(0.5, 2, generator=torch.Generator().manual_seed(1))
        expected = norm(x)

    torch.testing.assert_close(norm(x), expected)


def test_rms_norm_gradient_is_the_derivative():
    norm = RMSNorm(6, epsilon=0.1).double()
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    gain = torch.randn(6, generator=generator, dtype=torch.float64, requires_grad=True)

    def with_gain(x, gain):
        return torch.func.functional_call(norm, {"gain": gain}, x)

    assert torch.autograd.gradcheck(with_gain, (x, gain))


def test_rotation_turns_pairs_and_keeps_lengths():
    cosines, signed_sines = (table.unsqueeze(1) for table in Rotary(10.0, 4).tables(7))
    x_BTHK = torch.randn(2, 7, 3, 4, generator=torch.Generator().manual_seed(0))

    with torch.no_grad():
        turned = rotate(x_BTHK, cosines, signed_sines)

    as_complex = torch.complex(x_BTHK[..., :2], x_BTHK[..., 2:])
    angles = torch.outer(torch.arange(7.0), torch.tensor([1.0, 10**-0.5]))[:, None]
    expected = as_complex * torch.exp(1j * angles)
    torch.testing.assert_close(turned, torch.cat((expected.real, expected.imag), dim=-1))


def test_rotation_gradient_is_the_derivative():
    tables = [table.double().unsqueeze(1) for table in Rotary(10.0, 4).tables(3)]
    x_BTHK = torch.randn(1, 3, 2, 4, dtype=torch.float64, requires_grad=True)

    assert torch.autograd.gradcheck(lambda x: rotate(x, *tables), (x_BTHK,))


def test_mlp_by_hand():
    shape = SHAPE.model_copy(update={"width": 1, "mlp_width": 1})
    mlp = MLP(Architecture.from_shape(shape, 100))
    with torch.no_grad():
        mlp.gate_up.weight.copy_(torch.tensor([[2.0], [3.0]]))
        mlp.down.weight.fill_(5.0)
        out = mlp(torch.tensor([[1.0]]))

    silu = 2 / (1 + math.exp(-2))
    assert out.item() == pytest.approx(silu * 3 * 5)


@pytest.mark.parametrize("tie", [True, False])
def test_new_model_is_near_the_uniform_distribution(tie):
    model = Transformer(
        Architecture.from_shape(SHAPE.model_copy(update={"tie_embeddings": tie}), 512)
    )
    initialise(model, seed=3)

    with torch.no_grad():
        log_probabilities = model(torch.arange(64)[None]).log_softmax(-1)

    assert -log_probabilities.mean().item() == pytest.approx(math.log(512), abs=0.05)


def test_new_projections_have_the_variance_they_promise():
    model = Transformer(Architecture.from_shape(SHAPE, 512))
    initialise(model, seed=3)
    weights = dict(model.named_parameters())

    assert weights["embedding.weight"].std().item() == pytest.approx(
        EMBEDDING_STANDARD_DEVIATION, rel=0.05
    )
    assert weights["blocks.0.mlp.gate_up.weight"].std().item() == pytest.approx(48**-0.5, rel=0.05)
    assert not weights["blocks.1.mlp.down.weight"].any()
    assert not weights["blocks.1.attention.output.weight"].any()
    assert bool((weights["final_norm.gain"] == 1).all())


def test_weights_depend_on_the_seed_alone():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    models = [Transformer(Architecture.from_shape(SHAPE, 100)) for _ in range(3)]
    for model, seed in zip(models, (1, 1, 2), strict=True):
        initialise(model, seed)
    first, again, other = (model.state_dict() for model in models)

    assert torch.equal(torch.get_rng_state(), state), "the global random numbers were touched"
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["embedding.weight"], other["embedding.weight"])


def test_table_names_are_parameters_with_a_row_per_entry():
    for tie in (True, False):
        model = Transformer(
            Architecture.from_shape(SHAPE.model_copy(update={"tie_embeddings": tie}), 100)
        )
        by_rows = {name for name, weight in model.named_parameters() if weight.shape[0] == 100}
        assert model.table_names == by_rows
        assert model.output_weight.shape == (100, 48)
