"""transformers as the oracle: its Qwen3 and its loaders.

Importing it takes seconds, so few files of tests do.
"""

import json
from dataclasses import replace

import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from llmctl.core.decoding.generation import Generation
from llmctl.core.language_model.language_model import load_transformer, write_language_model
from llmctl.core.model.rotary import Rotary
from llmctl.core.recipe import GeneratePlan

TOLERANCE = 1e-4
SHAPES = [
    pytest.param({}, id="tied, two queries a key"),
    pytest.param({"tie_embeddings": False}, id="untied"),
    pytest.param({"num_key_value_heads": 4, "num_layers": 1}, id="a key for each query"),
    pytest.param({"num_key_value_heads": 1, "head_width": 16, "rotary_base": 1e6}, id="one key"),
    pytest.param({"width": 20, "norm_epsilon": 0.1, "num_layers": 3}, id="odd width"),
]


@pytest.fixture(scope="module")
def tokens():
    return torch.randint(300, (3, 40), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def write(tmp_path, tokenizer_path):
    def write(model):
        write_language_model(tmp_path, model, tokenizer_path, "# A card\n")
        return tmp_path

    return write


def oracle(directory):
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    assert type(model) is transformers.Qwen3ForCausalLM
    return model.eval()


def largest_difference(ours, theirs, tokens):
    with torch.no_grad():
        return (ours(tokens) - theirs(tokens).logits).abs().max().item()


@pytest.mark.parametrize("changes", SHAPES)
def test_logits_and_greedy_continuation_agree(changes, make_model, write, tokens):
    ours = make_model(**changes)
    theirs = oracle(write(ours))

    with torch.no_grad():
        assert ours(tokens).std() > 0.5, "logits without a spread prove nothing"
    assert largest_difference(ours, theirs, tokens) < TOLERANCE

    prompt = tokens[:1, :8]
    theirs.generation_config.eos_token_id = None  # all 30, whatever they are
    greedy = GenerationConfig(do_sample=False, max_new_tokens=30, pad_token_id=0)
    continued = theirs.generate(
        prompt, attention_mask=torch.ones_like(prompt), generation_config=greedy
    )
    plan = GeneratePlan(temperature=0.0, max_tokens=30)
    chosen = [step.token_id for step in Generation(ours, prompt.tolist(), plan, seed=0)]
    assert continued[0, 8:].tolist() == chosen


def drop_query_norm(model):
    for block in model.blocks:
        block.attention.query_norm = torch.nn.Identity()


def drop_key_norm(model):
    for block in model.blocks:
        block.attention.key_norm = torch.nn.Identity()


def ignore_norm_gain(model):
    torch.nn.init.ones_(model.blocks[0].mlp_norm.gain)


def change_theta(model):
    for block in model.blocks:
        block.attention.layer = replace(block.attention.layer, rotary=Rotary(490.0, 8))


def change_epsilon(model):
    model.final_norm.epsilon = 0.01


def untie(model):
    model.output = torch.nn.Linear(model.architecture.width, model.vocab_size, bias=False)


def swap_gate_and_up(model):
    for block in model.blocks:
        gate, up = block.mlp.gate_up.weight.detach().chunk(2)
        swapped = torch.cat((up, gate))
        block.mlp.gate_up.weight.data = swapped


@pytest.mark.parametrize(
    "mutate",
    [
        drop_query_norm,
        drop_key_norm,
        ignore_norm_gain,
        change_theta,
        change_epsilon,
        untie,
        swap_gate_and_up,
    ],
)
def test_a_mutant_is_told_apart(mutate, make_model, write, tokens):
    ours = make_model()
    theirs = oracle(write(ours))
    mutate(ours)

    assert largest_difference(ours, theirs, tokens) > 10 * TOLERANCE


def test_reads_what_transformers_writes(tmp_path, tokens):
    config = transformers.Qwen3Config(
        vocab_size=300,
        hidden_size=24,
        intermediate_size=40,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=64,
        rope_parameters={"rope_type": "default", "rope_theta": 1234.0},
        rms_norm_eps=1e-3,
        tie_word_embeddings=False,
    )
    theirs = transformers.Qwen3ForCausalLM(config).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.25)
    theirs.save_pretrained(tmp_path)

    ours = load_transformer(tmp_path)

    assert ours.architecture.layers[0].rotary.base == 1234.0
    assert ours.context_tokens == 64
    assert largest_difference(ours, theirs, tokens) < TOLERANCE


def test_its_tokenizer_is_ours(language_model, write):
    directory = write(language_model.model)
    tokenizer = AutoTokenizer.from_pretrained(directory)
    text = "The  world is 世界。\nIt's naïve!"

    ids = tokenizer(text)["input_ids"]

    assert ids == language_model.tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert (tokenizer.eos_token, tokenizer.bos_token_id) == ("<|endoftext|>", 0)
    assert tokenizer.model_max_length == 48


def test_older_and_newer_spellings_stand_side_by_side(language_model, write):
    config = json.loads((write(language_model.model) / "config.json").read_text(encoding="utf-8"))

    assert config["dtype"] == config["torch_dtype"] == "float32"
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"] == 500.0
    assert config["head_dim"] == 8
