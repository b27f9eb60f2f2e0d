"""transformers as the oracle of decoding: its logits processors and its beam search.

All tests of this room that import transformers are here, since importing it takes seconds.
"""

import pytest
import torch
import transformers
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

from llmctl.core.decoding.beam_search import beam_search
from llmctl.core.decoding.generation import Request
from llmctl.core.decoding.history import History
from llmctl.core.decoding.penalties import Penalties
from llmctl.core.decoding.samplers import filter_logits
from llmctl.core.language_model.language_model import load_transformer
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


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """The same made model, ours and theirs; its logits have a spread."""
    config = transformers.Qwen3Config(
        vocab_size=30,
        hidden_size=24,
        intermediate_size=40,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=64,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)  # of the weights that transformers draws
        theirs = transformers.Qwen3ForCausalLM(config).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.25)
    directory = tmp_path_factory.mktemp("model")
    theirs.save_pretrained(directory)
    return load_transformer(directory).eval(), theirs


def its_beams(model, prompt, stop_ids, **settings):
    config = transformers.GenerationConfig(
        do_sample=False,
        max_new_tokens=12,
        eos_token_id=sorted(stop_ids) or None,
        pad_token_id=0,
        return_dict_in_generate=True,
        output_scores=True,
        **settings,
    )
    model.generation_config = config
    ids = torch.tensor([prompt])
    made = model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=config)
    texts = []
    for row in made.sequences[:, len(prompt) :].tolist():
        ends = [at for at, token_id in enumerate(row) if token_id in stop_ids]
        texts.append(tuple(row[: ends[0] + 1] if ends else row))
    return texts, made.sequences_scores.tolist()


@pytest.mark.parametrize("length_penalty", [0.0, 0.5, 1.0, 2.0, -1.0])
@pytest.mark.parametrize("early_stopping", [False, True, "never"])
@pytest.mark.parametrize("stop_ids", [(), (3,), (3, 7, 11, 12, 20, 25)], ids=len)
def test_beams_are_its_beams(models, length_penalty, early_stopping, stop_ids):
    ours, theirs = models
    lengths = set()
    for prompt in ([5, 6, 7], [1], [9, 8, 7, 6, 5, 4, 2]):
        texts, scores = its_beams(
            theirs,
            prompt,
            stop_ids,
            num_beams=4,
            num_return_sequences=3,
            length_penalty=length_penalty,
            early_stopping=early_stopping,
        )
        plan = GeneratePlan(
            num_beams=4,
            num_samples=3,
            max_tokens=12,
            length_penalty=length_penalty,
            early_stopping=early_stopping,
        )
        beams = beam_search(ours, Request(0, prompt), plan, stop_ids=frozenset(stop_ids))

        assert [beam.token_ids for beam in beams] == texts
        assert [beam.score for beam in beams] == pytest.approx(scores, abs=1e-4)
        lengths |= {len(text) for text in texts}
    if len(stop_ids) == 6 and length_penalty <= 1:
        assert min(lengths) < 12, "no text ended early: the test is void"


@pytest.mark.parametrize("length_penalty", [0.5, 1.0, 1.5, 3.0])
@pytest.mark.parametrize("early_stopping", [False, "never"])
@pytest.mark.parametrize("bias", [1.5, 3.0])
def test_beams_go_on_beside_many_likely_ends(models, length_penalty, early_stopping, bias):
    ours, theirs = models
    stop_ids = (3, 7, 11, 12, 20, 25)
    for prompt in ([5, 6, 7], [1], [9, 8, 7, 6, 5, 4, 2]):
        texts, scores = its_beams(
            theirs,
            prompt,
            stop_ids,
            num_beams=3,
            num_return_sequences=3,
            length_penalty=length_penalty,
            early_stopping=early_stopping,
            sequence_bias=[[[token], bias] for token in stop_ids],
        )
        plan = GeneratePlan(
            num_beams=3,
            num_samples=3,
            max_tokens=12,
            length_penalty=length_penalty,
            early_stopping=early_stopping,
            logit_bias=dict.fromkeys(stop_ids, bias),
        )
        beams = beam_search(ours, Request(0, prompt), plan, stop_ids=frozenset(stop_ids))

        assert [beam.token_ids for beam in beams] == texts
        assert [beam.score for beam in beams] == pytest.approx(scores, abs=1e-4)


def test_penalised_beams_are_its_beams(models):
    ours, theirs = models
    prompt = [5, 6, 7, 5, 6]
    texts, scores = its_beams(
        theirs,
        prompt,
        STOP,
        num_beams=3,
        num_return_sequences=3,
        repetition_penalty=1.5,
        no_repeat_ngram_size=2,
        min_new_tokens=5,
        sequence_bias=[[[token], bias] for token, bias in BIAS.items()],
    )
    plan = GeneratePlan(
        num_beams=3,
        num_samples=3,
        max_tokens=12,
        repetition_penalty=1.5,
        no_repeat_ngram=2,
        min_tokens=5,
        logit_bias=BIAS,
    )

    beams = beam_search(ours, Request(0, prompt), plan, stop_ids=STOP)

    assert [beam.token_ids for beam in beams] == texts
    assert [beam.score for beam in beams] == pytest.approx(scores, abs=1e-4)
