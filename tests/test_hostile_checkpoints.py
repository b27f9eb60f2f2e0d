"""Checkpoints from anywhere: read, or refused with one message; never run, never waited for.

The config.json of every family is put to the test in core/language_model/test_family_configs.py.
"""

from __future__ import annotations

import json
import math
import shutil
import struct

import pytest
import safetensors.torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from refusals import BAD_DATA, NO_INPUT, refused

from llmctl.core.errors import DataError
from llmctl.core.language_model.language_model import load_transformer
from llmctl.core.tokens.chat_template import TemplateRenderer

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
NORM = "model.norm.weight"
MOST_BYTES, MOST_SECONDS = 48 * 2**20, 2.0
DEEP = b'{"a":' * 50_000 + b"1" + b"}" * 50_000


@pytest.fixture
def checkpoint(finished_folder, tmp_path, monkeypatch):
    """A model directory, to be spoilt; the working directory holds it."""
    directory = tmp_path / "模型"
    shutil.copytree(finished_folder / "runs/tiny/model", directory)
    monkeypatch.chdir(tmp_path)
    return directory


@pytest.fixture
def generate(server, checkpoint):
    """Run `llmctl generate` on the checkpoint."""

    def run(*options, prompt="世界"):
        command = ("generate", prompt, "-m", checkpoint.name, "-n", "2", *options)
        return server.run(*command, cwd=checkpoint.parent)

    return run


def edit_json(path, **changes):
    content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    content |= changes
    kept = {name: value for name, value in content.items() if value is not ...}
    path.write_text(json.dumps(kept), encoding="utf-8")


def edit_tensors(directory, edit):
    tensors = safetensors.torch.load_file(directory / WEIGHTS)
    edit(tensors)
    (directory / WEIGHTS).unlink()
    safetensors.torch.save_file(tensors, directory / WEIGHTS)


def edit_header(directory, edit):
    """Change the header of the weights and leave their data as they are."""
    data = (directory / WEIGHTS).read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    edit(header)
    changed = json.dumps(header).encode()
    (directory / WEIGHTS).write_bytes(
        struct.pack("<Q", len(changed)) + changed + data[8 + length :]
    )


def split_weights(directory, **file_names):
    """Replace the weights by one file, and an index that names others for some tensors."""
    names = safetensors.torch.load_file(directory / WEIGHTS).keys()
    (directory / WEIGHTS).rename(directory / "a.safetensors")
    weight_map = dict.fromkeys(names, "a.safetensors") | file_names
    (directory / INDEX).write_text(json.dumps({"weight_map": weight_map}), encoding="utf-8")


def test_the_checkpoint_is_a_good_one(generate):
    ended = generate("--seed", "1")

    assert ended.exit_code == 0, ended.stderr
    assert ended.stderr == ""


# ------------------------------------------------------------------ weights


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9999])
def test_weights_cut_short(share, checkpoint, generate):
    data = (checkpoint / WEIGHTS).read_bytes()
    (checkpoint / WEIGHTS).write_bytes(data[: int(len(data) * share)])

    assert refused(generate(), BAD_DATA, WEIGHTS, "damaged or cut short")


@pytest.mark.parametrize(
    ("change", "phrase"),
    [
        ({"data_offsets": [0, 2**62]}, "damaged or cut short"),
        ({"data_offsets": [-4, 60]}, "damaged or cut short"),
        ({"data_offsets": ["0", "64"]}, "damaged or cut short"),
        ({"shape": [2**40]}, "damaged or cut short"),
        ({"shape": [2**62, 2**62]}, "damaged or cut short"),
        ({"shape": "wide"}, "damaged or cut short"),
        ({"shape": [4, 4]}, f"{NORM} has the shape [4, 4], and by config.json it should be [16]"),
        ({"dtype": "I32"}, "is of type I32; expected one of F32, F16, BF16, F64"),
        ({"dtype": "U1"}, "damaged or cut short"),
        ({"code": "import os"}, None),
    ],
    ids=str,
)
def test_a_header_that_lies(change, phrase, checkpoint, generate):
    edit_header(checkpoint, lambda header: header[NORM].update(change))

    ended = generate()

    assert ended.exit_code == 0 if phrase is None else refused(ended, BAD_DATA, phrase)


@pytest.mark.parametrize("length", [2**63, 2**40, 10**8])
def test_a_header_of_any_length(length, checkpoint, generate):
    data = (checkpoint / WEIGHTS).read_bytes()
    (checkpoint / WEIGHTS).write_bytes(struct.pack("<Q", length) + data[8:])

    assert refused(generate(), BAD_DATA, "damaged or cut short", "at most 67,108,864 are read")


@pytest.mark.parametrize(
    "name",
    [
        *("../x.safetensors", "/etc/passwd", "b/../../x.safetensors", "..\\x.safetensors"),
        *("pytorch_model.bin", "", "a.safetensors\0.txt", None, 5, ["a.safetensors"]),
    ],
)
def test_an_index_that_leads_elsewhere(name, checkpoint, generate):
    (checkpoint.parent / "x.safetensors").write_bytes((checkpoint / WEIGHTS).read_bytes())
    split_weights(checkpoint, **{NORM: name})

    assert refused(generate(), BAD_DATA, INDEX, "expected the plain name of a .safetensors file")


@pytest.mark.parametrize("content", [b"{}", b'{"weight_map": []}', b'{"weight_map": {}}', b"[]"])
def test_an_index_that_is_none(content, checkpoint, generate):
    split_weights(checkpoint)
    (checkpoint / INDEX).write_bytes(content)

    assert refused(generate(), BAD_DATA, INDEX, "expected a")


def test_a_missing_shard_is_named(checkpoint, generate):
    split_weights(checkpoint, further="b.safetensors")

    assert refused(generate(), NO_INPUT, "b.safetensors: not found", "may be incomplete")


def test_an_index_that_contradicts_its_files(checkpoint, generate):
    split_weights(checkpoint, **{"no.such": "a.safetensors"})

    assert refused(generate(), BAD_DATA, "tensor 'no.such' should be in a.safetensors and is not")


def test_shapes_that_contradict_the_config(checkpoint, generate):
    edit_json(checkpoint / "config.json", intermediate_size=33)

    assert refused(generate(), BAD_DATA, "and by config.json it should be [33, 16]")


def test_weights_that_are_no_numbers(checkpoint, generate):
    edit_tensors(checkpoint, lambda tensors: tensors[NORM].fill_(math.nan))

    ended = generate()

    assert refused(ended, 1, "the model's logits are not finite: its weights are damaged")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "consolidated.00.pth"])
def test_pickles_are_never_opened(name, checkpoint, generate, tmp_path):
    (checkpoint / WEIGHTS).unlink()
    trap = tmp_path / "ran"
    (checkpoint / name).write_bytes(b"cos\nsystem\n(S'touch %s'\ntR." % bytes(trap))

    assert refused(generate(), NO_INPUT, f"{name} may be a pickle", "never opened")
    assert not trap.exists()


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_whatever_bytes_the_weights_consist_of(data, checkpoint, whole_weights):
    spoilt = bytearray(whole_weights)
    for _ in range(data.draw(st.integers(1, 3))):
        # Most of what can go wrong is in the header.
        place = data.draw(st.integers(0, 400) | st.integers(0, len(spoilt) - 1))
        spoilt[place] = data.draw(st.integers(0, 255))
    (checkpoint / WEIGHTS).write_bytes(spoilt[: data.draw(st.none() | st.integers(0, 5000))])

    try:
        model = load_transformer(checkpoint)
    except DataError as error:
        assert len(str(error)) < 600  # noqa: PT017 - one of two good ends
    else:
        assert model.vocab_size == 300


@pytest.fixture
def whole_weights(checkpoint):
    return (checkpoint / WEIGHTS).read_bytes()


# ------------------------------------------------------------------ configurations


@pytest.mark.parametrize(
    ("name", "content", "phrase"),
    [
        ("config.json", b"", "config.json: not JSON"),
        ("config.json", b'{"a": 1', "config.json: not JSON"),
        ("config.json", DEEP, "config.json: not JSON"),
        ("config.json", b"[" * 10**6, "config.json: not JSON"),
        ("config.json", b"\xff\xfe\x00", "config.json: not JSON"),
        ("config.json", b'"text"', "config.json: expected a JSON object, found a str"),
        ("config.json", b'{"a": ' + b"9" * 5000 + b"}", "config.json: not JSON"),
        ("config.json", b"{}", "unknown model_type None; known: gemma2"),
        ("config.json", b'{"model_type": "\\u001b[2J\\ud800"}', r"unknown model_type '\x1b[2J\ud8"),
        ("generation_config.json", DEEP, "generation_config.json: not JSON"),
        ("generation_config.json", b"[]", "generation_config.json: expected a JSON object"),
        ("generation_config.json", b'{"top_p": NaN}', "generation_config.json: top_p: Input"),
        ("generation_config.json", b'{"eos_token_id": "2"}', "eos_token_id: expected a token's id"),
        ("generation_config.json", b'{"temperature": 1' + b"0" * 400 + b"}", "temperature: Input"),
        ("tokenizer.json", b"", "tokenizer.json: damaged, or no tokenizer.json"),
        ("tokenizer.json", b"\xff", "tokenizer.json: damaged: not UTF-8"),
        ("tokenizer.json", DEEP, "tokenizer.json: damaged, or no tokenizer.json"),
        ("tokenizer.json", b'{"model": {"type": "BPE"}}', "tokenizer.json: damaged"),
        ("tokenizer_config.json", DEEP, "tokenizer_config.json: not JSON"),
    ],
    ids=lambda value: repr(value[:30]),
)
def test_a_file_that_is_none(name, content, phrase, checkpoint, generate):
    (checkpoint / name).write_bytes(content)

    assert refused(generate(), BAD_DATA, phrase)


@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "tokenizer_config.json"])
def test_a_file_of_100_megabytes(name, checkpoint, generate):
    with (checkpoint / name).open("ab") as handle:
        handle.truncate(10**8)

    assert refused(generate(), BAD_DATA, f"{name}: too large; at most 16,777,216 bytes are read")


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_code_of_its_own_is_not_run(name, checkpoint, generate):
    edit_json(checkpoint / name, auto_map={"AutoModelForCausalLM": "modeling.Model"})
    (checkpoint / "modeling.py").write_text("open('ran', 'w')", encoding="utf-8")

    assert refused(generate(), BAD_DATA, f"{name}: auto_map asks to run code that comes with")
    assert not (checkpoint.parent / "ran").exists()


def test_a_long_value_does_not_fill_the_screen(checkpoint, generate):
    edit_json(checkpoint / "config.json", hidden_size=["x" * 1000] * 1000)

    assert refused(generate(), BAD_DATA, "hidden_size: expected a whole number")


@pytest.fixture(scope="module")
def usual_bytes(server, finished_folder):
    """What the good checkpoint takes."""
    command = ("generate", "世界", "-m", "runs/tiny/model", "-n", "2")
    return server.run(*command, cwd=finished_folder).peak_bytes


MOE = {"model_type": "qwen3_moe", "num_experts_per_tok": 1, "moe_intermediate_size": 32}
HUGE = 2**20


@pytest.mark.parametrize(
    ("changes", "phrase"),
    [
        pytest.param({"hidden_size": HUGE}, f"should be [300, {HUGE}]", id="wide"),
        pytest.param({"hidden_size": 2**60}, "from 1 to 1048576, found 1152", id="wider"),
        pytest.param(
            {"hidden_size": HUGE, "vocab_size": HUGE, "tie_word_embeddings": False},
            f"should be [{HUGE}, {HUGE}]",
            id="a matrix of a terabyte",
        ),
        pytest.param(
            {"num_attention_heads": HUGE, "num_key_value_heads": HUGE, "head_dim": HUGE},
            "it should be [",
            id="heads",
        ),
        pytest.param({"intermediate_size": HUGE}, f"should be [{HUGE}, 16]", id="inner width"),
        pytest.param({"num_hidden_layers": 4096}, "4,096 layers, and the weights", id="layers"),
        pytest.param({"num_hidden_layers": 2**30}, "whole number from 1 to 4096", id="more layers"),
        pytest.param(
            MOE | {"num_experts": HUGE}, "1 layers and 1,048,576 experts", id="many experts"
        ),
        pytest.param(
            MOE | {"num_experts": 4, "moe_intermediate_size": HUGE},
            "tensor model.layers.0.mlp.experts.0.gate_proj.weight is missing",
            id="wide experts",
        ),
        pytest.param(
            {"model_type": "gpt2", "n_embd": 16, "n_head": 1, "n_positions": HUGE, "n_layer": 4096},
            "4,096 layers",
            id="a table of positions",
        ),
        pytest.param({"max_position_embeddings": 2**31 - 1}, None, id="a context never filled"),
        pytest.param({"max_position_embeddings": 2**31}, "max_position_embeddings", id="more"),
        pytest.param({"max_window_layers": 2**60, "sliding_window": HUGE}, None, id="a window"),
    ],
)
def test_a_config_that_asks_for_a_terabyte(changes, phrase, checkpoint, generate, usual_bytes):
    edit_json(checkpoint / "config.json", **changes)

    ended = generate()

    if phrase is None:
        assert ended.exit_code == 0, ended.stderr
    else:
        assert refused(ended, BAD_DATA, phrase)
    assert ended.seconds < MOST_SECONDS
    assert ended.peak_bytes < usual_bytes + MOST_BYTES


# ------------------------------------------------------------------ vocabularies


def edit_vocabulary(directory, edit):
    path = directory / "tokenizer.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    edit(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def test_more_entries_than_the_embedding_has_rows(checkpoint, generate):
    edit_vocabulary(checkpoint, lambda found: found["model"]["vocab"].update({"新": 300}))

    assert refused(generate(), BAD_DATA, "the tokenizer has 301 entries and the model only 300")


def move_a(found):
    found["model"]["vocab"]["a"] = 10**6


def test_an_id_beyond_the_embedding(checkpoint, generate, server, tmp_path):
    edit_vocabulary(checkpoint, move_a)
    (tmp_path / "a.txt").write_text("aaa", encoding="utf-8")

    assert generate(prompt="b").exit_code == 0
    assert refused(generate(prompt="ba"), BAD_DATA, "gives the id 1,000,000 and the model has only")
    command = ("eval", "-m", checkpoint.name, "--data", "a.txt")
    assert refused(server.run(*command, cwd=tmp_path), BAD_DATA, "ids go up to 1,000,000")


@pytest.mark.parametrize("option", ["--stop-token", "--logit-bias"])
def test_an_id_beyond_the_embedding_is_no_token(option, checkpoint, generate):
    edit_vocabulary(checkpoint, move_a)

    ended = generate(option, "a" if option == "--stop-token" else "a=1", prompt="b")

    assert refused(ended, 2, "'a' is no single token of this model")


@pytest.mark.parametrize("file_name", ["config.json", "generation_config.json"])
def test_ids_of_another_model_neither_begin_nor_end(file_name, checkpoint, generate):
    for name in ("config.json", "generation_config.json"):
        edit_json(checkpoint / name, bos_token_id=..., eos_token_id=...)
    edit_json(checkpoint / file_name, bos_token_id=50256, eos_token_id=[50256, 10**30])

    assert generate("--min-tokens", "2").exit_code == 0
    assert refused(generate(prompt=""), BAD_DATA, "prompt 1 is empty", "no token that begins")


# ------------------------------------------------------------------ chat templates


@pytest.mark.parametrize(
    ("source", "phrase"),
    [
        ("{{ ''.__class__.__mro__ }}", "the attribute '__class__' of 'str' is not for templates"),
        ("{{ messages.append(1) }}", "fails in line 1"),
        ("{{ cycler.__init__.__globals__ }}", "is not for templates"),
        ("{% include '/etc/passwd' %}", "the chat template fails"),
        ("{% for i in range(10**9) %}x{% endfor %}", "the chat template fails in line 1"),
        ("{{ 'x' * 10**10 }}", "the chat template fails: it needs too much memory"),
        (
            "{% set n = namespace(s='x') %}{% for i in range(99) %}{% set n.s = n.s ~ n.s %}"
            "{% endfor %}{{ n.s }}",
            "the chat template fails: it needs too much memory",
        ),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "fails: it is nested too deeply"),
        ("{% if", "the chat template fails in line 1"),
        ("{{ raise_exception('\x1b[2Jno') }}", r"refuses the conversation: \x1b[2Jno"),
        ("x" * 2_000_000, "has 2,000,000 bytes; at most 1,048,576 are read"),
        (b"\xff\xfe", "chat_template.jinja: damaged: not UTF-8 at byte 0"),
    ],
    ids=lambda value: repr(value[:40]),
)
def test_a_template_that_is_up_to_something(source, phrase, checkpoint, generate):
    content = source if isinstance(source, bytes) else source.encode()
    (checkpoint / "chat_template.jinja").write_bytes(content)

    assert refused(generate("--chat"), BAD_DATA, phrase)


def test_an_endless_template_is_ended(checkpoint, llmctl, monkeypatch):
    monkeypatch.setitem(TemplateRenderer.__init__.__kwdefaults__, "time_limit_seconds", 0.3)
    loop = "{% for a in range(99999) %}" * 3 + "{% endfor %}" * 3
    (checkpoint / "chat_template.jinja").write_text(loop, encoding="utf-8")

    result = llmctl("generate", "你好", "-m", checkpoint, "--chat")

    assert result.exit_code == BAD_DATA
    assert result.stderr == "llmctl: the chat template takes more than 0.3 s\n"
    assert result.stdout == ""


def test_a_template_is_not_looked_at_unless_asked_for(checkpoint, generate):
    (checkpoint / "chat_template.jinja").write_text("{% if", encoding="utf-8")

    assert generate().exit_code == 0
