"""IdsDecoder: exact bytes, special tokens by name."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmctl.core.tokens.ids_decoder import IdsDecoder
from llmctl.core.tokens.tokenizer import END_OF_TEXT, Tokenizer

HARD = ["a  b\r\n\tc\0\u2028", " 世界，𠮷野家", "\ufeffé", f"a{END_OF_TEXT}b", ""]


def test_gives_the_bytes_of_incomplete_characters(small_tokenizer):
    of_byte = {small_tokenizer.token_bytes(token): token for token in range(1, 257)}
    ids = [of_byte[bytes([byte])] for byte in b"a\xe4\xb8"]

    assert IdsDecoder(small_tokenizer).text_bytes(ids) == b"a\xe4\xb8"


@pytest.mark.parametrize("text", HARD)
@pytest.mark.parametrize("recognise_specials", [False, True])
def test_what_was_encoded_comes_back(small_tokenizer, text, recognise_specials):
    (ids,) = small_tokenizer.encode_batch([text], recognise_specials=recognise_specials)

    assert (small_tokenizer.end_of_text_id in ids) == (recognise_specials and END_OF_TEXT in text)
    assert IdsDecoder(small_tokenizer).text_bytes(ids) == text.encode()


@pytest.mark.parametrize("token", [-1, 320, 2**32, 2**64])
def test_refuses_an_id_that_is_none(small_tokenizer, token):
    assert small_tokenizer.vocab_size == 320
    decoder = IdsDecoder(small_tokenizer)

    for _ in range(2):
        with pytest.raises(ValueError, match=f"the id {token}, of 320 entries"):
            decoder.text_bytes([1, token])


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_agrees_with_the_library(public_tokenizer, data):
    """`tokenizers` writes special tokens by name, too, unless told to skip them."""
    size = public_tokenizer.vocab_size
    ids = data.draw(st.lists(st.integers(0, size - 1), max_size=12))
    expected = public_tokenizer._backend.decode(ids, skip_special_tokens=False)

    found = IdsDecoder(public_tokenizer).text_bytes(ids).decode("utf-8", "replace")

    if "\ufffd" not in found:  # the library counts the bytes that are none differently
        assert found == expected


def test_a_vocabulary_may_skip_ids(gpt2_backend):
    gpt2_backend.add_tokens(["<工具>"])
    tokenizer = Tokenizer(gpt2_backend)

    assert tokenizer.has_id(tokenizer.vocab_size - 1)
    assert not tokenizer.has_id(tokenizer.vocab_size)
    assert IdsDecoder(tokenizer).text_bytes([tokenizer.vocab_size - 1]) == "<工具>".encode()
