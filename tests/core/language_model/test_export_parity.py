"""What `llmctl export` writes, loaded by transformers: logits, types, tokens, chats.

Tests of this subject that import transformers are here, since importing it takes seconds.
"""

import json
import os
import shutil

import pytest
import torch
from core.language_model.family_cases import CASES
from core.language_model.made_models import make
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from llmctl.core import manifest
from llmctl.core.language_model.language_model import (
    LanguageModel,
    load_transformer,
    open_model_files,
    write_language_model,
)
from llmctl.core.progress import Progress
from llmctl.core.standalone import export_model

TOLERANCE = 1e-4
MAIN_CASES = [case_id for case_id, case in CASES.items() if case.is_main]
CHANGED_CASES = [
    case_id
    for case_id, case in CASES.items()
    if case.old
    or case_id
    in (
        "gemma2-untied",
        "gemma3-bare",
        "gpt2-bare",
        "llama-dynamic",
        "llama-linear",
        "llama-llama3",
        "llama-yarn-whole",
        "phi3-longrope-factor",
        "phi3-partial",
        "smollm3-bare",
    )
]
TEXTS = ["The world is 世界。", "  Naïve café —\n你好 🌍", "<|endoftext|>a"]
TEMPLATE = (
    "{% for message in messages %}[{{ message.role }}]{{ message.content }}{{ eos_token }}"
    "{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
)


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    """Many artifacts are made here: spare the disk, and asking for versions."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)
    monkeypatch.setattr(manifest, "versions", dict)


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def tokens():
    return torch.randint(1, 300, (2, 40), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def made(tmp_path, tokenizer_path):
    """(case) → its directory and transformers' model."""

    def made(case_id):
        directory = tmp_path / case_id
        directory.mkdir()
        return directory, make(case_id, directory, tokenizer_path)

    return made


def export(source, *, dtype=None, max_shard_size="5GB"):
    out = source.with_name("out")
    return export_model(
        source,
        out,
        dtype=dtype,
        max_shard_size=max_shard_size,
        wait_seconds=0,
        progress=Progress(),
    ).path


def oracle(directory, **settings):
    return AutoModelForCausalLM.from_pretrained(
        directory, attn_implementation="eager", experts_implementation="eager", **settings
    ).eval()


def largest_difference(logits, expected):
    assert logits.shape == expected.shape
    return (logits - expected).abs().max().item()


def read_json(path):
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("case_id", MAIN_CASES + CHANGED_CASES)
def test_transformers_loads_it_with_the_same_logits(case_id, made, tokens):
    source, theirs = made(case_id)
    expected = theirs(tokens).logits

    out = export(source, max_shard_size="50KB")
    exported = oracle(out)

    assert expected.std() > 0.5, "logits without a spread prove nothing"
    assert type(exported) is type(theirs)
    assert largest_difference(exported(tokens).logits, expected) < TOLERANCE
    assert load_transformer(out).architecture == load_transformer(source).architecture
    assert len(list(out.glob("model-*-of-*.safetensors"))) > 1


@pytest.mark.parametrize("case_id", MAIN_CASES)
def test_in_bfloat16_it_is_the_same_as_casting(case_id, made):
    source, theirs = made(case_id)

    exported = oracle(export(source, dtype="bfloat16"))

    assert exported.dtype == torch.bfloat16
    expected = theirs.bfloat16().state_dict()
    found = exported.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("case_id", [case_id for case_id in CHANGED_CASES if "gpt2" not in case_id])
def test_old_and_new_spellings_say_the_same(case_id, made):
    source, _ = made(case_id)
    out = export(source)
    config = read_json(out / "config.json")
    files = open_model_files(out)

    for dropped in (("rope_parameters",), ("rope_scaling", "rope_theta", "rope_local_base_freq")):
        rest = {name: value for name, value in config.items() if name not in dropped}
        assert files.family.read(rest) == files.architecture, dropped


def test_readers_of_gpt2_find_its_context(made):
    config = read_json(export(made("gpt2")[0]) / "config.json")

    assert config["n_ctx"] == config["n_positions"] == 128


@pytest.mark.parametrize("case_id", ["qwen3-moe", "qwen3-moe-old"])
def test_readers_of_experts_find_how_many_there_are(case_id, made):
    config = read_json(export(made(case_id)[0]) / "config.json")

    assert config["num_experts"] == config["num_local_experts"] == 6


def test_the_pair_of_tokenizer_files_gives_the_same_tokens(made, tokenizer_path):
    source, _ = made("gpt2")
    model = read_json(tokenizer_path)["model"]
    (source / "tokenizer.json").unlink()
    (source / "vocab.json").write_text(json.dumps(model["vocab"]), encoding="utf-8")
    merges = "\n".join(map(" ".join, model["merges"]))
    (source / "merges.txt").write_text(f"#version: 0.2\n{merges}\n", encoding="utf-8")
    ours = LanguageModel.load(source, device="cpu").tokenizer

    theirs = AutoTokenizer.from_pretrained(export(source))

    for text in TEXTS:
        assert theirs(text)["input_ids"] == ours.encode_prompt(text)
    assert theirs(TEXTS[2])["input_ids"][0] == 0
    assert (theirs.bos_token, theirs.eos_token) == ("<|endoftext|>", "<|endoftext|>")
    assert theirs.decode(theirs("a .  b n't")["input_ids"]) == "a .  b n't"


@pytest.mark.parametrize("case_id", MAIN_CASES)
def test_its_tokenizer_is_the_one_that_llmctl_reads(case_id, made):
    source, _ = made(case_id)
    ours = LanguageModel.load(source, device="cpu").tokenizer

    theirs = AutoTokenizer.from_pretrained(export(source))

    for text in TEXTS:
        assert theirs(text)["input_ids"] == ours.encode_prompt(text)
    assert theirs.model_max_length == load_transformer(source).context_tokens
    assert theirs.eos_token == "<|endoftext|>"


@pytest.mark.parametrize("kept", ["chat_template.jinja", "tokenizer_config.json"])
def test_old_and_new_readers_find_the_chat_template(kept, made):
    source, _ = made("qwen3")
    (source / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    out = export(source)
    if kept == "tokenizer_config.json":
        (out / "chat_template.jinja").unlink()

    written = AutoTokenizer.from_pretrained(out).apply_chat_template(
        [{"role": "user", "content": "世界?"}], tokenize=False, add_generation_prompt=True
    )

    assert written == "[user]世界?<|endoftext|>[assistant]"


def test_a_model_of_llmctl_is_loaded_as_it_is(make_model, tokenizer_path, tmp_path):
    source = tmp_path / "run"
    source.mkdir()
    ours = make_model()
    write_language_model(source, ours, tokenizer_path, "# A card\n")
    out = export(source)
    shutil.rmtree(source)
    tokens = torch.arange(40)[None]

    theirs = oracle(out)

    assert largest_difference(ours(tokens), theirs(tokens).logits) < TOLERANCE
    assert theirs.generation_config.eos_token_id == 0
    assert AutoConfig.from_pretrained(out).max_position_embeddings == 48
