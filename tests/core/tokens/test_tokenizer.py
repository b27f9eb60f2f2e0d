"""Tokenizer: lossless on every text, special tokens as text, damaged files refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import models

from llmctl.core.errors import DataError, MissingInputError
from llmctl.core.tokens.tokenizer import END_OF_TEXT, Tokenizer, byte_characters

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


def state_of(tokenizer, **changes):
    return json.dumps({**json.loads(tokenizer._backend.to_str()), **changes})


def written(folder, content):
    path = folder / "tokenizer.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@settings(max_examples=200, deadline=None)
@given(text=ANY_TEXT)
def test_lossless_on_any_text(small_tokenizer, text):
    ids = small_tokenizer.encode(text)

    assert small_tokenizer.decode(ids) == text
    assert b"".join(map(small_tokenizer.token_bytes, ids)) == text.encode()
    assert small_tokenizer.byte_lengths()[ids].sum() == len(text.encode())
    assert small_tokenizer.end_of_text_id not in ids


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("𠮷野家 𪚥", id="Han of extension B"),
        pytest.param("👩‍❤️‍👩 1️⃣ 🏳️‍🌈", id="emoji with joiners"),
        pytest.param("a\rb\r\nc\n\rd", id="lone carriage returns"),
        pytest.param("a\x00b\x00", id="NUL"),
        pytest.param("ﬁ ＡＢＣ Å Å", id="compatibility forms stay"),
        pytest.param("  leading and trailing \t ", id="blanks at the ends"),
        pytest.param(f"a{END_OF_TEXT}{END_OF_TEXT}b <|endoftext", id="literal special tokens"),
        pytest.param("", id="nothing"),
    ],
)
def test_lossless_on_what_others_lose(small_tokenizer, text):
    assert small_tokenizer.decode(small_tokenizer.encode(text)) == text
    assert small_tokenizer.end_of_text_id not in small_tokenizer.encode(text)


def test_one_by_one_and_in_a_batch_are_the_same(small_tokenizer):
    texts = ["The world", "", "世界很大", END_OF_TEXT]

    assert small_tokenizer.encode_batch(texts) == [small_tokenizer.encode(text) for text in texts]


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_decodes_any_ids_as_the_library_does(small_tokenizer, data):
    ids = data.draw(st.lists(st.integers(0, small_tokenizer.vocab_size - 1), max_size=12))

    expected = small_tokenizer._backend.decode(ids, skip_special_tokens=True)
    assert small_tokenizer.decode(ids) == expected


def test_bytes_of_tokens(small_tokenizer):
    assert small_tokenizer.end_of_text_id == 0
    assert small_tokenizer.token_bytes(0) == b""
    assert small_tokenizer.token_bytes(1) == b"!"
    single = {small_tokenizer.token_bytes(token) for token in range(1, 257)}
    assert single == {bytes([byte]) for byte in range(256)}
    [world] = small_tokenizer.encode("世界")
    assert small_tokenizer.token_bytes(world) == "世界".encode()


def test_byte_lengths(small_tokenizer):
    lengths_V = small_tokenizer.byte_lengths()

    assert lengths_V.dtype == np.int32
    assert lengths_V.shape == (small_tokenizer.vocab_size,)
    assert lengths_V[0] == 0
    assert (lengths_V[1:257] == 1).all()
    assert (lengths_V[257:] >= 2).all()


def test_byte_characters_are_the_librarys():
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    byte_level = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)

    assert set(byte_characters().values()) == set(alphabet)
    for text in ("é", "\x00\xad ", "世"):
        [(shown, _)] = byte_level.pre_tokenize_str(text)
        assert shown == "".join(byte_characters()[byte] for byte in text.encode())


def test_file_round_trip(small_tokenizer, tmp_path):
    again = Tokenizer.from_file(written(tmp_path, state_of(small_tokenizer)))

    text = f"The world 世界 {END_OF_TEXT}"
    assert again.encode(text) == small_tokenizer.encode(text)


def test_truncation_and_padding_of_a_file_are_not_obeyed(small_tokenizer, tmp_path):
    limits = {
        "truncation": {
            "direction": "Right",
            "max_length": 2,
            "strategy": "LongestFirst",
            "stride": 0,
        },
        "padding": {
            "strategy": {"Fixed": 50},
            "direction": "Right",
            "pad_to_multiple_of": None,
            "pad_id": 0,
            "pad_type_id": 0,
            "pad_token": END_OF_TEXT,
        },
    }
    tokenizer = Tokenizer.from_file(written(tmp_path, state_of(small_tokenizer, **limits)))

    assert tokenizer.encode("The world is wide") == small_tokenizer.encode("The world is wide")


def test_added_tokens_stand_for_their_text_unless_special():
    backend = tokenizers.Tokenizer(models.BPE(vocab=full_vocab(), merges=[]))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.add_special_tokens([END_OF_TEXT, "<|user|>"])
    backend.add_tokens(["<工具>"])
    tokenizer = Tokenizer(backend)

    assert tokenizer.vocab_size == 256 + 3
    assert [tokenizer.token_bytes(token) for token in (256, 257, 258)] == [
        b"",
        b"",
        "<工具>".encode(),
    ]
    assert tokenizer.decode(tokenizer.encode("a<|user|><工具>")) == "a<|user|><工具>"
    assert 257 not in tokenizer.encode("a<|user|>")


def full_vocab():
    return {character: byte for byte, character in byte_characters().items()}


def test_an_id_that_the_vocabulary_skips_stands_for_nothing():
    backend = tokenizers.Tokenizer(models.BPE(vocab={**full_vocab(), END_OF_TEXT: 300}, merges=[]))
    backend.add_special_tokens([END_OF_TEXT])
    tokenizer = Tokenizer(backend)

    assert (tokenizer.vocab_size, tokenizer.end_of_text_id) == (301, 300)
    assert tokenizer.token_bytes(280) == b""


def test_refuses_half_a_character(small_tokenizer):
    with pytest.raises(DataError, match=r"half a character, U\+D800 at character 2"):
        small_tokenizer.encode_batch(["fine", "ab\ud800"])


@pytest.mark.parametrize("token", [-1, 10_000])
def test_refuses_an_id_outside_the_vocabulary(small_tokenizer, token):
    with pytest.raises(ValueError, match=f"the id {token}, expected 0 to "):
        small_tokenizer.token_bytes(token)


def test_refuses_a_missing_file(tmp_path):
    with pytest.raises(MissingInputError, match=r"tokenizer\.json: cannot be read: No such file"):
        Tokenizer.from_file(tmp_path / "tokenizer.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"\xff\xfe", "damaged: not UTF-8 at byte 0", id="not UTF-8"),
        pytest.param("", "damaged, or no tokenizer.json", id="empty"),
        pytest.param('{"model": {"type"', "damaged, or no tokenizer.json", id="cut off"),
        pytest.param("{}", "damaged, or no tokenizer.json", id="another JSON"),
    ],
)
def test_refuses_a_damaged_file(tmp_path, content, message):
    with pytest.raises(DataError, match=message) as refusal:
        Tokenizer.from_file(written(tmp_path, content))
    assert refusal.value.exit_code == 65
    assert "tokenizer.json" in str(refusal.value)


@pytest.mark.parametrize(
    ("vocab", "message"),
    [
        pytest.param({**full_vocab(), "▁the": 256}, "not a byte-level tokenizer.*'▁'", id="pieces"),
        pytest.param(full_vocab(), r"no token <\|endoftext\|>", id="no end of text"),
        pytest.param({"a": 0, END_OF_TEXT: 1}, "not a lossless.* 0x00 and 254", id="bytes missing"),
    ],
)
def test_refuses_another_kind_of_tokenizer(tmp_path, vocab, message):
    backend = tokenizers.Tokenizer(models.BPE(vocab=vocab, merges=[]))
    if END_OF_TEXT in vocab:
        backend.add_special_tokens([END_OF_TEXT])

    with pytest.raises(DataError, match=f"tokenizer.json: {message}"):
        Tokenizer.from_file(written(tmp_path, backend.to_str()))
