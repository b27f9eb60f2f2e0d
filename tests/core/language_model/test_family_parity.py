"""Every public family against transformers: logits, states, caches and continuations.

Tests of this subject that import transformers are here, since importing it takes seconds.
"""

import functools

import pytest
import torch
from core.language_model.family_cases import CASES, ORIGINAL_CONTEXT
from core.language_model.family_mutants import MUTANTS, write_mutant
from core.language_model.made_models import make
from transformers import GenerationConfig

from llmctl.core.decoding.generation import Generation
from llmctl.core.language_model.language_model import load_transformer
from llmctl.core.recipe import GeneratePlan

TOLERANCE = 1e-4
CHUNKS = [1, 7, 12, 1, 19]  # beyond windows, from their inside and from their edge
STEADY_CASES = [case_id for case_id, case in CASES.items() if not case.length_matters]
GREEDY_CASES = [
    pytest.param(case_id, marks=() if CASES[case_id].is_main else pytest.mark.slow)
    for case_id in STEADY_CASES
]


@pytest.fixture(scope="module")
def tokens():
    return torch.randint(1, 300, (3, 40), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def made(tmp_path_factory, tokenizer_path):
    """(case) → its directory and transformers' model, made once."""

    @functools.cache
    def made(case_id):
        directory = tmp_path_factory.mktemp(case_id)
        return directory, make(case_id, directory, tokenizer_path)

    return made


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


def largest_difference(ours, theirs):
    assert ours.shape == theirs.shape
    return (ours - theirs).abs().max().item()


def read(model, tokens, sizes):
    """Return the logits of a text that is read in chunks through a cache."""
    cache = model.new_cache(len(tokens), tokens.shape[1])
    return torch.cat([model(chunk, cache) for chunk in tokens.split(sizes, dim=1)], dim=1)


def pad_left(rows, padding=0):
    """Return the rows as transformers wants a ragged batch: tokens, mask, positions."""
    longest = max(map(len, rows))
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
    tokens = torch.tensor([[padding] * (longest - len(row)) + list(row) for row in rows])
    return tokens, mask, (mask.cumsum(1) - 1).clamp(min=0)


@pytest.mark.parametrize("case_id", CASES)
def test_logits_agree(case_id, made, tokens):
    directory, theirs = made(case_id)
    expected = theirs(tokens).logits

    logits = load_transformer(directory)(tokens)

    assert expected.std() > 0.5, "logits without a spread prove nothing"
    assert largest_difference(logits, expected) < TOLERANCE


@pytest.mark.parametrize("case_id", CASES)
def test_states_and_attention_weights_agree(case_id, made, tokens):
    directory, theirs = made(case_id)
    expected = theirs(tokens, output_hidden_states=True, output_attentions=True)

    trace = load_transformer(directory).trace(tokens)

    assert len(trace.states) == len(expected.hidden_states)
    assert len(trace.attentions) == len(expected.attentions)
    for ours, state in zip(trace.states, expected.hidden_states, strict=True):
        assert largest_difference(ours, state) < TOLERANCE
    for ours, weights in zip(trace.attentions, expected.attentions, strict=True):
        assert largest_difference(ours, weights) < TOLERANCE


@pytest.mark.parametrize("case_id", STEADY_CASES)
def test_a_ragged_batch_agrees(case_id, made, tokens):
    directory, theirs = made(case_id)
    ours = load_transformer(directory)
    lengths, num_last = [40, 23, 9], 8
    rows = [row[:length] for row, length in zip(tokens.tolist(), lengths, strict=True)]
    padded, mask, positions = pad_left(rows)
    expected = theirs(padded, attention_mask=mask, position_ids=positions).logits

    cache = ours.new_cache(3, 40)
    starts = [length - num_last for length in lengths]
    before = ours(tokens[:, : max(starts)], cache)
    cache.truncate(starts)
    last = ours(torch.tensor([row[-num_last:] for row in rows]), cache)

    for row, (length, start) in enumerate(zip(lengths, starts, strict=True)):
        logits = torch.cat([before[row, :start], last[row]])
        assert largest_difference(logits, expected[row, -length:]) < TOLERANCE


@pytest.mark.parametrize("case_id", STEADY_CASES)
def test_in_chunks_it_is_the_same(case_id, made, tokens):
    ours = load_transformer(made(case_id)[0])

    assert largest_difference(read(ours, tokens, CHUNKS), ours(tokens)) < TOLERANCE


@pytest.mark.parametrize("case_id", CASES)
def test_alone_it_is_the_same(case_id, made, tokens):
    ours = load_transformer(made(case_id)[0])

    alone = torch.cat([ours(row[None]) for row in tokens])

    assert largest_difference(alone, ours(tokens)) < TOLERANCE


@pytest.mark.parametrize(
    "length", [ORIGINAL_CONTEXT - 4, ORIGINAL_CONTEXT, ORIGINAL_CONTEXT + 1, 60]
)
@pytest.mark.parametrize("case_id", [case_id for case_id in CASES if CASES[case_id].length_matters])
def test_logits_agree_on_both_sides_of_the_original_context(case_id, length, made):
    directory, theirs = made(case_id)
    tokens = torch.randint(1, 300, (2, length), generator=torch.Generator().manual_seed(1))
    theirs(tokens[:, :2])  # it keeps the frequencies of the longest text since a short one
    expected = theirs(tokens).logits

    assert largest_difference(load_transformer(directory)(tokens), expected) < TOLERANCE


def continuations(ours, theirs, prompts, num_tokens):
    """Return what each writes after the prompts, with the highest logit at each step."""
    padded, mask, _ = pad_left(prompts)
    theirs.generation_config.eos_token_id = None  # all tokens, whatever they are
    greedy = GenerationConfig(do_sample=False, max_new_tokens=num_tokens, pad_token_id=0)
    expected = theirs.generate(padded, attention_mask=mask, generation_config=greedy)
    written = [[] for _ in prompts]
    plan = GeneratePlan(temperature=0.0, max_tokens=num_tokens)
    for chosen in Generation(ours, prompts, plan, seed=0):
        written[chosen.request].append(chosen.token_id)
    return written, expected[:, padded.shape[1] :].tolist()


@pytest.mark.parametrize("case_id", GREEDY_CASES)
def test_continuations_agree(case_id, made):
    directory, theirs = made(case_id)
    generator = torch.Generator().manual_seed(2)
    prompts = [
        torch.randint(1, 300, (3 + row % 10,), generator=generator).tolist() for row in range(20)
    ]

    written, expected = continuations(load_transformer(directory), theirs, prompts, 64)

    assert len({token for row in expected for token in row}) > 30, "a loop proves nothing"
    assert written == expected


@pytest.mark.parametrize("case_id", ["phi3-longrope", "phi3-old"])
def test_continuations_agree_beyond_the_original_context(case_id, made):
    directory, theirs = made(case_id)
    generator = torch.Generator().manual_seed(3)
    prompts = [
        torch.randint(1, 300, (ORIGINAL_CONTEXT + 1 + row,), generator=generator).tolist()
        for row in range(5)
    ]

    written, expected = continuations(load_transformer(directory), theirs, prompts, 30)

    assert written == expected


@pytest.mark.parametrize("num_before", [0, 1, 9])
def test_continuations_agree_across_the_original_context(num_before, made):
    directory, theirs = made("phi3-longrope")
    length = ORIGINAL_CONTEXT - num_before
    prompt = torch.randint(1, 300, (length,), generator=torch.Generator().manual_seed(4)).tolist()

    # What was read with the short factors is read again with the long ones.
    written, expected = continuations(load_transformer(directory), theirs, [prompt], 30)

    assert written == expected


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_told_apart(name, made, tokens, tmp_path):
    directory, theirs = made(MUTANTS[name].case_id)
    write_mutant(MUTANTS[name], directory, tmp_path / "mutant")

    logits = load_transformer(tmp_path / "mutant")(tokens)

    assert largest_difference(logits, theirs(tokens).logits) > 10 * TOLERANCE
