"""transformers as the oracle of decoding: its logits processors and its beam search.

All tests of this room that import transformers are here, since importing it takes seconds.
"""

import pytest
import torch
from transformers.generation.logits_process import (
    MinNewTokensLengthLogitsProcessor,
    MinPLogitsWarper,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    SequenceBiasLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)

from llmctl.core.decoding.history import History
from llmctl.core.decoding.penalties import Penalties
from llmctl.core.decoding.samplers import filter_logits
from llmctl.core.recipe import GeneratePlan

ONE_EACH = [{"top_k": 7}, {"top_p": 0.8}, {"min_p": 0.1}, {"typical_p": 0.6}]
ALL = {"top_k": 20, "top_p": 0.7, "min_p": 0.05, "typical_p": 0.8}
WARPERS = {
    "top_k": TopKLogitsWarper,
    "top_p": TopPLogitsWarper,
    "min_p": MinPLogitsWarper,
    "typical_p": TypicalLogitsWarper,
}


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("settings", [*ONE_EACH, ALL], ids=str)
def test_filters_are_its_processors_in_its_order(temperature, settings):
    logits_BV = torch.randn(5, 200, generator=torch.Generator().manual_seed(1)) * 3
    expected = TemperatureLogitsWarper(temperature)(None, logits_BV)
    for name, value in settings.items():
        expected = WARPERS[name](value)(None, expected)

    plan = GeneratePlan(temperature=temperature, **{"top_p": None, **settings})
    filtered = filter_logits(logits_BV, plan)

    assert torch.equal(filtered == -torch.inf, expected == -torch.inf)
    torch.testing.assert_close(filtered.softmax(-1), expected.softmax(-1))


PROMPT = 6
STOP = frozenset({3, 11})
BIAS = {2: 1.5, 17: -4.0}
PROCESSORS = {
    "repetition_penalty": (1.7, RepetitionPenaltyLogitsProcessor(1.7)),
    "no_repeat_ngram": (2, NoRepeatNGramLogitsProcessor(2)),
    "logit_bias": (
        BIAS,
        SequenceBiasLogitsProcessor([[[token], bias] for token, bias in BIAS.items()]),
    ),
    "min_tokens": (40, MinNewTokensLengthLogitsProcessor(PROMPT, 40, list(STOP))),
}


@pytest.mark.parametrize(
    "names",
    [
        *([name] for name in PROCESSORS),
        ["logit_bias", "repetition_penalty", "no_repeat_ngram", "min_tokens"],
    ],
    ids=lambda names: "+".join(names),
)
def test_penalties_are_its_processors_in_its_order(names):
    generator = torch.Generator().manual_seed(2)
    logits_BV = torch.randn(4, 20, generator=generator) * 3
    ids_BT = torch.randint(20, (4, 30), generator=generator)
    expected = logits_BV
    for name in names:
        expected = PROCESSORS[name][1](ids_BT, expected)

    plan = GeneratePlan(**{name: PROCESSORS[name][0] for name in names})
    histories = [History(row[:PROMPT], plan.no_repeat_ngram) for row in ids_BT.tolist()]
    for history, row in zip(histories, ids_BT.tolist(), strict=True):
        for token_id in row[PROMPT:]:
            history.append(token_id)
    found = Penalties(plan, STOP, 20).apply(logits_BV, histories)

    assert not torch.equal(expected, logits_BV), "nothing was penalised: the test is void"
    assert torch.equal(found, expected)
