"""Tokenizer: lossless on every text, special tokens as text, damaged files refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from llmctl.core.errors import DataError, MissingInputError
from llmctl.core.tokens.encoding_errors import encoding_errors
from llmctl.core.tokens.token_decoder import TokenDecoder, byte_characters
from llmctl.core.tokens.tokenizer import END_OF_TEXT, Tokenizer

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
    backend = byte_level(full_vocab())
    backend.add_special_tokens([END_OF_TEXT, "<|user|>"])
    backend.add_tokens(["<工具>", "café", "é"])
    tokenizer = Tokenizer(backend)

    assert tokenizer.vocab_size == tokenizer.num_entries == 256 + 4
    assert [tokenizer.token_bytes(token) for token in (256, 257, 258, 259)] == [
        b"",
        b"",
        "<工具>".encode(),
        "café".encode(),
    ]
    assert tokenizer.token_bytes(0xE9) == b"\xe9"
    assert tokenizer.special_ids == {256, 257}
    assert tokenizer.decode(tokenizer.encode("a<|user|><工具>")) == "a<|user|><工具>"
    assert 257 not in tokenizer.encode("a<|user|>")


def full_vocab():
    return {character: byte for byte, character in byte_characters().items()}


def byte_level(vocab):
    backend = tokenizers.Tokenizer(models.BPE(vocab=vocab, merges=[]))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return backend


def sentence_pieces():
    """<unk> <s> </s>, the bytes at 3 to 258, then ▁ a b ▁a at 259 to 262: Llama 2's layout."""
    byte_entries = [f"<0x{byte:02X}>" for byte in range(256)]
    entries = ["<unk>", "<s>", "</s>", *byte_entries, "▁", "a", "b", "▁a"]
    backend = tokenizers.Tokenizer(
        models.BPE(
            vocab={entry: token for token, entry in enumerate(entries)},
            merges=[("▁", "a")],
            unk_token="<unk>",
            byte_fallback=True,
        )
    )
    backend.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    backend.decoder = decoders.Sequence([*steps, decoders.Strip(" ", 1, 0)])
    backend.add_special_tokens(["<unk>", "<s>", "</s>"])
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )
    return Tokenizer(backend)


def test_sentence_pieces_by_hand():
    tokenizer = sentence_pieces()
    ids = [262, 259, 259, 261, 3 + 0xE4, 3 + 0xB8, 3 + 0x96, 3 + 0x0A]

    assert tokenizer.encode("a  b世\n") == ids
    assert [tokenizer.token_bytes(token) for token in (1, 259, 260, 262, 3 + 0xE4, 3 + 0x0A)] == [
        b"",
        b" ",
        b"a",
        b" a",
        b"\xe4",
        b"\n",
    ]
    assert tokenizer.decode(ids) == "a  b世\n"
    assert tokenizer.decode_continuation(ids) == " a  b世\n"
    lengths_V = tokenizer.byte_lengths()
    assert lengths_V.tolist() == [0, 0, 0, *[1] * 256, 1, 1, 1, 2]


def test_a_prompt_is_begun_and_a_rendered_chat_is_not():
    tokenizer = sentence_pieces()

    assert tokenizer.encode_prompt("a</s>") == [1, 262, 2]
    assert tokenizer.encode_rendered("<s>a</s>") == [1, 262, 2]
    assert tokenizer.encode("</s>") == [259, *(3 + byte for byte in b"</s>")]
    assert tokenizer.encode_prompt("") == [1]
    assert tokenizer.encode("") == []


def test_names_and_ids_of_entries():
    tokenizer = sentence_pieces()

    assert (tokenizer.id_of("<s>"), tokenizer.id_of("▁a"), tokenizer.id_of("c")) == (1, 262, None)
    assert tokenizer.special_ids == {0, 1, 2}
    assert tokenizer.end_of_text_id is None
    pieces = [tokenizer.piece(token) for token in (2, 262, 3 + 0xE4, 3 + 0x41, 500)]
    assert pieces == ["</s>", " a", "<0xE4>", "A", ""]


def test_a_piece_names_only_the_bytes_that_are_no_text():
    tokenizer = Tokenizer(byte_level({**full_vocab(), "aä": 256, "ä¸ĸä¸": 257}))

    assert tokenizer.piece(256) == "a<0xE4>"
    assert tokenizer.piece(257) == "世<0xE4><0xB8>"


def test_an_id_that_the_vocabulary_skips_stands_for_nothing():
    backend = byte_level({**full_vocab(), END_OF_TEXT: 300})
    backend.add_special_tokens([END_OF_TEXT])
    tokenizer = Tokenizer(backend)

    assert (tokenizer.vocab_size, tokenizer.num_entries) == (301, 257)
    assert tokenizer.end_of_text_id == 300
    assert tokenizer.token_bytes(280) == b""
    assert tokenizer.decode([97, 280, 5000]) == "a"


def test_opening_looks_at_no_entry(small_tokenizer, tmp_path, monkeypatch):
    path = written(tmp_path, state_of(small_tokenizer))
    asked = []
    monkeypatch.setattr(
        TokenDecoder, "token_bytes", lambda _self, entry: asked.append(entry) or b"?"
    )
    monkeypatch.setattr(Tokenizer, "vocab_size", property(lambda _self: asked.append("all")))
    tokenizer = Tokenizer.from_file(path)
    ids = tokenizer.encode_prompt("the the")

    assert asked == []
    assert tokenizer.decode(ids + ids) == "?" * 2 * len(ids)
    assert len(asked) == len(set(ids))


def test_the_pair_of_files_by_hand(tmp_path):
    vocab = {**full_vocab(), "ab": 256, END_OF_TEXT: 257}
    (tmp_path / "vocab.json").write_text(json.dumps(vocab), encoding="utf-8")
    (tmp_path / "merges.txt").write_text("#version: 0.2\na b\n", encoding="utf-8")
    tokenizer = Tokenizer.from_pair(tmp_path / "vocab.json", tmp_path / "merges.txt")

    assert tokenizer.encode("ab ba") == [256, 32, 98, 97]
    assert tokenizer.encode_prompt(f"ab{END_OF_TEXT}") == [256, 257]
    assert tokenizer.decode([256, 257, 32]) == "ab "


@pytest.mark.parametrize(
    ("vocab", "merges", "message"),
    [
        pytest.param(b"{", b"", "vocab.json and merges.txt: damaged, or not of one", id="cut off"),
        pytest.param(b'{"a": 0}', b"a b\n", "damaged, or not of one tokenizer", id="of another"),
        pytest.param(b"\xff", b"", "vocab.json: damaged: not UTF-8 at byte 0", id="vocabulary"),
        pytest.param(b"{}", b"a \xff", "merges.txt: damaged: not UTF-8 at byte 2", id="merges"),
    ],
)
def test_refuses_a_damaged_pair(tmp_path, vocab, merges, message):
    (tmp_path / "vocab.json").write_bytes(vocab)
    (tmp_path / "merges.txt").write_bytes(merges)

    with pytest.raises(DataError, match=message):
        Tokenizer.from_pair(tmp_path / "vocab.json", tmp_path / "merges.txt")


def test_refuses_half_a_pair(tmp_path):
    (tmp_path / "vocab.json").write_text("{}", encoding="utf-8")

    with pytest.raises(MissingInputError, match=r"merges\.txt: cannot be read: No such file"):
        Tokenizer.from_pair(tmp_path / "vocab.json", tmp_path / "merges.txt")


def test_refuses_a_text_for_which_there_are_no_tokens():
    backend = tokenizers.Tokenizer(models.Unigram([("a", -1.0)]))
    backend.decoder = decoders.Metaspace()

    with pytest.raises(DataError, match=r"the text cannot be encoded: .*unknown token"):
        Tokenizer(backend).encode("世")


def test_refuses_half_a_character(small_tokenizer):
    with pytest.raises(DataError, match=r"half a character, U\+D800 at character 2"):
        small_tokenizer.encode_batch(["fine", "ab\ud800"])


@pytest.mark.parametrize("ask", ["token_bytes", "piece"])
def test_refuses_a_negative_id(small_tokenizer, ask):
    with pytest.raises(ValueError, match="the id -1, expected 0 or more"):
        getattr(small_tokenizer, ask)(-1)


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
        pytest.param(full_vocab(), r"no token <\|endoftext\|>", id="no end of text"),
        pytest.param({"a": 0, END_OF_TEXT: 1}, "not a lossless.* 0x00 and 254", id="bytes missing"),
    ],
)
def test_shards_refuse_a_tokenizer_that_loses_text(tmp_path, vocab, message):
    backend = byte_level(vocab)
    if END_OF_TEXT in vocab:
        backend.add_special_tokens([END_OF_TEXT])
    path = written(tmp_path, backend.to_str())

    with pytest.raises(DataError, match=f"tokenizer.json: {message}"):
        Tokenizer.from_file(path, lossless=True)
    assert Tokenizer.from_file(path).encode("a")


def test_shards_refuse_sentence_pieces(tmp_path):
    path = written(tmp_path, state_of(sentence_pieces()))

    with pytest.raises(DataError, match=r"tokenizer\.json: not a byte-level tokenizer"):
        Tokenizer.from_file(path, lossless=True)


def test_refuses_a_decoder_that_it_does_not_understand(tmp_path):
    backend = byte_level(full_vocab())
    backend.decoder = decoders.WordPiece()

    with pytest.raises(DataError, match=r"tokenizer\.json: a decoder of the kind WordPiece"):
        Tokenizer.from_file(written(tmp_path, backend.to_str()))


def test_ours_loses_nothing(small_tokenizer):
    assert small_tokenizer.lossy_reason() is None


def test_sentence_pieces_by_hand_lose_nothing():
    assert sentence_pieces().lossy_reason() is None


def changed(backend, **parts):
    for name, part in parts.items():
        setattr(backend, name, part)
    return backend


def with_token(token):
    backend = byte_level(full_vocab())
    backend.add_tokens([token])
    return backend


@pytest.mark.parametrize(
    ("backend", "reason"),
    [
        pytest.param(
            changed(byte_level(full_vocab()), normalizer=normalizers.NFC()),
            "its normalizer NFC changes texts",
            id="composed",
        ),
        pytest.param(
            changed(
                byte_level(full_vocab()),
                normalizer=normalizers.Sequence([normalizers.Replace("a", "b")]),
            ),
            "its normalizer replaces {'String': 'a'} by 'b'",
            id="replaced",
        ),
        pytest.param(
            changed(
                byte_level(full_vocab()),
                pre_tokenizer=pre_tokenizers.Sequence(
                    [pre_tokenizers.Split("q", "removed"), pre_tokenizers.ByteLevel(False)]
                ),
            ),
            "where text is cut, something is removed",
            id="removed",
        ),
        pytest.param(
            changed(byte_level(full_vocab()), pre_tokenizer=pre_tokenizers.ByteLevel(True)),
            "the text 'a' comes back as ' a'",
            id="a blank put before",
        ),
        pytest.param(
            changed(byte_level(full_vocab()), pre_tokenizer=pre_tokenizers.WhitespaceSplit()),
            "the text ' a' comes back as 'a'",
            id="blanks taken away",
        ),
        pytest.param(
            with_token(tokenizers.AddedToken("<x>", lstrip=True)),
            "its token '<x>' takes the blanks beside it along",
            id="blanks beside a token",
        ),
        pytest.param(
            byte_level(dict(list(full_vocab().items())[1:])),
            "no token for the byte 0x21 and 0 others",
            id="a byte is missing",
        ),
        pytest.param(
            byte_level({**full_vocab(), "ab": 7}), "an id stands for several entries", id="id twice"
        ),
    ],
)
def test_why_not_every_text_comes_back(backend, reason):
    assert Tokenizer(backend).lossy_reason() == reason


def test_t5_loses_what_it_has_no_piece_for():
    backend = tokenizers.Tokenizer(models.Unigram([("<unk>", 0.0), ("▁a", -1.0)], unk_id=0))
    backend.normalizer = normalizers.Sequence([normalizers.Replace(" ", "▁")])
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    backend.add_special_tokens(["<unk>"])

    assert Tokenizer(backend).lossy_reason() == "no token for the byte 0x00 and 255 others"


def test_refuses_ids_beyond_all_that_is_sensible():
    tokenizer = Tokenizer(byte_level({**full_vocab(), "ab": 2**32 - 1}))

    assert tokenizer.encode("a") == [97]
    for ask in (tokenizer.lossy_reason, tokenizer.byte_lengths):
        with pytest.raises(DataError, match="the id 4,294,967,295, expected ids below 10,000,000"):
            ask()


def test_dropout_of_a_file_is_not_obeyed(small_tokenizer, tmp_path):
    state = json.loads(state_of(small_tokenizer))
    state["model"]["dropout"] = 0.9
    tokenizer = Tokenizer.from_file(written(tmp_path, json.dumps(state)))

    assert tokenizer.encode("The world is wide") == small_tokenizer.encode("The world is wide")


def test_an_expression_that_goes_back_without_end_is_an_error(tmp_path, capfd):
    backend = byte_level(full_vocab())
    backend.pre_tokenizer = pre_tokenizers.Split(tokenizers.Regex("(a+)+$"), "isolated")
    path = written(tmp_path, backend.to_str())

    with pytest.raises(DataError, match=rf"{path}: the text cannot .* over; it begins 'aaaaaa"):
        Tokenizer.from_file(path).encode_batch(["fine", "a" * 40 + "b"])
    assert "panicked" in capfd.readouterr().err


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_what_is_no_failure_of_the_library_passes(stop):
    with pytest.raises(stop), encoding_errors(["a"], "x", len):
        raise stop


def test_special_tokens_take_no_blanks_along_where_they_are_text():
    backend = byte_level(full_vocab())
    backend.add_special_tokens([tokenizers.AddedToken("<x>", lstrip=True, rstrip=True)])

    assert Tokenizer(backend).lossy_reason() is None
