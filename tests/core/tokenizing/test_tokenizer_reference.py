"""resolve_tokenizer: every form of a tokenizer, wherever it lies, and what ends a document."""

from __future__ import annotations

import base64
import json

import pytest
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, pre_tokenizers

from llmctl.core.errors import DataError, MissingInputError, RecipeError
from llmctl.core.tokenizing.tokenizer_reference import resolve_tokenizer
from llmctl.core.tokens.rank_file import PATTERNS
from llmctl.core.tokens.token_decoder import byte_characters
from llmctl.core.tokens.tokenizer import END_OF_TEXT

VOCAB = {character: byte for byte, character in byte_characters().items()} | {"ab": 256}
RANKS = b"".join(base64.b64encode(bytes([byte])) + b" %d\n" % byte for byte in range(256))
RANKS += base64.b64encode(b"ab") + b" 256\n"
PAIR = {"vocab.json": json.dumps(VOCAB).encode(), "merges.txt": b"#version: 0.2\na b\n"}
TEXT = "ab 世界 12"
IDS = [256, *b" ", *"世界".encode(), *b" 12"]


def tokenizer_json(*specials):
    backend = Backend(models.BPE(vocab=VOCAB, merges=[("a", "b")]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(list(specials))
    return backend.to_str().encode()


JSON = {"tokenizer.json": tokenizer_json(END_OF_TEXT)}


def fill(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A recipe's folder, and the runs elsewhere."""
    monkeypatch.setenv("LLMCTL_RUNS", str(tmp_path / "runs"))
    return fill(tmp_path / "配方", {})


@pytest.mark.parametrize(
    ("files", "reference", "names"),
    [
        pytest.param({"my.json": JSON["tokenizer.json"]}, "my.json", ["my.json"], id="any name"),
        pytest.param(JSON, ".", ["tokenizer.json"], id="a directory"),
        pytest.param(PAIR, ".", ["vocab.json", "merges.txt"], id="a pair in a directory"),
        pytest.param(PAIR, "vocab.json", ["vocab.json", "merges.txt"], id="half a pair"),
        pytest.param(PAIR, "merges.txt", ["vocab.json", "merges.txt"], id="the other half"),
        pytest.param(
            {"encoder.json": PAIR["vocab.json"], "vocab.bpe": PAIR["merges.txt"]},
            "vocab.bpe",
            ["encoder.json", "vocab.bpe"],
            id="OpenAI's names",
        ),
        pytest.param({**PAIR, **JSON}, ".", ["tokenizer.json"], id="tokenizer.json comes first"),
    ],
)
def test_forms(place, files, reference, names):
    fill(place, files)
    source = resolve_tokenizer(reference, place)

    assert [path.relative_to(place).name for path in source.files] == names
    assert source.tokenizer.encode(TEXT) == IDS
    assert source.end_token == END_OF_TEXT
    if len(names) == 1:
        assert source.content == files[names[0]]


@pytest.mark.parametrize("name", ["my.tiktoken", "ranks.txt", "tokenizer.model"])
def test_rank_files(place, name):
    fill(place, {name: RANKS})
    source = resolve_tokenizer(name, place, pretokenizer="qwen2")

    assert source.tokenizer.encode(TEXT) == IDS
    assert json.loads(source.content)["pre_tokenizer"]["pretokenizers"][0]["pattern"] == {
        "Regex": PATTERNS["qwen2"]
    }
    with pytest.raises(RecipeError, match=r"name it with tokenize\.pretokenizer"):
        _ = resolve_tokenizer(name, place).tokenizer


def test_a_rank_file_alone_in_a_directory(place):
    fill(place, {"x.tiktoken": RANKS})

    source = resolve_tokenizer(".", place, pretokenizer="gpt2")
    assert source.tokenizer.encode(TEXT) == IDS
    fill(place, {"y.tiktoken": RANKS})
    with pytest.raises(MissingInputError, match="no tokenizer here"):
        resolve_tokenizer(".", place)


def test_a_pair_may_be_cut_otherwise(place):
    fill(place, PAIR)
    source = resolve_tokenizer("vocab.json", place, pretokenizer="cl100k")

    assert (
        PATTERNS["cl100k"]
        in json.loads(source.content)["pre_tokenizer"]["pretokenizers"][0]["pattern"].values()
    )
    assert source.tokenizer.encode(TEXT) == IDS


def test_a_tokenizer_json_is_not_cut_otherwise(place):
    fill(place, JSON)

    with pytest.raises(RecipeError, match=r"pretokenizer: .*tokenizer\.json tells itself how"):
        _ = resolve_tokenizer("tokenizer.json", place, pretokenizer="gpt2").tokenizer


@pytest.mark.parametrize("kind", ["model", "shards"])
def test_a_run_by_its_name(place, tmp_path, kind):
    found = fill(tmp_path / "runs" / "跑" / kind, JSON)

    assert resolve_tokenizer("跑", place).files == [found / "tokenizer.json"]
    assert resolve_tokenizer(str(tmp_path / "runs" / "跑"), place).directory == found


def test_a_path_beside_the_recipe_comes_before_a_run(place, tmp_path):
    fill(tmp_path / "runs" / "跑" / "model", JSON)
    fill(place / "跑", JSON)

    assert resolve_tokenizer("跑", place).directory == place / "跑"


@pytest.mark.parametrize(
    ("files", "fetched"),
    [
        (JSON | {"tokenizer.model": b"x"}, {"tokenizer.json"}),
        (PAIR, {"vocab.json", "merges.txt"}),
        ({"tokenizer.model": RANKS}, {"tokenizer.model"}),
    ],
)
def test_of_the_hub_only_the_tokenizer_is_downloaded(place, fake_hub, files, fetched):
    settings = {"config.json": b"{}", "chat_template.jinja": b"x"}
    weights = {"model.safetensors": b"x" * 1000, "model.py": b"x", "pytorch_model.bin": b"x"}
    fake_hub.repositories["a/b"] = {**weights, **settings, **files}
    source = resolve_tokenizer("a/b", place, pretokenizer="gpt2" if len(files) == 1 else None)

    assert source.vocabulary[0].read_bytes() == files[source.vocabulary[0].name]
    assert set(fake_hub.fetched) == fetched | settings.keys()
    assert {path.name for path in source.files} == fetched | settings.keys()
    fake_hub.repositories.clear()
    assert resolve_tokenizer("a/b", place).files == source.files  # from the cache


def test_a_repository_without_a_tokenizer(place, fake_hub):
    fake_hub.repositories["a/b"] = {"model.safetensors": b"x"}

    with pytest.raises(MissingInputError, match=r"it holds no tokenizer; name the path of a token"):
        resolve_tokenizer("a/b", place)


def test_where_there_is_none_it_says_what_it_looked_for(place):
    with pytest.raises(
        MissingInputError,
        match=r"无: no tokenizer here; looked for tokenizer\.json, vocab\.json with merges\.txt, "
        r"or a file of tiktoken ranks in .*配方/无, .*model, .*runs/无/model and .*runs/无/shards",
    ):
        resolve_tokenizer("无", place)


@pytest.mark.parametrize("given", sorted(PAIR))
def test_half_a_pair(place, given):
    fill(place, {given: PAIR[given]})
    [other] = PAIR.keys() - {given}

    with pytest.raises(MissingInputError, match=f"{given}: {other} is not beside it"):
        resolve_tokenizer(given, place)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "tokenizer.model",
            b"\n\x0e\n\x05<unk>\x15",
            "a SentencePiece model, which is not read; wr",
        ),
        ("spm.bin", b"\n\x0e\n\x05<unk>\x15", "a SentencePiece model, which is not read"),
        ("vocab.txt", b"[PAD]\n[UNK]\n", r"no tokenizer: expected .* it begins b'\[PAD\]"),
        ("empty", b"", "no tokenizer: expected"),
    ],
)
def test_what_is_no_tokenizer(place, name, content, message):
    fill(place, {name: content})

    with pytest.raises(DataError, match=message):
        resolve_tokenizer(name, place)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state["model"]["vocab"].update(x=2**32), "damaged, or no tokenizer.json"),
        (lambda state: state["model"]["merges"].append(["q", "zz"]), "out of vocabulary"),
        (lambda state: state["model"].update(vocab=[1]), "damaged, or no tokenizer.json"),
        (
            lambda state: state["added_tokens"][0].update(id=5000),
            r"it says that '<\|endoftext\|>' is 5,000, but among its entries that is 257",
        ),
    ],
)
def test_a_damaged_tokenizer_json(place, change, message):
    state = json.loads(JSON["tokenizer.json"])
    change(state)
    fill(place, {"x.json": json.dumps(state).encode()})

    with pytest.raises(DataError, match=message):
        _ = resolve_tokenizer("x.json", place).tokenizer


def dumped(**content):
    return json.dumps(content).encode()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        pytest.param({}, END_OF_TEXT, id="the usual one"),
        pytest.param({"tokenizer_config.json": dumped(eos_token="<b>")}, "<b>", id="by name"),
        pytest.param(
            {"special_tokens_map.json": dumped(eos_token={"content": "<b>"})},
            "<b>",
            id="as a token",
        ),
        pytest.param({"generation_config.json": dumped(eos_token_id=[259, 258])}, "<b>", id="ids"),
        pytest.param({"config.json": dumped(eos_token_id=259)}, "<b>", id="the model's"),
        pytest.param(
            {
                "tokenizer_config.json": dumped(eos_token="<a>"),
                "generation_config.json": dumped(eos_token_id=259),
            },
            "<a>",
            id="the tokenizer's before the model's",
        ),
        pytest.param(
            {"tokenizer_config.json": dumped(eos_token="<c>")}, END_OF_TEXT, id="not there"
        ),
        pytest.param({"config.json": dumped(eos_token_id=97)}, END_OF_TEXT, id="not special"),
        pytest.param({"config.json": dumped(eos_token_id=10**6)}, END_OF_TEXT, id="beyond"),
        pytest.param({"config.json": dumped(eos_token_id=[])}, END_OF_TEXT, id="none"),
    ],
)
def test_what_ends_a_document(place, settings, expected):
    fill(place, {"tokenizer.json": tokenizer_json(END_OF_TEXT, "<a>", "<b>"), **settings})

    for reference in (".", "tokenizer.json"):
        source = resolve_tokenizer(reference, place)
        assert source.end_token == expected
        assert source.chat_template_directory == source.directory
        assert {path.name for path in source.files} == {"tokenizer.json", *settings}


def test_a_file_on_its_own_has_nothing_to_do_with_its_neighbours(place):
    fill(place, {"my.json": tokenizer_json("<a>", "</s>"), "config.json": dumped(eos_token_id=257)})
    source = resolve_tokenizer("my.json", place)

    assert source.end_token == "</s>"
    assert source.chat_template_directory is None


def test_the_end_that_was_asked_for(place):
    fill(place, {"x.json": tokenizer_json(END_OF_TEXT, "<|im_end|>")})

    assert resolve_tokenizer("x.json", place, end_token="<|im_end|>").end_token == "<|im_end|>"
    with pytest.raises(
        RecipeError, match=r"end_token: '<im_end>' is not in .* tokens are <\|im_end\|>, <\|endofte"
    ):
        _ = resolve_tokenizer("x.json", place, end_token="<im_end>").end_token


def test_without_any_end_it_asks_for_one(place):
    fill(place, {"x.json": tokenizer_json("<a>")})

    with pytest.raises(RecipeError, match=r"tokenize\.end_token \(its special tokens: <a>\)"):
        _ = resolve_tokenizer("x.json", place).end_token
