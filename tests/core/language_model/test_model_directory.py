"""A model directory written and read back, and every way in which one is refused."""

import errno
import json
import os
import pathlib
import stat
from dataclasses import replace

import pytest
import safetensors.torch
import torch

from llmctl.core.errors import DataError, MissingInputError, StorageError
from llmctl.core.language_model.language_model import (
    LanguageModel,
    load_transformer,
    write_language_model,
)
from llmctl.core.model.transformer import Transformer
from llmctl.core.tokens.tokenizer import Tokenizer

LAYER_0 = "model.layers.0.self_attn."


def edit_config(directory, **changes):
    path = directory / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    for name, value in changes.items():
        config[name] = value
        if value is ...:
            del config[name]
    path.write_text(json.dumps(config), encoding="utf-8")


def edit_tensors(directory, edit):
    path = directory / "model.safetensors"
    tensors = safetensors.torch.load_file(path)
    edit(tensors)
    path.unlink()
    safetensors.torch.save_file(tensors, path)


@pytest.mark.parametrize("tie", [True, False])
def test_saved_and_loaded_it_is_the_same(tie, make_model, tokenizer_path, tmp_path):
    model = make_model(tie_embeddings=tie)
    write_language_model(tmp_path, model, tokenizer_path, "# A card\n")

    loaded = LanguageModel.load(tmp_path, device="cpu", dtype="float32")

    assert loaded.model.architecture == model.architecture
    assert loaded.device.type == "cpu"
    tokens_BT = torch.arange(40)[None]
    with torch.no_grad():
        torch.testing.assert_close(loaded.model(tokens_BT), model(tokens_BT))
    assert loaded.tokenizer.encode("世界") == Tokenizer.from_file(tokenizer_path).encode("世界")


def test_loads_in_another_type(model_directory):
    loaded = LanguageModel.load(model_directory, device="cpu", dtype="bfloat16")

    assert {weight.dtype for weight in loaded.model.parameters()} == {torch.bfloat16}
    with torch.no_grad():
        exact = load_transformer(model_directory)(torch.arange(30)[None])
        rounded = loaded.model(torch.arange(30)[None]).float()
    assert torch.nn.functional.cosine_similarity(exact, rounded, dim=-1).min() > 0.99


def test_the_bytes_depend_on_nothing_else(make_model, tokenizer_path, tmp_path):
    for name in ("once", "again"):
        (tmp_path / name).mkdir()
        write_language_model(tmp_path / name, make_model(), tokenizer_path, "# 卡\n")

    names = sorted(path.name for path in (tmp_path / "once").iterdir())
    assert names == [
        "README.md",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    for name in names:
        assert (tmp_path / "once" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    assert (tmp_path / "once" / "README.md").read_text(encoding="utf-8") == "# 卡\n"


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_files_are_readable_as_the_umask_says(umask, mode, make_model, tokenizer_path, tmp_path):
    former = os.umask(umask)
    try:
        write_language_model(tmp_path, make_model(), tokenizer_path, "# A card\n")
    finally:
        os.umask(former)

    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {mode}


def test_a_tied_model_may_hold_its_output_twice(model_directory):
    expected = load_transformer(model_directory).state_dict()

    def add_output(tensors):
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()

    edit_tensors(model_directory, add_output)

    assert load_transformer(model_directory).state_dict().keys() == expected.keys()


def test_old_spellings_are_read(model_directory):
    edit_config(model_directory, rope_parameters=..., rope_theta=77, head_dim=8, dtype=...)

    assert load_transformer(model_directory).architecture.layers[0].rotary.base == 77


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "mamba"}, r"unknown model_type 'mamba'; known: gemma2, .*, smollm3"),
        ({"model_type": ...}, r"unknown model_type None"),
        ({"model_type": ["qwen3"]}, r"unknown model_type \['qwen3'\]"),
        ({"auto_map": {"AutoModel": "x.Y"}}, r"auto_map asks to run code that comes with"),
        ({"hidden_size": ...}, r"hidden_size: expected a whole number from 1 to 1048576, found N"),
        ({"hidden_size": 31}, r"embed_tokens.weight has the shape \[300, 32\], .* be \[300, 31\]"),
        ({"hidden_size": 2**40}, r"hidden_size: expected a whole number from 1 to 1048576"),
        ({"hidden_size": True}, r"hidden_size: expected a whole number"),
        ({"hidden_size": 2**20, "num_attention_heads": 2**20, "head_dim": 2**20}, r"should be"),
        ({"vocab_size": 10**6}, r"should be \[1000000, 32\]"),
        ({"num_hidden_layers": 1000}, r"1,000 layers, and the weights consist of 24 tensors"),
        ({"num_hidden_layers": 10**6}, r"num_hidden_layers: expected a whole number from 1 to 4"),
        ({"num_hidden_layers": 3}, r"tensor model.layers.2.* is missing"),
        ({"num_hidden_layers": 1}, r"tensors have no place .* first being .model.layers.1.input"),
        ({"max_position_embeddings": 0}, r"max_position_embeddings: expected a whole number"),
        ({"num_key_value_heads": 3}, r"num_key_value_heads: 3 does not divide num_attention_heads"),
        ({"head_dim": 7}, r"head_dim: expected an even number, found 7"),
        (
            {"head_dim": ..., "model_type": "llama", "hidden_size": 30},
            r"30 is no multiple of num_a",
        ),
        ({"rms_norm_eps": 10**400}, r"rms_norm_eps: expected a positive number, found 1000"),
        ({"rms_norm_eps": float("nan")}, r"rms_norm_eps: expected a positive number, found nan"),
        ({"rms_norm_eps": -1}, r"rms_norm_eps: expected a positive number, found -1"),
        ({"rope_parameters": {"rope_theta": "x"}}, r"rope_theta: expected a positive number"),
        ({"rope_parameters": {"rope_type": "spiral"}}, r"unknown rope_type 'spiral'; expected one"),
        ({"rope_parameters": {"rope_type": "linear"}}, r"factor: expected a positive number"),
        ({"rope_parameters": {"rope_type": "longrope"}}, r"short_factor: expected a list of 4"),
        ({"rope_parameters": [1]}, r"rope_parameters: expected an object, found \[1\]"),
        ({"partial_rotary_factor": 0.4}, r"0.4 of a head of 8 leaves 3 dimensions; expected an ev"),
        ({"hidden_act": "gelu_fast"}, r"hidden_act is 'gelu_fast'; expected one of silu"),
        ({"attention_bias": True}, r"tensor .*q_proj.bias is missing"),
        ({"use_sliding_window": True, "layer_types": "x"}, r"layer_types: expected a list of full"),
        ({"use_sliding_window": True, "layer_types": ["full_attention"]}, r"expected 2 of them"),
        ({"use_sliding_window": True, "max_window_layers": -1}, r"max_window_layers: expected a c"),
        ({"quantization_config": {"bits": 4}}, r"quantization_config is "),
        ({"tie_word_embeddings": "yes"}, r"tie_word_embeddings: expected true or false"),
        ({"tie_word_embeddings": False}, r"tensor lm_head.weight is missing"),
    ],
)
def test_refuses_a_config(changes, message, model_directory):
    edit_config(model_directory, **changes)

    with pytest.raises(DataError, match=message) as caught:
        load_transformer(model_directory)
    assert str(model_directory) in str(caught.value)


def test_a_long_context_costs_nothing_before_it_is_used(model_directory):
    edit_config(model_directory, max_position_embeddings=2**31 - 1)

    model = load_transformer(model_directory)

    with torch.no_grad():
        assert model(torch.arange(100)[None]).shape == (1, 100, 300)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", b"{not json", r"config.json: not JSON"),
        ("config.json", b"\xff\xfe", r"config.json: not JSON"),
        ("config.json", b"[" * 100_000, r"config.json: not JSON"),
        ("config.json", b"[1]", r"config.json: expected a JSON object, found a list"),
        ("tokenizer_config.json", b'{"auto_map": {}}', r"tokenizer_config.json: auto_map asks"),
        ("model.safetensors", b"", r"model.safetensors: damaged or cut short"),
        ("model.safetensors", b"\xff" * 64, r"model.safetensors: damaged or cut short"),
    ],
)
def test_refuses_a_damaged_file(name, content, message, model_directory):
    (model_directory / name).write_bytes(content)

    with pytest.raises(DataError, match=message):
        LanguageModel.load(model_directory)


def test_does_not_read_a_huge_config(model_directory):
    with (model_directory / "config.json").open("r+b") as handle:
        handle.truncate(2**24 + 1)

    with pytest.raises(DataError, match=r"config.json: too large; at most 16,777,216 bytes"):
        load_transformer(model_directory)


@pytest.mark.parametrize("share", [0.999, 0.5, 0.01])
def test_refuses_weights_cut_short(share, model_directory):
    path = model_directory / "model.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])

    with pytest.raises(DataError, match=r"damaged or cut short: .*; fetch or write it again"):
        load_transformer(model_directory)


def test_refuses_tensors_that_contradict_the_config(model_directory):
    def drop(tensors):
        del tensors[LAYER_0 + "q_norm.weight"]

    def transpose(tensors):
        tensors[LAYER_0 + "q_norm.weight"] = torch.zeros(9)

    def requantise(tensors):
        tensors[LAYER_0 + "q_norm.weight"] = torch.zeros(8, dtype=torch.int8)

    def add_bias(tensors):
        tensors[LAYER_0 + "q_norm.weight"] = torch.zeros(8)
        tensors[LAYER_0 + "q_proj.bias"] = torch.zeros(32)

    for edit, message in (
        (drop, f"tensor {LAYER_0}q_norm.weight is missing, which config.json calls for"),
        (transpose, r"q_norm.weight has the shape \[9\], and by config.json it should be \[8\]"),
        (requantise, "q_norm.weight is of type I8; expected one of F32, F16, BF16, F64"),
        (add_bias, "1 tensors have no place .* the first being .*q_proj.bias"),
    ):
        edit_tensors(model_directory, edit)
        with pytest.raises(DataError, match=message):
            load_transformer(model_directory)


@pytest.mark.parametrize(
    ("there", "message"),
    [
        (None, "model.safetensors: not found; is this a model directory?"),
        ("pytorch_model.bin", "pytorch_model.bin may be a pickle, .* never opened; convert it"),
    ],
)
def test_says_what_is_there_instead_of_weights(there, message, model_directory):
    (model_directory / "model.safetensors").unlink()
    if there is not None:
        (model_directory / there).write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")

    with pytest.raises(MissingInputError, match=message):
        load_transformer(model_directory)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_says_which_file_is_missing(name, model_directory):
    (model_directory / name).unlink()

    with pytest.raises(MissingInputError, match=f"{name}: not found"):
        LanguageModel.load(model_directory)


def test_a_full_disk_is_told(make_model, tokenizer_path, tmp_path, monkeypatch):
    def refuse(_path, _data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pathlib.Path, "write_bytes", refuse)

    with pytest.raises(StorageError, match="No space left on device; free some space"):
        write_language_model(tmp_path, make_model(), tokenizer_path, "")


def test_refuses_a_tokenizer_that_is_not_the_models(tokenizer_path, make_model):
    small = Transformer(replace(make_model().architecture, vocab_size=299))

    with pytest.raises(DataError, match="tokenizer has 300 entries and the model only 299"):
        LanguageModel(small, Tokenizer.from_file(tokenizer_path))
