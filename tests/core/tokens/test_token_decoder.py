"""TokenDecoder: each kind by hand, the texts as the library joins them, unknown kinds refused."""

from __future__ import annotations

import pytest
import tokenizers
from tokenizers import Regex, decoders

from llmctl.core.errors import DataError
from llmctl.core.tokens.token_decoder import TokenDecoder, byte_characters

LLAMA = decoders.Sequence(
    [
        decoders.Replace("▁", " "),
        decoders.ByteFallback(),
        decoders.Fuse(),
        decoders.Strip(" ", 1, 0),
    ]
)


@pytest.mark.parametrize(
    ("decoder", "entry", "content"),
    [
        pytest.param(decoders.ByteLevel(), "Ġthe", b" the", id="byte-level"),
        pytest.param(decoders.ByteLevel(), "ä¸", b"\xe4\xb8", id="part of a character"),
        pytest.param(decoders.ByteLevel(), "<工具>", "<工具>".encode(), id="added as text"),
        pytest.param(LLAMA, "▁the", b" the", id="a space"),
        pytest.param(LLAMA, "<0x0A>", b"\n", id="a byte"),
        pytest.param(LLAMA, "<0xe4>", b"\xe4", id="a byte in lower case"),
        pytest.param(LLAMA, "<0xE4>a", b"<0xE4>a", id="no byte entry"),
        pytest.param(decoders.Metaspace(), "▁▁a", b"  a", id="metaspace"),
        pytest.param(decoders.Metaspace("_", "never"), "_▁a", " ▁a".encode(), id="another mark"),
        pytest.param(decoders.Fuse(), "<0x0A>", b"<0x0A>", id="bytes only where the file says so"),
    ],
)
def test_bytes_of_an_entry(decoder, entry, content):
    assert TokenDecoder(decoder).token_bytes(entry) == content


@pytest.mark.parametrize(
    "decoder",
    [
        pytest.param(decoders.ByteLevel(), id="byte-level"),
        pytest.param(LLAMA, id="one space off"),
        pytest.param(
            decoders.Sequence([LLAMA, decoders.Strip(" ", 1, 2)]), id="sequences in a sequence"
        ),
        pytest.param(decoders.Metaspace(), id="metaspace"),
        pytest.param(decoders.Metaspace(prepend_scheme="never"), id="metaspace puts none"),
    ],
)
@pytest.mark.parametrize(
    "entries",
    [["▁a", "▁b"], ["▁▁▁a", "▁"], ["▁", "▁▁b", "▁▁▁"], ["a"], ["a", "▁b▁"]],
    ids="|".join,
)
def test_a_whole_text_is_what_the_library_makes_of_it(decoder, entries):
    ours = TokenDecoder(decoder)

    text = ours.whole_text([ours.token_bytes(entry) for entry in entries])
    assert text.decode() == decoder.decode(entries)


def test_the_first_token_of_a_text_is_the_first_that_is_text():
    assert TokenDecoder(decoders.Metaspace()).whole_text([b"", b"  a", b" b"]) == b"a b"
    assert TokenDecoder(decoders.Metaspace()).whole_text([b"", b""]) == b""


def test_byte_characters_are_the_librarys():
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    byte_level = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)

    assert set(byte_characters().values()) == set(alphabet)
    for text in ("é", "\x00\xad ", "世"):
        [(shown, _)] = byte_level.pre_tokenize_str(text)
        assert shown == "".join(byte_characters()[byte] for byte in text.encode())


@pytest.mark.parametrize(
    ("decoder", "message"),
    [
        pytest.param(None, "no decoder; expected ByteLevel", id="none"),
        pytest.param(decoders.WordPiece(), "of the kind WordPiece", id="joins by context"),
        pytest.param(decoders.CTC(), "of the kind CTC", id="drops repetitions"),
        pytest.param(decoders.BPEDecoder(), "of the kind BPEDecoder", id="the last differs"),
        pytest.param(decoders.Replace(Regex("a"), "b"), "of the kind Replace", id="a pattern"),
        pytest.param(decoders.Strip(" ", 1, 0), "of the kind Strip", id="of each token"),
        pytest.param(
            decoders.Sequence([decoders.ByteLevel(), decoders.Replace("a", "b")]),
            "with Replace after the tokens are joined",
            id="over the edges of tokens",
        ),
    ],
)
def test_refuses_what_is_not_told_token_by_token(decoder, message):
    with pytest.raises(DataError, match=message):
        TokenDecoder(decoder)
