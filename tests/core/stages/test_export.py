"""export: the files that it writes, the model that they are, every refusal, every crash."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections import namedtuple
from itertools import count

import pytest
import safetensors.torch
import tokenizers
import torch
from core.language_model import conftest as made

from llmctl.core import manifest
from llmctl.core.errors import (
    DataError,
    Interrupted,
    MissingInputError,
    OutputError,
    StorageError,
    UsageError,
)
from llmctl.core.language_model.language_model import LanguageModel, write_language_model
from llmctl.core.manifest import check_files, read_manifest
from llmctl.core.progress import Progress
from llmctl.core.stages.export import ExportPlan
from llmctl.core.standalone import export_model
from llmctl.core.tokens.tokenizer import END_OF_TEXT

tokenizer_path, make_model = made.tokenizer_path, made.make_model
WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"
TEXT = "The world is 世界。"
TEMPLATE = "{% for message in messages %}{{ message.content }}{% endfor %}"


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    """Many artifacts are made here: spare the disk, and asking for versions."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)
    monkeypatch.setattr(manifest, "versions", dict)


@pytest.fixture
def source(tmp_path, make_model, tokenizer_path):
    """A model that llmctl wrote, to be changed at will."""
    directory = tmp_path / "模型"
    directory.mkdir()
    write_language_model(directory, make_model(), tokenizer_path, "# A card\n")
    return directory


@pytest.fixture
def gpt2(tmp_path, tokenizer_path):
    """GPT-2 as it lies on the Hub: no prefix, buffers, the pair of tokenizer files."""
    directory = tmp_path / "models--openai--gpt-2" / "snapshots" / "607a30d"
    directory.mkdir(parents=True)
    write_json(
        directory / "config.json",
        {
            "architectures": ["GPT2LMHeadModel"],
            "model_type": "gpt2",
            "_name_or_path": "/home/someone/gpt2",
            "n_embd": 8,
            "n_head": 2,
            "n_layer": 1,
            "n_ctx": 32,
            "n_positions": 32,
            "vocab_size": 300,
            "bos_token_id": 299,
            "eos_token_id": 299,
        },
    )
    shapes = {
        "wte.weight": (300, 8),
        "wpe.weight": (32, 8),
        "h.0.attn.bias": (1, 1, 32, 32),
        "h.0.attn.masked_bias": (),
        "h.0.attn.c_attn.weight": (8, 24),
        "h.0.attn.c_attn.bias": (24,),
        "h.0.attn.c_proj.weight": (8, 8),
        "h.0.attn.c_proj.bias": (8,),
        "h.0.mlp.c_fc.weight": (8, 32),
        "h.0.mlp.c_fc.bias": (32,),
        "h.0.mlp.c_proj.weight": (32, 8),
        "h.0.mlp.c_proj.bias": (8,),
        **{f"h.0.ln_{n}.{kind}": (8,) for n in (1, 2) for kind in ("weight", "bias")},
        "ln_f.weight": (8,),
        "ln_f.bias": (8,),
    }
    draw = torch.Generator().manual_seed(0)
    tensors = {name: torch.randn(shape, generator=draw) for name, shape in shapes.items()}
    safetensors.torch.save_file(tensors, directory / WHOLE)
    vocabulary = json.loads(tokenizer_path.read_text(encoding="utf-8"))["model"]
    # The end of a text is the last entry there, and not in the pair's merges.
    entries = [entry for entry in vocabulary["vocab"] if entry != END_OF_TEXT]
    ids = {entry: number for number, entry in enumerate(entries)}
    write_json(directory / "vocab.json", ids | {END_OF_TEXT: 299})
    merges = "\n".join(" ".join(pair) for pair in vocabulary["merges"])
    (directory / "merges.txt").write_text(f"#version: 0.2\n{merges}\n", encoding="utf-8")
    return directory


def write_json(path, content):
    path.write_text(json.dumps(content), encoding="utf-8")


def read_json(path):
    return json.loads(path.read_text(encoding="utf-8"))


def change_json(path, **changes):
    write_json(path, (read_json(path) if path.exists() else {}) | changes)


def export(source, out, *, dtype=None, max_shard_size="5GB", progress=None):
    return export_model(
        source,
        out,
        dtype=dtype,
        max_shard_size=max_shard_size,
        wait_seconds=0,
        progress=progress or Progress(),
    )


def tensors_of(directory):
    """Every tensor by name, and the files that they lie in."""
    paths = sorted(directory.glob("*.safetensors"))
    found = {}
    for path in paths:
        found |= safetensors.torch.load_file(path)
    return found, [path.name for path in paths]


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype, name
        assert torch.equal(found[name], tensor), name


def logits_of(directory):
    model = LanguageModel.load(directory, device="cpu", dtype="float32").model
    with torch.no_grad():
        return model(torch.arange(30)[None])


def test_a_trained_model_keeps_its_bytes_and_its_meaning(source, tmp_path):
    outcome = export(source, tmp_path / "出口")

    out = outcome.path
    assert outcome.ran == ["export"]
    assert sorted(path.name for path in out.iterdir()) == [
        "README.md",
        "config.json",
        "generation_config.json",
        "manifest.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    for name in ("README.md", "generation_config.json", "tokenizer.json"):
        assert (out / name).read_bytes() == (source / name).read_bytes()
    for name in ("config.json", "tokenizer_config.json"):
        assert read_json(out / name) == read_json(source / name)
    assert_equal(tensors_of(out)[0], tensors_of(source)[0])
    assert torch.equal(logits_of(out), logits_of(source))
    parameters = sum(tensor.numel() for tensor in tensors_of(out)[0].values())
    assert outcome.manifest.counts == {
        "parameters": parameters,
        "tensors": 24,
        "weight_files": 1,
        "weight_bytes": 4 * parameters,
        "dtype": "float32",
    }
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".work")] == []


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_every_tensor_is_cast(dtype, source, tmp_path):
    out = export(source, tmp_path / "out", dtype=dtype).path

    expected = {name: t.to(getattr(torch, dtype)) for name, t in tensors_of(source)[0].items()}
    assert_equal(tensors_of(out)[0], expected)
    config = read_json(out / "config.json")
    assert (config["dtype"], config["torch_dtype"]) == (dtype, dtype)
    with safetensors.safe_open(out / WHOLE, framework="pt") as handle:
        assert handle.metadata() == {"format": "pt"}


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        pytest.param({"dtype": "float32"}, "float32", id="the config has the word"),
        pytest.param({"torch_dtype": "float16"}, "float16", id="in the old spelling"),
        pytest.param({}, "bfloat16", id="that of most bytes"),
        pytest.param({"dtype": "auto"}, "bfloat16", id="no type at all"),
    ],
)
def test_without_a_dtype_each_tensor_stays_as_it_is(stated, expected, source, tmp_path):
    mixed = {
        name: tensor if tensor.ndim == 1 else tensor.bfloat16()
        for name, tensor in tensors_of(source)[0].items()
    }
    safetensors.torch.save_file(mixed, source / WHOLE)
    config = read_json(source / "config.json")
    del config["dtype"], config["torch_dtype"]
    write_json(source / "config.json", config | stated)

    out = export(source, tmp_path / "out").path

    assert_equal(tensors_of(out)[0], mixed)
    assert read_json(out / "config.json")["torch_dtype"] == expected


def test_in_small_files_it_is_the_same_model(source, tmp_path):
    out = export(source, tmp_path / "out", max_shard_size="10KB").path

    found, names = tensors_of(out)
    assert_equal(found, tensors_of(source)[0])
    assert len(names) > 3
    assert names == [
        f"model-{number:05d}-of-{len(names):05d}.safetensors" for number in range(1, len(names) + 1)
    ]
    index = read_json(out / INDEX)
    assert index["metadata"] == {"total_size": sum(tensor.nbytes for tensor in found.values())}
    for name, file_name in index["weight_map"].items():
        with safetensors.safe_open(out / file_name, framework="pt") as handle:
            assert name in handle.keys()  # noqa: SIM118
    assert index["weight_map"].keys() == found.keys()
    assert torch.equal(logits_of(out), logits_of(source))

    again = export(out, tmp_path / "again").path
    assert_equal(tensors_of(again)[0], found)


def test_no_former_file_of_weights_is_left(source, tmp_path):
    export(source, tmp_path / "out", max_shard_size="10KB")

    out = export(source, tmp_path / "out").path

    assert tensors_of(out)[1] == [WHOLE]
    assert not (out / INDEX).exists()


def test_a_tied_model_is_written_without_its_output(source, tmp_path):
    tensors = tensors_of(source)[0]
    doubled = tensors | {
        "lm_head.weight": tensors["model.embed_tokens.weight"].clone(),
        "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4),
    }
    safetensors.torch.save_file(doubled, source / WHOLE)

    assert_equal(tensors_of(export(source, tmp_path / "out").path)[0], tensors)


def test_gpt2_gets_its_prefix_and_one_tokenizer_file(gpt2, tmp_path):
    out = export(gpt2, tmp_path / "out").path

    expected = {
        f"transformer.{name}": tensor
        for name, tensor in tensors_of(gpt2)[0].items()
        if name not in ("h.0.attn.bias", "h.0.attn.masked_bias")
    }
    assert_equal(tensors_of(out)[0], expected)
    config = read_json(out / "config.json")
    assert (config["n_positions"], config["n_ctx"], config["tie_word_embeddings"]) == (32, 32, True)
    assert "_name_or_path" not in config
    assert "rope_theta" not in config
    assert torch.equal(logits_of(out), logits_of(gpt2))

    assert not (out / "vocab.json").exists()
    written = tokenizers.Tokenizer.from_file(str(out / "tokenizer.json"))
    ours = LanguageModel.load(gpt2, device="cpu").tokenizer
    assert written.encode(f"{TEXT}{END_OF_TEXT}").ids == [*ours.encode(TEXT), 299]
    assert read_json(out / "tokenizer_config.json") == {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "bos_token": END_OF_TEXT,
        "eos_token": END_OF_TEXT,
        "model_max_length": 32,
    }


def test_a_model_without_a_card_gets_one(gpt2, tmp_path):
    out = export(gpt2, tmp_path / "out", dtype="bfloat16").path

    card = (out / "README.md").read_text(encoding="utf-8")
    assert card.startswith(
        "---\nlibrary_name: transformers\npipeline_tag: text-generation\n"
        "base_model: openai/gpt-2\n---\n\n# openai/gpt-2\n"
    )
    assert "3,544 parameters (GPT2LMHeadModel), written in\nbfloat16" in card


def test_outside_the_cache_nobody_knows_its_name(gpt2, tmp_path):
    shutil.copytree(gpt2, tmp_path / "gpt2")

    card = (export(tmp_path / "gpt2", tmp_path / "out").path / "README.md").read_text("utf-8")

    assert "base_model" not in card
    assert "# GPT2LMHeadModel" in card


def test_files_beside_the_model_are_kept(source, tmp_path):
    kept = {
        "LICENSE": "Do.",
        "LICENCE-weights.txt": "Do not.",
        "NOTICE": "注意",
        "tokenizer.model": "\0\1",
        "added_tokens.json": "{}",
    }
    left = {"training_args.bin": "\x80", "model.bin": "\x80", "license_plates.csv": "A", "x.py": ""}
    for name, content in (kept | left).items():
        (source / name).write_text(content, encoding="utf-8")

    out = export(source, tmp_path / "out").path

    for name, content in kept.items():
        assert (out / name).read_text(encoding="utf-8") == content
    assert not [name for name in left if (out / name).exists()]


def test_a_chat_template_is_a_file_and_a_field(source, tmp_path):
    (source / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")

    out = export(source, tmp_path / "out").path

    assert (out / "chat_template.jinja").read_text(encoding="utf-8") == TEMPLATE
    assert read_json(out / "tokenizer_config.json")["chat_template"] == TEMPLATE


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        pytest.param(
            {"tokenizer_config.json": {"tokenizer_class": "TokenizersBackend", "pad_token": None}},
            {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": None, "eos_token": "<|e"},
            id="what is said is kept, the class is known to all",
        ),
        pytest.param(
            {
                "tokenizer_config.json": {"eos_token": "<|e"},
                "special_tokens_map.json": {
                    "eos_token": "x",
                    "unk_token": {"content": "<unk>", "lstrip": False},
                    "additional_special_tokens": ["y"],
                },
            },
            {"eos_token": "<|e", "unk_token": "<unk>"},
            id="the map of special tokens fills gaps",
        ),
        pytest.param(
            {
                "tokenizer_config.json": {"model_max_length": 10**30, "tokenizer_file": "/home/x"},
                "config.json": {"pad_token_id": 0},
            },
            {"model_max_length": 48, "tokenizer_file": ..., "pad_token": ...},
            id="no length, no path, no padding that is the end",
        ),
        pytest.param(
            {
                "tokenizer_config.json": {
                    "model_max_length": 7,
                    "clean_up_tokenization_spaces": True,
                }
            },
            {"model_max_length": 7, "clean_up_tokenization_spaces": False},
            id="a length of its own",
        ),
        pytest.param(
            {"tokenizer_config.json": {"extra_special_tokens": ["<a>"]}},
            {"extra_special_tokens": ..., "additional_special_tokens": ["<a>"]},
            id="a list that older readers fail on",
        ),
        pytest.param(
            {"generation_config.json": {"bos_token_id": 5, "eos_token_id": [0, 5]}},
            {"bos_token": ..., "eos_token": "<|e"},
            id="an id that is no special token names none",
        ),
    ],
)
def test_the_tokenizer_is_described(files, expected, source, tmp_path):
    write_json(source / "tokenizer_config.json", {})
    for name, changes in files.items():
        change_json(source / name, **changes)

    found = read_json(export(source, tmp_path / "out").path / "tokenizer_config.json")

    shown = {name: found.get(name, ...) for name in expected}
    if shown.get("eos_token") == END_OF_TEXT:
        shown["eos_token"] = "<|e"
    assert shown == expected


def test_done_is_done_until_something_changes(source, tmp_path):
    first = export(source, tmp_path / "out")

    again = export(source, tmp_path / "out", max_shard_size="5000MB")
    assert again.ran == []
    assert again.manifest == first.manifest

    (source / "LICENSE").write_text("Do.", encoding="utf-8")
    assert export(source, tmp_path / "out").ran == ["export"]
    assert export(source, tmp_path / "out", dtype="float16").ran == ["export"]


def test_a_parent_is_named(source, tmp_path, tiny):
    outcome = export(tiny / "runs/tiny/model", tmp_path / "out")

    model = read_manifest(tiny / "runs/tiny/model")
    assert outcome.manifest.parents == {"model": model.key}
    assert (outcome.path / "metrics.jsonl").is_file()


def test_the_command_line(tiny, llmctl):
    arguments = ("export", "tiny", "-o", "出口", "--dtype", "bfloat16", "--max-shard-size", "2KB")
    first = llmctl(*arguments, "--json")
    again = llmctl(*arguments)
    verified = llmctl("verify", "出口")
    generated = llmctl("generate", "The world", "-m", "出口", "--max-tokens", "3", "--seed", "1")

    assert first.exit_code == 0, first.stderr
    told = json.loads(first.stdout)
    assert (told["path"], told["ran"], told["counts"]["dtype"]) == ("出口", ["export"], "bfloat16")
    assert (again.exit_code, again.stdout) == (0, "出口\n")
    assert "export: up to date, nothing to do (出口)" in again.stderr
    assert verified.exit_code == 0
    assert verified.stdout.startswith("出口: ")
    assert generated.exit_code == 0, generated.stderr


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (("--dtype", "int8"), 2, "unknown dtype 'int8'; expected one of float32, bfloat16, float"),
        (("--dtype", "auto"), 2, "unknown dtype 'auto'"),
        (("--max-shard-size", "big"), 2, "unknown size 'big'; expected one such as 5GB"),
        (("-o", "docs.jsonl"), 73, "docs.jsonl: exists and is no artifact, and would be overw"),
        (("-o", "."), 73, "overlaps the model"),
        (("-o", "runs/tiny/model"), 73, "runs/tiny/model: overlaps the model"),
        (("-o", "runs/tiny/model/out"), 73, "overlaps the model"),
        (("-o", "runs/tiny/corpus"), 73, "runs/tiny/corpus: is a corpus, no export; name another"),
    ],
)
def test_refuses_with_an_exit_code(arguments, exit_code, message, tiny, llmctl):
    ended = llmctl("export", "tiny", "-o", "out", *arguments)

    assert ended.exit_code == exit_code
    assert message in ended.stderr
    assert ended.stdout == ""
    assert not (tiny / "out").exists()


def test_refuses_a_finished_model_and_a_foreign_folder(tiny, tmp_path, source):
    with pytest.raises(OutputError, match="is a model, no export; name another folder"):
        export(source, tiny / "runs/tiny/model")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.tex").write_text("", encoding="utf-8")
    with pytest.raises(OutputError, match="exists and is no artifact, and would be overwritten"):
        export(source, tmp_path / "foreign")


def test_refuses_unknown_words(source):
    with pytest.raises(UsageError, match="unknown dtype 'float8'; expected one of float32"):
        ExportPlan.from_words("float8", "5GB", source)
    with pytest.raises(UsageError, match="unknown size '5 apples'"):
        ExportPlan.from_words(None, "5 apples", source)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"model_type": "mamba"}, DataError, "unknown model_type 'mamba'; known: gemma2"),
        ({"auto_map": {"AutoModel": "x.Y"}}, DataError, "auto_map asks to run code"),
        ({"num_hidden_layers": 3}, DataError, "tensor model.layers.2.* is missing"),
        ({"eos_token_id": "end"}, DataError, "eos_token_id: expected a token's id or a list"),
    ],
)
def test_refuses_what_llmctl_does_not_load(changes, error, message, source, tmp_path):
    change_json(source / "config.json", **changes)
    (source / "generation_config.json").unlink()

    with pytest.raises(error, match=message):
        export(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_refuses_what_is_not_whole(source, tmp_path):
    missing = tmp_path / "missing"
    with pytest.raises(MissingInputError, match=r"config.json: not found; is this a model direct"):
        export(missing, tmp_path / "out")
    change_json(source / "config.json", vocab_size=299)
    tensors = tensors_of(source)[0]
    name = "model.embed_tokens.weight"
    safetensors.torch.save_file(tensors | {name: tensors[name][:299].clone()}, source / WHOLE)
    with pytest.raises(DataError, match="tokenizer has 300 entries and the model only 299"):
        export(source, tmp_path / "out")
    (source / "tokenizer.json").unlink()
    with pytest.raises(MissingInputError, match=r"tokenizer.json: not found; a model directory ne"):
        export(source, tmp_path / "out")


def test_refuses_half_of_a_model(tokenizer_path, tmp_path):
    text = {
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
        "vocab_size": 300,
        "sliding_window": 4,
        "tie_word_embeddings": True,
    }
    source = tmp_path / "pictures"
    source.mkdir()
    write_json(source / "config.json", {"model_type": "gemma3", "text_config": text})
    layer = "language_model.model.layers.0."
    shapes = {
        "language_model.model.embed_tokens.weight": (300, 16),
        "language_model.model.norm.weight": (16,),
        "vision_tower.weight": (2, 2),
        f"{layer}self_attn.q_proj.weight": (16, 16),
        f"{layer}self_attn.k_proj.weight": (8, 16),
        f"{layer}self_attn.v_proj.weight": (8, 16),
        f"{layer}self_attn.o_proj.weight": (16, 16),
        f"{layer}self_attn.q_norm.weight": (8,),
        f"{layer}self_attn.k_norm.weight": (8,),
        f"{layer}mlp.gate_proj.weight": (24, 16),
        f"{layer}mlp.up_proj.weight": (24, 16),
        f"{layer}mlp.down_proj.weight": (16, 24),
        f"{layer}input_layernorm.weight": (16,),
        f"{layer}post_attention_layernorm.weight": (16,),
        f"{layer}pre_feedforward_layernorm.weight": (16,),
        f"{layer}post_feedforward_layernorm.weight": (16,),
    }
    tensors = {name: torch.ones(shape) for name, shape in shapes.items()}
    safetensors.torch.save_file(tensors, source / WHOLE)
    shutil.copy(tokenizer_path, source / "tokenizer.json")
    assert logits_of(source).shape == (1, 30, 300)

    with pytest.raises(DataError, match="only the text half is read, which makes no whole model"):
        export(source, tmp_path / "out")


def test_refuses_a_damaged_run(tiny, tmp_path):
    path = tiny / "runs/tiny/model/README.md"
    path.write_text("other", encoding="utf-8")

    with pytest.raises(DataError, match=r"README.md: damaged"):
        export(tiny / "runs/tiny/model", tmp_path / "out")


def test_refuses_values_beyond_the_type(source, tmp_path):
    tensors = tensors_of(source)[0]
    tensors["model.norm.weight"][3] = 1e6
    safetensors.torch.save_file(tensors, source / WHOLE)

    with pytest.raises(DataError, match=r"model.norm.weight: holds 1e\+06, and float16 ends at 65"):
        export(source, tmp_path / "out", dtype="float16")
    assert not (tmp_path / "out").exists()
    assert export(source, tmp_path / "out", dtype="bfloat16").ran == ["export"]


def test_refuses_a_disk_too_small(source, tmp_path, monkeypatch):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(60_000))

    with pytest.raises(StorageError, match="101 kB are needed and 60 kB are free; free some space"):
        export(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def data_of(out):
    """The files of a whole artifact, checked by content; None where there is none."""
    found = read_manifest(out)
    if found is None:
        assert not out.exists()
        return None
    check_files(out, found)
    return {name: (out / name).read_bytes() for name in found.files}


@pytest.mark.parametrize("has_former", [False, True])
def test_killed_at_any_moment_it_is_the_former_or_the_new(
    has_former, source, tmp_path, killed_after
):
    small = {"max_shard_size": "60KB"}
    expected = data_of(export(source, tmp_path / "undisturbed", **small).path)
    former = None
    if has_former:
        former = data_of(export(source, tmp_path / "former", dtype="bfloat16").path)

    for number in count(1):
        out = tmp_path / f"out{number}"
        if has_former:
            shutil.copytree(tmp_path / "former", out)
        was_killed = killed_after(number, lambda out=out: export(source, out, **small))
        if out.exists():  # between two renames of a replacement it is aside
            assert data_of(out) in (former, expected)
        else:
            assert not has_former or (tmp_path / f".old-out{number}").exists()
        if not was_killed:
            break
        export(source, out, **small)
        assert data_of(out) == expected
        shutil.rmtree(out)
        assert not [path for path in tmp_path.iterdir() if path.name.startswith((".work", ".old"))]
    assert number > 30


def test_stopped_it_goes_on_with_the_files_that_are_finished(source, tmp_path, operations):
    class Impatient(Progress):
        num_tensors = 0

        def advance(self, _amount=1, **_figures):
            self.num_tensors += 1
            if self.num_tensors == 10:
                self.stop.signal_number = signal.SIGTERM

    expected = data_of(export(source, tmp_path / "undisturbed", max_shard_size="10KB").path)
    with pytest.raises(Interrupted, match="stopped by SIGTERM; the same command goes on from here"):
        export(source, tmp_path / "out", max_shard_size="10KB", progress=Impatient())
    assert not (tmp_path / "out").exists()
    finished = [path.name for path in tmp_path.glob(".work-out-*/units/model-*")]
    assert finished
    operations.clear()

    export(source, tmp_path / "out", max_shard_size="10KB")

    written = {path.name for operation, path in operations if operation == "write"}
    assert not written & {f".{name}.tmp" for name in finished}
    assert data_of(tmp_path / "out") == expected
