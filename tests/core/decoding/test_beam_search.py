"""Beam search by hand, on a chain of a few tokens; its limits and what is refused.

transformers is its oracle in test_transformers_decoding.py.
"""

import math

import pytest
import torch

from llmctl.core.decoding import beam_search as module
from llmctl.core.decoding.beam_search import beam_search
from llmctl.core.decoding.generation import Request
from llmctl.core.errors import DataError, NumericsError, UsageError
from llmctl.core.model.architecture import Architecture
from llmctl.core.model.cache import KeyValueCache
from llmctl.core.recipe import GeneratePlan, ModelShape, generation_plan

END = 0
NEXT = torch.tensor(
    [
        [0.25, 0.25, 0.25, 0.25],
        [1e-9, 1e-9, 0.6, 0.4],
        [0.4, 0.35, 0.25, 1e-9],
        [0.9, 0.1, 1e-9, 1e-9],
    ]
)


class Chain:
    """A model whose next token depends on the last one alone."""

    vocab_size = 4
    context_tokens = 8
    output_weight = torch.zeros(1)

    def __init__(self, table=NEXT):
        self.table = table
        self.rows_read = []

    def new_cache(self, batch_size, num_slots):
        shape = ModelShape(num_layers=1, num_heads=1, num_key_value_heads=1, head_width=2)
        return KeyValueCache(Architecture.from_shape(shape, 4), batch_size, num_slots)

    def regimes(self, num_tokens):
        return ()

    def hidden(self, tokens_BT, cache, lengths=None):
        self.rows_read.append(tuple(tokens_BT.shape))
        cache.extend(*tokens_BT.shape)
        return torch.nn.functional.one_hot(tokens_BT, 4).float()

    def logits(self, states):
        return (states @ self.table).log()

    def __call__(self, tokens_BT, cache):
        return self.logits(self.hidden(tokens_BT, cache))


def beams(model=None, prompt=(3, 1), **settings):
    plan = GeneratePlan(**{"max_tokens": 2, "num_beams": 2, "num_samples": 2, **settings})
    return beam_search(model or Chain(), Request(0, list(prompt)), plan, stop_ids=frozenset({END}))


def test_finds_what_is_likelier_in_the_end():
    # Greedy would write 2 (0.6) and end with 0.6 * 0.4; over 3 it is 0.4 * 0.9.
    found = beams()

    assert [beam.token_ids for beam in found] == [(3, END), (2, END)]
    assert [beam.score for beam in found] == pytest.approx(
        [math.log(0.36) / 2, math.log(0.24) / 2], abs=1e-5
    )
    assert found[0].logprobs == pytest.approx((math.log(0.4), math.log(0.9)), abs=1e-5)
    assert [beam.finish_reason for beam in found] == ["stop", "stop"]


def test_the_length_penalty_is_the_power_of_the_length():
    scores = {power: beams(length_penalty=power)[0].score for power in (0.0, 1.0, 2.0)}

    assert scores == pytest.approx({p: math.log(0.36) / 2**p for p in scores}, abs=1e-5)


def test_a_penalty_counts_in_the_score_and_not_in_the_log_probabilities():
    found = beams(logit_bias={3: -1.0}, length_penalty=0.0)

    assert [beam.token_ids for beam in found] == [(2, END), (2, 1)]
    assert found[0].score == pytest.approx(math.log(0.24), abs=1e-5)
    assert found[1].finish_reason == "length"
    raised = beams(logit_bias={3: 1.0}, length_penalty=0.0)[0]
    assert raised.score == pytest.approx(math.log(0.36) + 1, abs=1e-5)
    assert raised.logprobs[0] == pytest.approx(math.log(0.4), abs=1e-5)


def test_the_prompt_is_read_once():
    model = Chain()

    beams(model, num_samples=1)

    assert model.rows_read == [(1, 2), (2, 1)]


def test_ends_where_the_context_is_full():
    found = beams(prompt=[1] * 7, max_tokens=50, min_tokens=50)

    assert {len(beam.token_ids) for beam in found} == {2}
    assert {beam.finish_reason for beam in found} == {"length"}


def test_time_ends_all(monkeypatch):
    clock = iter([0.0, 1.0, 2.0, 3.0, 4.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))

    found = beams(max_tokens=7, min_tokens=7, time_limit_seconds=3.0)

    assert {(len(beam.token_ids), beam.finish_reason) for beam in found} == {(3, "time")}


def test_refusals():
    with pytest.raises(DataError, match="prompt 1 has 9 tokens and the model's context holds 8"):
        beams(prompt=[1] * 9)
    with pytest.raises(ValueError, match="prompt 1 has no tokens"):
        beams(prompt=[])
    with pytest.raises(NumericsError, match="logits are not finite"):
        beams(Chain(NEXT * math.nan))
    with pytest.raises(UsageError, match="logit_bias: no token 4; the vocabulary has 4"):
        beams(logit_bias={4: 1.0})
    with pytest.raises(UsageError, match="every token of the vocabulary is forbidden here"):
        beams(prompt=[0, 1, 2, 3], no_repeat_ngram=1)
    with pytest.raises(UsageError, match=r"num_beams: .*must be at least num_samples, which is 3"):
        generation_plan(num_beams=2, num_samples=3)
