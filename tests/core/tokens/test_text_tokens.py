"""tokens_of, token_groups: where each token is from, and which of them share a character."""

from __future__ import annotations

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from llmctl.core.errors import DataError
from llmctl.core.tokens.text_tokens import TextToken, token_groups, tokens_of
from llmctl.core.tokens.token_decoder import byte_characters
from llmctl.core.tokens.tokenizer import Tokenizer


def byte_level(merges=(), *, normalizer=None):
    """The bytes at 0 to 255, then the merges; words' spaces are trimmed as Llama 3's file says."""
    of_byte = byte_characters()
    vocab = {character: byte for byte, character in of_byte.items()}
    named = [["".join(of_byte[byte] for byte in part) for part in pair] for pair in merges]
    vocab |= {"".join(pair): 256 + index for index, pair in enumerate(named)}
    backend = tokenizers.Tokenizer(models.BPE(vocab=vocab, merges=[tuple(pair) for pair in named]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.post_processor = processors.ByteLevel(trim_offsets=True)
    if normalizer is not None:
        backend.normalizer = normalizer
    backend.add_special_tokens(["<|end|>"])
    return Tokenizer(backend)


def stretches(tokens):
    return [(token.piece, token.start, token.end) for token in tokens]


def groups(tokenizer, text):
    return [
        ([token.piece for token in group.tokens], group.characters)
        for group in token_groups(tokens_of(tokenizer, text), text)
    ]


def test_a_part_of_a_character_is_from_all_of_it():
    tokenizer = byte_level([(b" ", b"a"), (b"\xe4", b"\xb8")])

    found = tokens_of(tokenizer, "b a世\r\n")

    assert stretches(found) == [
        ("b", 0, 1),
        (" a", 1, 3),
        ("<0xE4><0xB8>", 3, 4),
        ("<0x96>", 3, 4),
        ("\r", 4, 5),
        ("\n", 5, 6),
    ]
    assert found[2] == TextToken(257, "<0xE4><0xB8>", b"\xe4\xb8", 3, 4)
    assert [token.is_whole for token in found] == [True, True, False, False, True, True]


def test_a_special_token_stays_text():
    tokenizer = byte_level()

    assert [token.token_id for token in tokens_of(tokenizer, "<|end|>")] == list(b"<|end|>")
    assert tokenizer.encode_prompt("<|end|>") == [256]  # what it was told holds as before


def test_offsets_are_of_the_text_before_it_is_normalised():
    tokenizer = byte_level([(b"\xc3", b"\xa9")], normalizer=normalizers.NFC())

    assert stretches(tokens_of(tokenizer, "e\u0301a")) == [("é", 0, 1), ("a", 2, 3)]


def test_tokens_that_share_characters_are_together():
    # 世 is E4 B8 96, 界 is E7 95 8C.
    spread = byte_level([(b"\x96", b"\xe7"), (b"a", b"\xe4")])

    assert groups(spread, "aa世界b") == [
        (["a"], ""),
        (["a<0xE4>", "<0xB8>", "<0x96><0xE7>", "<0x95>", "<0x8C>"], "世界"),
        (["b"], ""),
    ]
    assert groups(byte_level(), "世世") == [
        (["<0xE4>", "<0xB8>", "<0x96>"], "世"),
        (["<0xE4>", "<0xB8>", "<0x96>"], "世"),
    ]
    assert groups(spread, "") == []


def test_a_space_put_first_is_no_part_of_a_character():
    tokens = [TextToken(1, " ", b" ", 0, 1), TextToken(2, "<0xE4>", b"\xe4", 0, 1)]
    tokens.append(TextToken(3, "<0xB8><0x96>", b"\xb8\x96", 0, 1))

    assert [group.characters for group in token_groups(tokens, "世")] == ["", "世"]
    assert len(token_groups([tokens[2], tokens[0]], "世")) == 2


def test_every_kind_of_tokenizer_is_left_as_it_was(public_tokenizer):
    expected = public_tokenizer.encode_prompt("The world 世界")

    tokens = tokens_of(public_tokenizer, "The world 世界")

    assert [token.token_id for token in tokens] == public_tokenizer.encode("The world 世界")
    assert (tokens[0].start, tokens[-1].end) == (0, 12)
    assert token_groups(tokens, "The world 世界")[-1].tokens[-1].end == 12
    assert public_tokenizer.encode_prompt("The world 世界") == expected


def test_refuses_half_a_character_and_what_the_vocabulary_lacks():
    with pytest.raises(DataError, match="half a character, U\\+D800 at character 1"):
        tokens_of(byte_level(), "a\ud800")

    backend = tokenizers.Tokenizer(models.WordLevel({"a": 0}, unk_token="<unk>"))
    backend.decoder = decoders.Fuse()
    with pytest.raises(DataError, match="cannot be encoded"):
        tokens_of(Tokenizer(backend), "b")


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=30))
def test_stretches_hold_exactly_the_bytes(small_tokenizer, text):
    tokens = tokens_of(small_tokenizer, text)

    assert [token.token_id for token in tokens] == small_tokenizer.encode(text)
    assert b"".join(token.content for token in tokens) == text.encode()
    position = 0
    for token in tokens:
        start = len(text.encode()[:position].decode("utf-8", "ignore"))
        position += len(token.content)
        end = len(text.encode()[:position].decode("utf-8", "replace"))
        assert (token.start, token.end) == (start, end)
    found = token_groups(tokens, text)
    assert [token for group in found for token in group.tokens] == tokens
    assert all(
        b"".join(token.content for token in group.tokens).decode().find(group.characters) >= 0
        for group in found
    )
