"""Generation against a plain loop without a cache; batches against single prompts; limits."""

import math

import pytest
import torch

from llmctl.core.decoding.generation import Generation
from llmctl.core.errors import DataError, NumericsError
from llmctl.core.model.architecture import Architecture
from llmctl.core.model.initialisation import initialise
from llmctl.core.model.transformer import Transformer
from llmctl.core.recipe import GeneratePlan, ModelShape

VOCAB_SIZE = 40
SHAPE = ModelShape(
    num_layers=2,
    width=24,
    num_heads=2,
    num_key_value_heads=1,
    head_width=8,
    mlp_width=32,
    context_tokens=24,
)
PROMPTS = [[5, 6, 7], [8], [1, 2, 3, 4, 5, 6, 7, 8, 9], [30, 31]]


@pytest.fixture(scope="module")
def model():
    model = Transformer(Architecture.from_shape(SHAPE, VOCAB_SIZE))
    initialise(model, 0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.3)
    return model.eval()


def written(model, prompts, plan, **settings):
    rows = [[] for _ in prompts]
    reasons = [None] * len(prompts)
    for chosen in Generation(model, prompts, plan, **{"seed": 1, **settings}):
        assert reasons[chosen.row] is None, "a finished row went on"
        rows[chosen.row].append(chosen.token_id)
        reasons[chosen.row] = chosen.finish_reason
    return rows, reasons


def greedy(max_tokens):
    return GeneratePlan(temperature=0.0, max_tokens=max_tokens)


def test_greedy_is_the_likeliest_token_of_a_plain_loop(model):
    ids = list(PROMPTS[0])
    with torch.no_grad():
        for _ in range(10):
            ids.append(int(model(torch.tensor([ids]))[0, -1].argmax()))

    assert written(model, PROMPTS[:1], greedy(10)) == ([ids[3:]], ["length"])


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_batch_writes_what_its_prompts_write_alone(model, temperature):
    plan = GeneratePlan(temperature=temperature, max_tokens=12)
    together, reasons = written(model, PROMPTS, plan, stop_ids=frozenset({3, 9, 17}))

    alone = [
        written(model, [prompt], plan, first_row=row, stop_ids=frozenset({3, 9, 17}))
        for row, prompt in enumerate(PROMPTS)
    ]
    assert together == [rows[0] for rows, _ in alone]
    assert reasons == [reasons[0] for _, reasons in alone]
    if temperature:
        assert len({len(row) for row in together}) > 1, "no row ended early: the test is void"


def test_the_seed_decides(model):
    plan = GeneratePlan(temperature=2.0, max_tokens=12)

    assert written(model, PROMPTS, plan) == written(model, PROMPTS, plan)
    assert written(model, PROMPTS, plan) != written(model, PROMPTS, plan, seed=2)
    same_prompt, _ = written(model, [[5], [5]], plan)
    assert same_prompt[0] != same_prompt[1]


def test_a_stop_token_ends_a_row(model):
    (whole,), _ = written(model, PROMPTS[:1], greedy(8))

    rows, reasons = written(model, PROMPTS[:1], greedy(8), stop_ids=frozenset({whole[4]}))

    assert rows[0] == whole[: whole.index(whole[4]) + 1]
    assert reasons == ["stop"]


def test_the_caller_can_end_a_row(model):
    generation = Generation(model, PROMPTS, greedy(6), seed=0)
    counts = [0] * len(PROMPTS)
    for chosen in generation:
        counts[chosen.row] += 1
        if chosen.row == 1 and counts[1] == 2:
            generation.finish(1)

    assert counts == [6, 2, 6, 6]


@pytest.mark.parametrize(("num_prompt", "expected"), [(24, 1), (23, 2), (15, 10), (10, 10)])
def test_ends_where_the_context_is_full(model, num_prompt, expected):
    rows, reasons = written(model, [[1] * num_prompt, [2]], greedy(10))

    assert [len(row) for row in rows] == [expected, 10]
    assert reasons == ["length", "length"]


def test_no_prompts_no_tokens(model):
    assert written(model, [], greedy(3)) == ([], [])


def test_refuses_prompts_that_cannot_be_read(model):
    with pytest.raises(
        DataError, match="prompt 2 has 25 tokens and the model's context holds 24; shorten"
    ):
        Generation(model, [[1], [1] * 25], greedy(1), seed=0)
    with pytest.raises(ValueError, match="prompt 6 has no tokens"):
        Generation(model, [[]], greedy(1), seed=0, first_row=5)


def test_damaged_weights_are_told():
    broken = Transformer(Architecture.from_shape(SHAPE, VOCAB_SIZE))
    initialise(broken, 0)
    with torch.no_grad():
        broken.final_norm.gain[0] = math.nan

    with pytest.raises(NumericsError, match="logits are not finite"):
        list(Generation(broken, [[1]], greedy(1), seed=0))
