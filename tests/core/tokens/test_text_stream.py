"""TextStream: whole characters only, and in all what decode gives."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from llmctl.core.tokens.text_stream import TextStream


def single_bytes(tokenizer, content):
    """The ids that stand for one byte each."""
    of_byte = {tokenizer.token_bytes(token): token for token in range(1, 257)}
    return [of_byte[bytes([byte])] for byte in content]


def pushed(tokenizer, ids):
    stream = TextStream(tokenizer)
    return [*(stream.push(token) for token in ids), stream.finish()]


def test_gives_a_character_with_its_last_byte(small_tokenizer):
    ids = single_bytes(small_tokenizer, "a世𠮷".encode())

    assert pushed(small_tokenizer, ids) == ["a", "", "", "世", "", "", "", "𠮷", ""]


def test_end_within_a_character_is_a_replacement(small_tokenizer):
    ids = single_bytes(small_tokenizer, "世".encode()[:2])

    assert pushed(small_tokenizer, ids) == ["", "", "\ufffd"]


def test_bytes_that_are_no_text_become_replacements(small_tokenizer):
    ids = single_bytes(small_tokenizer, b"\xff\xe4a")

    assert pushed(small_tokenizer, ids) == ["\ufffd", "", "\ufffda", ""]


def test_special_token_gives_nothing_and_keeps_what_waits(small_tokenizer):
    first, second, third = single_bytes(small_tokenizer, "世".encode())

    assert pushed(small_tokenizer, [first, 0, second, third]) == ["", "", "", "世", ""]


def test_starts_afresh_after_the_end(small_tokenizer):
    stream = TextStream(small_tokenizer)
    first, *_ = single_bytes(small_tokenizer, "世".encode())
    stream.push(first)

    assert stream.finish() == "\ufffd"
    assert stream.finish() == ""


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_pieces_join_to_what_decode_gives(small_tokenizer, data):
    ids = data.draw(st.lists(st.integers(0, small_tokenizer.vocab_size - 1), max_size=20))

    assert "".join(pushed(small_tokenizer, ids)) == small_tokenizer.decode(ids)


@settings(max_examples=50, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_text_never_shows_a_replacement_of_its_own(small_tokenizer, text):
    pieces = pushed(small_tokenizer, small_tokenizer.encode(text))

    assert "".join(pieces) == text
    assert pieces[-1] == ""
