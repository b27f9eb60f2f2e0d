"""The penalties by hand, each alone; then their order, and what is refused."""

import math

import pytest
import torch

from llmctl.core.decoding.history import History
from llmctl.core.decoding.penalties import Penalties
from llmctl.core.errors import UsageError
from llmctl.core.recipe import GeneratePlan

LOGITS = [2.0, -2.0, 1.0, 0.5, -1.0]
STOP = frozenset({4})


def history_of(prompt, written, ngram=None):
    history = History(prompt, ngram)
    for token_id in written:
        history.append(token_id)
    return history


def changed(prompt, written, **settings):
    plan = GeneratePlan(**settings)
    history = history_of(prompt, written, plan.no_repeat_ngram)
    return Penalties(plan, STOP, 5).apply(torch.tensor([LOGITS]), [history])[0].tolist()


def test_nothing_asked_for_nothing_done():
    logits_BV = torch.tensor([LOGITS])

    assert Penalties(GeneratePlan(), STOP, 5).apply(logits_BV, [history_of([0], [1])]) is logits_BV


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        # 0 and 1 are in the prompt; 1 was written twice, 2 once.
        pytest.param(
            {"repetition_penalty": 2.0}, [1, -4, 0.5, 0.5, -1], id="repetition: once, prompt too"
        ),
        pytest.param({"presence_penalty": 0.5}, [2, -2.5, 0.5, 0.5, -1], id="presence: text only"),
        pytest.param({"frequency_penalty": 0.5}, [2, -3, 0.5, 0.5, -1], id="frequency: text only"),
        pytest.param({"presence_penalty": -1.0}, [2, -1, 2, 0.5, -1], id="a negative one rewards"),
        pytest.param({"logit_bias": {0: -3, 4: 1.5}}, [-1, -2, 1, 0.5, 0.5], id="bias"),
        pytest.param({"min_tokens": 4}, [2, -2, 1, 0.5, -math.inf], id="too early to end"),
        pytest.param({"min_tokens": 3}, LOGITS, id="may end"),
        pytest.param(
            {"logit_bias": {0: -3}, "repetition_penalty": 2.0, "frequency_penalty": 1.0},
            [-2, -6, -0.5, 0.5, -1],
            id="bias, then repetition, then frequency",
        ),
    ],
)
def test_matches_hand_worked_value(settings, expected):
    assert changed([0, 1, 0], [1, 2, 1], **settings) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("ngram", "prompt", "written", "forbidden"),
    [
        pytest.param(2, [1, 2, 3], [1], [2], id="a run of the prompt"),
        pytest.param(2, [], [1, 2, 1, 3, 1], [2, 3], id="two runs of the text"),
        pytest.param(3, [1, 2, 3], [1], [], id="only one token of the run yet"),
        pytest.param(3, [1, 2, 3], [1, 2], [3], id="two tokens of the run"),
        pytest.param(1, [0, 1], [3], [0, 1, 3], id="no token twice"),
        pytest.param(2, [1], [], [], id="too short for any"),
        pytest.param(2, [3, 3], [], [3], id="overlapping itself"),
    ],
)
def test_no_run_is_written_again(ngram, prompt, written, forbidden):
    found = changed(prompt, written, no_repeat_ngram=ngram)

    assert [token for token, logit in enumerate(found) if logit == -math.inf] == forbidden


def test_rows_have_histories_of_their_own():
    penalties = Penalties(GeneratePlan(presence_penalty=1.0), STOP, 5)
    histories = [history_of([3], [0]), history_of([3], [])]

    found = penalties.apply(torch.tensor([LOGITS, LOGITS]), histories)

    assert found.tolist() == [[1.0, *LOGITS[1:]], LOGITS]


def test_the_logits_given_are_left_alone():
    logits_BV = torch.tensor([LOGITS], dtype=torch.bfloat16)

    found = Penalties(GeneratePlan(logit_bias={0: 1.0}), STOP, 5).apply(logits_BV, [History([1])])

    assert logits_BV[0].tolist() == LOGITS
    assert found.dtype == torch.float32


def test_a_history_grows_and_branches():
    history = history_of(list(range(5)) * 20, [1, 2] * 50, ngram=2)

    branch = history.extended(4)

    assert (history.num_prompt, history.num_written, branch.num_written) == (100, 100, 101)
    assert history.written == [1, 2] * 50
    assert branch.written == [1, 2] * 50 + [4]
    assert (history.counts, branch.counts) == ({1: 50, 2: 50}, {1: 50, 2: 50, 4: 1})
    assert (history.followers, branch.followers) == ({1, 3}, {0, 1})


def test_refuses_what_cannot_be():
    with pytest.raises(UsageError, match="logit_bias: no token 5; the vocabulary has 5"):
        Penalties(GeneratePlan(logit_bias={4: 1.0, 5: 1.0}), STOP, 5)
    with pytest.raises(UsageError, match="every token of the vocabulary is forbidden here"):
        changed([0, 1, 2], [3, 4], no_repeat_ngram=1)
