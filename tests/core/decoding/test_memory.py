"""A text that begins like the last one is written as if nothing were remembered."""

import pytest
import torch

from llmctl.core.decoding.generation import Generation, GenerationSettings
from llmctl.core.decoding.memory import Memory
from llmctl.core.model.architecture import Architecture
from llmctl.core.model.initialisation import initialise
from llmctl.core.model.transformer import Transformer
from llmctl.core.recipe import GeneratePlan, ModelShape

SHAPE = ModelShape(
    num_layers=2,
    width=24,
    num_heads=2,
    num_key_value_heads=1,
    head_width=8,
    mlp_width=32,
    context_tokens=64,
)
PLAN = GeneratePlan(temperature=0.0, max_tokens=6)


@pytest.fixture(scope="module")
def model():
    model = Transformer(Architecture.from_shape(SHAPE, 40))
    initialise(model, 0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.3)
    return model.eval()


def written(model, prompt, memory=None):
    settings = GenerationSettings(memory=memory)
    made = Generation(model, [prompt], PLAN, seed=0, settings=settings)
    return [chosen.token_id for chosen in made]


def test_turn_after_turn(model):
    memory = Memory()
    prompt = [1, 2, 3]
    for turn in range(4):
        expected = written(model, prompt)
        assert written(model, prompt, memory) == expected
        # All of the text before but its last token, which was never read.
        assert memory.num_reused == (0 if turn == 0 else len(prompt) - 3)
        prompt = [*prompt, *expected, 30 + turn, 5]


@pytest.mark.parametrize(
    ("second", "num_reused"),
    [
        pytest.param([9, 8], 0, id="nothing alike"),
        pytest.param([1, 2, 3, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9], 3, id="a beginning"),
        pytest.param([1, 2], 1, id="shorter: its last token is read again"),
        pytest.param([1, 2, 3, 4], 3, id="the same"),
    ],
)
def test_what_is_alike_is_reused(model, second, num_reused):
    memory = Memory()
    written(model, [1, 2, 3, 4], memory)

    assert written(model, second, memory) == written(model, second)
    assert memory.num_reused == num_reused


def test_keys_of_other_positions_are_not_reused(model, monkeypatch):
    monkeypatch.setattr(model, "regimes", lambda num_tokens: (num_tokens > 12,))
    memory = Memory()
    reply = written(model, [1, 2, 3], memory)

    second = [1, 2, 3, *reply, 7, 7, 7, 7, 7]

    assert written(model, second, memory) == written(model, second)
    assert memory.num_reused == 0
