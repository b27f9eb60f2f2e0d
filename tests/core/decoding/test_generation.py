"""Generation against a plain loop without a cache; batches, refilled and not, against single
prompts; samples; limits."""

import math

import pytest
import torch

from llmctl.core.decoding import generation
from llmctl.core.decoding.generation import Generation, GenerationSettings, Request
from llmctl.core.errors import DataError, NumericsError, UsageError
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
    """Tokens and finish reasons, by request, or by (request, sample) where there are more."""
    rows, reasons = {}, {}
    for chosen in Generation(model, prompts, plan, **{"seed": 1, **settings}):
        key = (chosen.request, chosen.sample) if plan.num_samples > 1 else chosen.request
        assert reasons.get(key) is None, "a finished row went on"
        rows.setdefault(key, []).append(chosen.token_id)
        reasons[key] = chosen.finish_reason
    if plan.num_samples > 1:
        return rows, reasons
    return [rows[key] for key in sorted(rows)], [reasons[key] for key in sorted(rows)]


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
        written(model, [Request(row, prompt)], plan, stop_ids=frozenset({3, 9, 17}))
        for row, prompt in enumerate(PROMPTS)
    ]
    assert together == [rows[0] for rows, _ in alone]
    assert reasons == [reasons[0] for _, reasons in alone]
    if temperature:
        assert len({len(row) for row in together}) > 1, "no row ended early: the test is void"


LENGTHS = [3, 1, 9, 2, 14, 5, 5, 1, 20, 7, 4, 11]
MANY = [[(7 * row + 3 * at) % VOCAB_SIZE for at in range(n)] for row, n in enumerate(LENGTHS)]
PENALISED = GeneratePlan(
    temperature=1.0,
    top_p=0.9,
    max_tokens=11,
    min_tokens=2,
    repetition_penalty=1.2,
    no_repeat_ngram=3,
    frequency_penalty=0.1,
)


@pytest.mark.parametrize("batch_rows", [1, 2, 5, 40])
@pytest.mark.parametrize("chunk_tokens", [1, 4, 512])
def test_a_refilled_batch_writes_what_its_prompts_write_alone(model, batch_rows, chunk_tokens):
    stop_ids = frozenset({3, 9, 17, 21, 30})
    settings = GenerationSettings(batch_rows, chunk_tokens)

    together = written(model, iter(MANY), PENALISED, stop_ids=stop_ids, settings=settings)

    alone = [
        written(model, [Request(row, prompt)], PENALISED, stop_ids=stop_ids)
        for row, prompt in enumerate(MANY)
    ]
    assert together == ([rows[0] for rows, _ in alone], [reasons[0] for _, reasons in alone])
    assert len({len(row) for row in together[0]}) > 3, "all rows ended together: the test is void"


@pytest.mark.parametrize("batch_rows", [1, 3, 4, 16])
def test_samples_of_a_prompt_are_those_it_has_alone(model, batch_rows):
    plan = PENALISED.model_copy(update={"num_samples": 5})

    together, reasons = written(
        model, MANY[:4], plan, settings=GenerationSettings(batch_rows=batch_rows)
    )

    alone = {}
    for row, prompt in enumerate(MANY[:4]):
        alone |= written(model, [Request(row, prompt)], plan)[0]
    assert together == alone
    assert len({tuple(tokens) for tokens in together.values()}) > 15, "the samples are alike"
    first, _ = written(model, MANY[:4], PENALISED)
    assert [together[row, 0] for row in range(4)] == first
    assert set(reasons.values()) == {"length"}


def test_a_prompt_is_read_once_for_all_its_samples(model, monkeypatch):
    counts = []
    read = generation.read_prompts

    def counting(model, prompts, *arguments):
        counts.append(len(prompts))
        return read(model, prompts, *arguments)

    monkeypatch.setattr(generation, "read_prompts", counting)
    plan = PENALISED.model_copy(update={"num_samples": 5})

    written(model, MANY[:2], plan, settings=GenerationSettings(batch_rows=3))

    assert counts == [1, 1]


def test_prompts_are_taken_as_there_is_room(model):
    taken = []

    def prompts():
        for row, prompt in enumerate(MANY):
            taken.append(row)
            yield prompt

    steps = iter(
        Generation(model, prompts(), greedy(3), seed=0, settings=GenerationSettings(batch_rows=2))
    )
    first = next(steps)

    assert (first.request in (0, 1), taken) == (True, [0, 1])
    assert len([first, *steps]) == 3 * len(MANY)
    assert len(taken) == len(MANY)


def test_an_end_comes_no_sooner_than_asked_for(model):
    stop_ids = frozenset(range(0, VOCAB_SIZE, 2))
    early, _ = written(model, MANY, GeneratePlan(max_tokens=9), stop_ids=stop_ids)
    late, _ = written(model, MANY, GeneratePlan(max_tokens=9, min_tokens=4), stop_ids=stop_ids)

    assert min(len(row) for row in early) == 1
    assert all(token not in stop_ids for row in late for token in row[:4])
    assert min(len(row) for row, prompt in zip(late, MANY, strict=True) if len(prompt) < 15) >= 5


def test_time_ends_a_text_counted_from_its_own_beginning(model, monkeypatch):
    clock = iter(range(1000))
    monkeypatch.setattr(generation.time, "monotonic", lambda: float(next(clock)))
    plan = GeneratePlan(temperature=0.0, max_tokens=10, time_limit_seconds=6.0)

    rows, reasons = written(model, MANY[:3], plan, settings=GenerationSettings(batch_rows=1))

    # The clock moves on by one at each beginning and at each token.
    assert reasons == ["time"] * 3
    assert len({len(row) for row in rows}) == 1
    assert 1 < len(rows[0]) < 10


def test_log_probabilities_are_the_models(model):
    settings = GenerationSettings(with_logprobs=True)
    plan = GeneratePlan(temperature=0.5, max_tokens=4, repetition_penalty=3.0)

    chosen = list(Generation(model, [[5, 6, 7]], plan, seed=1, settings=settings))

    ids = [5, 6, 7, *(step.token_id for step in chosen)]
    with torch.no_grad():
        expected = model(torch.tensor([ids]))[0].log_softmax(-1)
    for at, step in enumerate(chosen):
        assert step.logprob == pytest.approx(expected[2 + at, step.token_id].item(), abs=1e-5)


def test_the_cache_grows_with_the_text_not_ahead_of_it(monkeypatch):
    shape = SHAPE.model_copy(update={"context_tokens": 4000})
    model = Transformer(Architecture.from_shape(shape, VOCAB_SIZE))
    initialise(model, 0)
    made = Generation(model.eval(), [[1, 2]], greedy(3999), seed=0)
    slots = set()
    for count, _ in enumerate(made):
        slots.add(made._cache.num_slots)
        if count == 150:
            break

    assert max(slots) < 400
    assert len(slots) <= 4


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
        counts[chosen.request] += 1
        if chosen.request == 1 and counts[1] == 2:
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
        list(Generation(model, [[1], [1] * 25], greedy(1), seed=0))
    with pytest.raises(ValueError, match="prompt 6 has no tokens"):
        list(Generation(model, [Request(5, [])], greedy(1), seed=0))
    with pytest.raises(UsageError, match="logit_bias: no token 40; the vocabulary has 40"):
        Generation(model, [[1]], GeneratePlan(logit_bias={40: 1.0}), seed=0)


def test_damaged_weights_are_told():
    broken = Transformer(Architecture.from_shape(SHAPE, VOCAB_SIZE))
    initialise(broken, 0)
    with torch.no_grad():
        broken.final_norm.gain[0] = math.nan

    with pytest.raises(NumericsError, match="logits are not finite"):
        list(Generation(broken, [[1]], greedy(1), seed=0))
