"""Prompts read together and in pieces against prompts read alone and whole."""

import pytest
import torch

from llmctl.core.decoding.reading import alike, read_prompts
from llmctl.core.model.architecture import Architecture
from llmctl.core.model.initialisation import initialise
from llmctl.core.model.transformer import Transformer
from llmctl.core.recipe import ModelShape

SHAPE = ModelShape(
    num_layers=2, width=16, num_heads=2, num_key_value_heads=1, head_width=8, mlp_width=24
)
PROMPTS = [[5, 6, 7], [8], [1, 2, 3, 4, 5, 6, 7, 8, 9], [30, 31, 32, 33]]


@pytest.fixture(scope="module")
def model():
    model = Transformer(Architecture.from_shape(SHAPE, 40))
    initialise(model, 0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.3)
    return model.eval()


@pytest.mark.parametrize("chunk_tokens", [1, 2, 3, 4, 9, 100])
def test_in_pieces_is_whole_and_together_is_alone(model, chunk_tokens):
    read = read_prompts(model, PROMPTS, chunk_tokens)

    assert read.cache.lengths == [3, 1, 9, 4]
    read.cache.grow(10)
    next_BT = torch.tensor([[11], [12], [13], [14]])
    with torch.inference_mode():
        after_BV = model(next_BT, read.cache)[:, 0]
        for place, prompt in enumerate(PROMPTS):
            whole_TV = model(torch.tensor([[*prompt, 11 + place]]))[0]
            torch.testing.assert_close(read.logits_BV[place], whole_TV[-2], atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(after_BV[place], whole_TV[-1], atol=1e-5, rtol=1e-5)


def test_rows_go_to_other_places_of_a_larger_cache(model):
    read = read_prompts(model, PROMPTS)
    cache = model.new_cache(4, 9)
    cache.put([3, 0, 1], read.cache, [1, 2, 1])
    cache.put([2], read.cache, [3])

    assert cache.lengths == [9, 1, 4, 1]
    with pytest.raises(ValueError, match="10 tokens do not fit into 9 slots"):
        cache.extend(4, 1)
    cache.grow(11)
    cache.grow(10)
    assert cache.num_slots == 11
    with torch.inference_mode():
        after_BV = model(torch.tensor([[11]] * 4), cache)[:, 0]
        for place, row in enumerate([2, 1, 3, 1]):
            whole_V = model(torch.tensor([[*PROMPTS[row], 11]]))[0, -1]
            torch.testing.assert_close(after_BV[place], whole_V, atol=1e-5, rtol=1e-5)


def test_a_row_that_is_too_long_is_refused(model):
    read = read_prompts(model, PROMPTS)

    with pytest.raises(ValueError, match="9 tokens do not fit into 8 slots"):
        model.new_cache(1, 8).put([0], read.cache, [2])


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        pytest.param([], [], id="none"),
        pytest.param([5, 60, 1], [[2, 0, 1]], id="short ones together"),
        pytest.param([500, 10, 900, 1100], [[1], [0, 2], [3]], id="at most twice as long"),
    ],
)
def test_alike(lengths, expected):
    assert alike(lengths) == expected
