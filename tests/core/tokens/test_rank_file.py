"""Files of tiktoken ranks: merges found again by hand, and tiktoken's own ids for any text."""

from __future__ import annotations

import base64
import json

import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st

from llmctl.core.errors import DataError, MissingInputError, RecipeError
from llmctl.core.tokens import rank_file
from llmctl.core.tokens.rank_file import PATTERNS, is_rank_file, read_rank_file
from llmctl.core.tokens.tokenizer import Tokenizer
from llmctl.core.tokens.tokenizer_training import END_OF_TEXT

BYTES = [bytes([byte]) for byte in range(256)]
LEARNT = [b"ab", b"th", b"the", b" the", b"\n\n", b"  ", "世".encode()[:2], "世".encode(), b"abab"]


def written(folder, ranks, name="ranks.tiktoken"):
    path = folder / name
    path.write_bytes(b"".join(base64.b64encode(t) + b" %d\n" % rank for t, rank in ranks.items()))
    return path


def ranks_of(*learnt):
    return {token: rank for rank, token in enumerate([*BYTES, *learnt])}


@pytest.mark.parametrize(
    ("learnt", "token", "expected"),
    [
        pytest.param([b"ab"], b"ab", (b"a", b"b"), id="two bytes"),
        pytest.param([b"bc", b"abc"], b"abc", (b"a", b"bc"), id="what is lower is merged first"),
        pytest.param([b"ab", b"bc", b"abc"], b"abc", (b"ab", b"c"), id="the lowest of two"),
        pytest.param([b"aa", b"aaa"], b"aaa", (b"aa", b"a"), id="the leftmost of equals"),
        pytest.param([b"abc", b"bc"], b"abc", None, id="what is higher does not count"),
        pytest.param([b"ab", b"cd", b"abcd"], b"abcd", (b"ab", b"cd"), id="both sides merged"),
    ],
)
def test_the_merge_of_a_token_by_hand(learnt, token, expected):
    assert rank_file._merge_of(token, ranks_of(*learnt)) == expected


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    path = written(tmp_path_factory.mktemp("ranks"), ranks_of(*LEARNT, b"xyzw"))
    content = read_rank_file(path, pretokenizer="cl100k")
    encoding = tiktoken.Encoding(
        "x",
        pat_str=PATTERNS["cl100k"],
        mergeable_ranks=ranks_of(*LEARNT, b"xyzw"),
        special_tokens={},
    )
    return Tokenizer.from_json(content.encode(), "ranks"), encoding


@settings(max_examples=200, deadline=None)
@given(text=st.text("abthe世 \nxyzw1.", max_size=30) | st.text(max_size=20))
def test_any_text_has_the_ids_of_tiktoken(both, text):
    tokenizer, encoding = both
    text = text.encode("utf-8", "ignore").decode()

    assert tokenizer.encode(text) == encoding.encode_ordinary(text)
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_a_token_out_of_the_merges_reach_is_a_whole_piece_only(both):
    tokenizer, _ = both
    whole = 256 + len(LEARNT)

    assert tokenizer.encode("xyzw") == [whole]
    assert tokenizer.encode("xyzwa") == list(b"xyzwa")


def test_the_end_of_text_takes_the_next_id(both):
    tokenizer, _ = both

    assert tokenizer.end_of_text_id == 256 + len(LEARNT) + 1
    assert tokenizer.special_ids == {tokenizer.end_of_text_id}
    assert tokenizer.end_of_text_id not in tokenizer.encode(END_OF_TEXT)


@pytest.mark.parametrize(
    ("name", "num_ranks", "pretokenizer", "ids"),
    [
        ("cl100k_base.tiktoken", 100_256, "cl100k", {END_OF_TEXT: 100_257}),
        ("o200k_base.tiktoken", 199_998, "o200k", {END_OF_TEXT: 199_999}),
        ("r50k_base.tiktoken", 50_256, "gpt2", {END_OF_TEXT: 50_256}),
        ("gpt2.tiktoken", 50_256, "gpt2", {END_OF_TEXT: 50_256}),
        ("p50k_base.tiktoken", 50_280, "gpt2", {END_OF_TEXT: 50_256}),
        ("Qwen.tiktoken", 151_643, "qwen2", {END_OF_TEXT: 151_643, "<|im_end|>": 151_645}),
        ("tokenizer.model", 128_000, "llama3", {"<|end_of_text|>": 128_001}),
    ],
)
def test_published_files_are_known_by_name_and_size(name, num_ranks, pretokenizer, ids):
    found = rank_file._published(name, num_ranks)

    assert found.pretokenizer == pretokenizer
    assert ids.items() <= found.special_tokens.items()
    assert rank_file._published(name, num_ranks + 1) is None
    assert rank_file._published("other", num_ranks) is None


def test_a_published_file_has_its_pretokenizer_and_its_special_ids(tmp_path, monkeypatch):
    known = rank_file._Published("small", 257, "qwen2", {END_OF_TEXT: 256, "<|x|>": 300})
    monkeypatch.setattr(rank_file, "_PUBLISHED", (known,))
    # The end of text stands among the ranks, as in p50k_base; between 257 and 300 is nothing.
    path = written(tmp_path, {**ranks_of(), b"ab": 257}, "small.tiktoken")
    content = read_rank_file(path)
    tokenizer = Tokenizer.from_json(content.encode(), "small")

    assert tokenizer.special_ids == {256, 300}
    assert tokenizer.encode("ab12") == [257, *b"12"]
    assert tokenizer.decode([256, 257, 280, 300]) == "ab"
    regex = json.loads(content)["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"]
    assert regex == PATTERNS["qwen2"]
    other = json.loads(read_rank_file(path, pretokenizer="gpt2"))
    regex = other["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"]
    assert regex == PATTERNS["gpt2"]
    assert len(other["added_tokens"]) == 2


def test_an_unknown_file_asks_for_the_pretokenizer(tmp_path):
    path = written(tmp_path, ranks_of(*LEARNT), "cl100k_base.tiktoken")  # too few ranks

    with pytest.raises(RecipeError, match=r"265 ranks .* name it with tokenize\.pretokenizer: llm"):
        read_rank_file(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", "no token for the byte 0x00 and 255 others", id="empty"),
        pytest.param(b"YQ== 0\nYg==", r":2: expected a token in base64 .* b'Yg=='", id="cut off"),
        pytest.param(b"YQ== 0\nYg== 0\n", ":2: the rank 0 comes twice", id="rank twice"),
        pytest.param(b"YQ== 0\nYQ== 1\n", "1 tokens come twice", id="token twice"),
        pytest.param(b"YQ 0\n", ":1: expected a token in base64", id="no base64"),
        pytest.param(b"YQ== -1\n", ":1: expected a token in base64", id="negative"),
        pytest.param(b"YQ== 4294967295\n", "the rank 4,294,967,295 is beyond 32 bits", id="large"),
        pytest.param(b"YQ== 0\n", "no token for the byte 0x00 and 254 others", id="bytes missing"),
    ],
)
def test_refuses_a_damaged_file(tmp_path, content, message):
    path = tmp_path / "ranks.tiktoken"
    path.write_bytes(content)

    with pytest.raises(DataError, match=message):
        read_rank_file(path, pretokenizer="gpt2")


def test_refuses_a_missing_file(tmp_path):
    assert not is_rank_file(tmp_path / "no.tiktoken")
    with pytest.raises(MissingInputError, match="No such file"):
        read_rank_file(tmp_path / "no.tiktoken")


@pytest.mark.parametrize(("content", "expected"), [(b"IQ== 0\r\n", True), (b"a b\n", False)])
def test_a_rank_file_is_known_by_its_first_line(tmp_path, content, expected):
    path = tmp_path / "x"
    path.write_bytes(content)

    assert is_rank_file(path) is expected
