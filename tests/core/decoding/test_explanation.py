"""Explanations by hand: which step left which token out."""

import pytest
import torch

from llmctl.core.decoding.explanation import Candidate, explain
from llmctl.core.decoding.history import History
from llmctl.core.recipe import GeneratePlan

LOGITS_V = torch.tensor([0.4, 0.3, 0.15, 0.1, 0.05]).log()


def explained(history=None, **settings):
    plan = GeneratePlan(**{"temperature": 1.0, "top_p": None, **settings})
    found = explain(
        LOGITS_V, plan, history or History([4], plan.no_repeat_ngram), stop_ids=frozenset({0})
    )
    return {candidate.token_id: candidate for candidate in found}, [c.token_id for c in found]


def test_each_step_tells_what_it_left_out():
    history = History([4, 1, 4], 2)

    found, order = explained(
        history, min_tokens=1, no_repeat_ngram=2, top_k=2, top_p=0.5, logit_bias={2: 0.0}
    )

    cuts = {token_id: candidate.cut_by for token_id, candidate in found.items()}
    assert cuts == {0: "min_tokens", 1: "no_repeat_ngram", 2: None, 3: "top_p", 4: "top_k"}
    assert order == [2, 0, 1, 3, 4]
    assert found[2].before == pytest.approx(0.15)
    assert (found[2].after, found[0].after) == (1.0, 0.0)


def test_nothing_is_left_out():
    found, _ = explained()

    assert all(c.cut_by is None and c.after == pytest.approx(c.before) for c in found.values())


def test_temperature_zero_leaves_the_likeliest():
    found, order = explained(temperature=0.0, repetition_penalty=1.5)

    assert order[0] == 0
    assert found[1].cut_by == "temperature"


def test_a_raised_token_is_among_the_first():
    plan = GeneratePlan(temperature=1.0, top_p=None, logit_bias={4: 50.0})

    found = explain(LOGITS_V, plan, History([0]), num_tokens=2)

    assert found[0] == Candidate(4, pytest.approx(0.05), pytest.approx(1.0), None)
    assert found[1].token_id == 0
    assert torch.equal(LOGITS_V, torch.tensor([0.4, 0.3, 0.15, 0.1, 0.05]).log())
