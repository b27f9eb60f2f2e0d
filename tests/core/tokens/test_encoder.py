"""Encoders and the proof that they agree: equal ids, and a reason wherever they may not be."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, pre_tokenizers

from llmctl.core.errors import DataError, MissingInputError
from llmctl.core.tokens import encoder_proof
from llmctl.core.tokens.encoder import (
    EncodersDiffer,
    LibraryEncoder,
    TiktokenEncoder,
    mergeable_ranks,
)
from llmctl.core.tokens.encoder_proof import open_encoder, prove
from llmctl.core.tokens.pretokenizer_patterns import PATTERNS
from llmctl.core.tokens.token_decoder import byte_characters
from llmctl.core.tokens.tokenizer import END_OF_TEXT

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@pytest.fixture(scope="module")
def small_state(small_tokenizer):
    return json.loads(small_tokenizer.as_json())


@pytest.fixture
def few_characters(monkeypatch):
    """Unicode is gone through once for every expression, in a test of its own."""
    monkeypatch.setattr(encoder_proof, "_texts_of_all_characters", lambda: ())


def written(folder, state):
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(state, ensure_ascii=False), encoding="utf-8")
    return path


def byte_pairs(merges, **changes):
    """A model of the bytes and of merges, whose results follow in order."""
    vocab = {character: byte for byte, character in byte_characters().items()}
    for left, right in merges:
        vocab.setdefault(left + right, len(vocab))
    vocab |= changes.pop("vocab", {})
    return {
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True},
        "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True},
        "model": {"type": "BPE", "vocab": vocab, "merges": merges, **changes},
    }


@pytest.fixture(scope="module")
def both(small_state, tmp_path_factory):
    path = written(tmp_path_factory.mktemp("small"), small_state)
    return TiktokenEncoder(path), LibraryEncoder(path)


@settings(max_examples=100, deadline=None)
@given(texts=st.lists(ANY_TEXT, max_size=4))
def test_both_give_the_ids_of_the_tokenizer(both, small_tokenizer, texts):
    expected = small_tokenizer.encode_batch(texts)
    for encoder in both:
        ids, lengths = encoder.encode(texts)

        assert (ids.dtype, lengths.dtype) == (np.uint32, np.int64)
        assert lengths.tolist() == [len(each) for each in expected]
        assert ids.tolist() == [token for each in expected for token in each]


def test_special_tokens_stay_text(both, small_tokenizer):
    for encoder in both:
        ids, _ = encoder.encode([f"a{END_OF_TEXT}"])
        assert small_tokenizer.end_of_text_id not in ids


def test_half_a_character_is_refused_by_both(both):
    for encoder in both:
        with pytest.raises(DataError, match=r"half a character, U\+D800 at character 2"):
            encoder.encode(["fine", "ab\ud800"])


def test_a_check_tells_of_a_difference(both, small_state, tmp_path):
    both[0].check(["The world", "世界"])
    both[1].check(["The world"])
    small_state = json.loads(json.dumps(small_state))
    small_state["normalizer"] = {"type": "Lowercase"}
    encoder = TiktokenEncoder(written(tmp_path, small_state))

    encoder.check(["the world"])
    with pytest.raises(EncodersDiffer, match="differ on 'The world'"):
        encoder.check(["the world", "The world"])


def test_ours_is_proved_and_opened_as_such(small_state, tmp_path, few_characters):
    path = written(tmp_path, small_state)

    assert prove(path) == encoder_proof.Proof(True, "")
    assert isinstance(open_encoder(path, is_proved=True), TiktokenEncoder)
    assert isinstance(open_encoder(path, is_proved=False), LibraryEncoder)


def test_public_layouts_are_proved_or_told_why_not(public_file, few_characters):
    reasons = {
        "gpt2": "",
        "llama3": "",
        "olmo2": "",
        "qwen3": "texts are normalized",
        "smollm": "text is not cut by one expression",
        "unigram_llama": "the model is Unigram",
        "unigram_metaspace": "the model is Unigram",
    }
    reason = reasons.get(public_file.parent.name, "the model has byte_fallback")

    assert prove(public_file) == encoder_proof.Proof(not reason, reason)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model": {"dropout": 0.5}}, "the model has dropout"),
        ({"model": {"continuing_subword_prefix": "##"}}, "the model has continuing_subword_prefix"),
        ({"model": {"end_of_word_suffix": "</w>"}}, "the model has end_of_word_suffix"),
        ({"normalizer": {"type": "NFC"}}, "texts are normalized"),
        ({"added_tokens": "think"}, "'<think>' is looked for in texts"),
        ({"pre_tokenizer": {"type": "WhitespaceSplit"}}, "text is not cut by one expression"),
        ({"pre_tokenizer": {"add_prefix_space": True}}, "text is not cut by one expression"),
        ({"pre_tokenizer": {"use_regex": False}}, "text is not cut by one expression"),
        ({"post_processor": "twice"}, "ids are changed after merging"),
        ({"post_processor": {"type": "RobertaProcessing"}}, "ids are changed after merging"),
    ],
    ids=str,
)
def test_the_shape(change, reason):
    [(key, value)] = change.items()
    state = byte_pairs([])
    added = {"id": 256, "content": "<think>", "special": False}
    twice = [{"Sequence": {"id": "A", "type_id": 0}}] * 2
    values = {"think": [added], "twice": {"type": "TemplateProcessing", "single": twice}}
    is_part = isinstance(value, dict) and isinstance(state.get(key), dict)
    state[key] = {**state[key], **value} if is_part else values.get(str(value), value)
    found = encoder_proof._against_shape(state) or (
        "" if encoder_proof.cutting_pattern(state) else "text is not cut by one expression"
    )

    assert found.startswith(reason)


@pytest.mark.parametrize(
    ("merges", "changes", "reason"),
    [
        pytest.param(["ab", "bc"], {}, "", id="in order"),
        pytest.param(
            ["a b", "ab c"],
            {"vocab": {"ab": 257, "abc": 256}},
            "the ids of merged entries do not rise",
            id="ids out of order",
        ),
        pytest.param(
            ["b c", "a b", "ab c"],
            {},
            "merging does not lead to the entry 'abc'",
            id="bc is merged first, and abc never comes",
        ),
        pytest.param(["ab", "ab"], {}, "the ids of merged entries do not", id="a merge twice"),
        pytest.param([], {"vocab": {"xy": 256}}, "", id="an entry without merges stays out"),
        pytest.param(
            [],
            {"vocab": {"xy": 256}, "ignore_merges": True},
            "merging does not lead to the entry 'xy'",
            id="but as a whole piece it is known, and tiktoken merges two parts",
        ),
        pytest.param(
            [], {"vocab": {"xyz": 256}, "ignore_merges": True}, "", id="of three it never does"
        ),
        pytest.param([], {"vocab": {"<|终|>": 256}, "ignore_merges": True}, "", id="no bytes"),
        pytest.param([], {"vocab": {"a": 256}}, "", id="an id anywhere"),
    ],
)
def test_the_merges(merges, changes, reason):
    pairs = [tuple(merge.split(" ")) if " " in merge else tuple(merge) for merge in merges]
    model = byte_pairs(pairs, **changes)["model"]

    assert encoder_proof._against_merges(model).startswith(reason)
    assert bool(encoder_proof._against_merges(model)) is bool(reason)


def test_merges_need_every_byte():
    model = byte_pairs([])["model"]
    del model["vocab"]["a"]

    assert encoder_proof._against_merges(model) == "no entry for the byte 0x61"


@settings(max_examples=60, deadline=None)
@given(data=st.data(), ignore_merges=st.booleans())
def test_merges_that_are_proved_give_equal_ids(data, ignore_merges, tmp_path_factory):
    """Any list of merges over two letters: what is called proved must be equal everywhere."""
    known, merges = ["a", "b"], []
    for _ in range(data.draw(st.integers(1, 6))):
        merge = data.draw(st.tuples(st.sampled_from(known), st.sampled_from(known)))
        if merge not in merges:
            merges.append(merge)
            known.append("".join(merge))
    further = data.draw(st.lists(st.text("ab", min_size=2, max_size=5), max_size=2))
    vocab = {entry: 1000 + index for index, entry in enumerate(further) if entry not in known}
    state = byte_pairs(merges, vocab=vocab, ignore_merges=ignore_merges)
    if encoder_proof._against_merges(state["model"]):
        return
    path = written(tmp_path_factory.mktemp("merges"), state)
    texts = [f"{number:b}".replace("0", "a").replace("1", "b") for number in range(1, 256)]

    TiktokenEncoder(path).check(texts)


def test_old_files_write_a_merge_in_one_string():
    model = {"vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}

    assert mergeable_ranks(model) == {b"a": 0, b"b": 1, b"ab": 2}


@pytest.mark.parametrize(
    ("pattern", "read_as"),
    [
        ("cl100k", ("(?i:", "(?:")),
        ("cl100k", (r"\s+(?!\S)|", "")),
        ("cl100k", ("{1,3}", "{1,4}")),
        ("cl100k", (r"|\p{N}", r"|[\p{Nd}\p{Nl}]")),
        ("cl100k", (r"\p{L}+", r"[\p{L}&&[^ª]]+")),
        ("o200k", (r"[\r\n/]", r"[\r\n]")),
        ("o200k", (r"\p{Lt}", "")),
        ("llmctl", ("512", "500")),
        ("llmctl", (r"\u200D", "")),
        ("gpt2", (r"\s+(?!\S)|", "")),
    ],
)
def test_an_expression_that_is_read_otherwise_is_noticed(
    monkeypatch, few_characters, pattern, read_as
):
    monkeypatch.setattr(encoder_proof, "tiktoken", Misreading(PATTERNS[pattern], read_as))

    reason = encoder_proof.against_cuts(PATTERNS[pattern], "x")
    assert reason.startswith("tiktoken cuts otherwise within ")


class Misreading:
    """tiktoken, if it took one expression for another."""

    def __init__(self, pattern, read_as):
        self.pattern, self.read_as = pattern, read_as

    def Encoding(self, name, *, pat_str, **options):  # noqa: N802
        pat_str = pat_str.replace(*self.read_as) if pat_str == self.pattern else pat_str
        return tiktoken.Encoding(name, pat_str=pat_str, **options)


def test_a_letter_that_is_none_to_the_other_is_noticed_wherever_it_is(monkeypatch):
    pattern = PATTERNS["gpt2"]
    read_as = (r"\p{L}+", r"[\p{L}&&[^\u{1E900}\u{9FA5}]]+")
    monkeypatch.setattr(encoder_proof, "tiktoken", Misreading(pattern, read_as))

    assert encoder_proof.against_cuts(pattern, "x").startswith("tiktoken cuts otherwise within ")


def test_all_of_unicode_is_cut_alike():
    assert encoder_proof.against_cuts(PATTERNS["llmctl"], "x") == ""


@pytest.mark.slow
@pytest.mark.parametrize("name", PATTERNS)
def test_engines_agree_on_every_expression(name):
    assert encoder_proof.against_cuts(PATTERNS[name], "x") == ""


def test_what_is_known_of_other_versions_says_nothing(monkeypatch):
    assert encoder_proof.is_known_to_agree(PATTERNS["qwen2"])  # constraints.txt has these
    assert not encoder_proof.is_known_to_agree(PATTERNS["qwen2"] + "|a")
    monkeypatch.setattr(tiktoken, "__version__", "0.99.0")
    assert not encoder_proof.is_known_to_agree(PATTERNS["qwen2"])


def evil(pattern):
    state = byte_pairs([])
    split = pre_tokenizers.Split(Regex(pattern), "isolated")
    state["pre_tokenizer"] = {
        "type": "Sequence",
        "pretokenizers": [
            json.loads(split.__getstate__()),
            {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
        ],
    }
    for step in state["pre_tokenizer"]["pretokenizers"]:
        step.setdefault("trim_offsets", True)
    return state


def test_an_expression_that_goes_back_without_end_is_an_error(tmp_path, capfd):
    path = written(tmp_path, evil(r"(a+)+$|[\s\S]"))
    encoder = LibraryEncoder(path)

    for _ in range(2):  # and the library is as good as before
        assert encoder.encode(["aaa", "b"])[1].tolist() == [3, 1]
        with pytest.raises(DataError, match=r"tokenizer\.json: the text cannot be .* begins 'aaaa"):
            encoder.encode(["fine", "a" * 40 + "b"])
    assert "panicked" in capfd.readouterr().err


def test_tiktoken_gives_up_likewise(tmp_path, capfd):
    encoder = TiktokenEncoder(written(tmp_path, evil(r"(a|aa)+(?=c)|[\s\S]")))

    assert encoder.encode(["aac", "b"])[1].tolist() == [3, 1]
    with pytest.raises(DataError, match=r"tokenizer\.json: the text cannot be .* begins 'aaaa"):
        encoder.encode(["fine", "a" * 60 + "b"])


def test_an_expression_that_takes_too_long_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setattr(encoder_proof, "_PATIENCE_SECONDS", 0)

    with pytest.raises(DataError, match="its expression goes back over texts without end"):
        prove(written(tmp_path, evil(r"(a+)+|[\s\S]")))


def test_an_expression_that_rust_does_not_read_is_no_proof(tmp_path):
    state = evil(r"\p{In_Basic_Latin}+|[\s\S]")

    assert prove(written(tmp_path, state)).reason.startswith("tiktoken does not read the express")


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (None, MissingInputError, "cannot be read"),
        ("{", DataError, "damaged, or no tokenizer.json"),
        ('{"model": 1}', DataError, "damaged, or no tokenizer.json"),
    ],
)
@pytest.mark.parametrize("opened", [prove, TiktokenEncoder, LibraryEncoder])
def test_refuses_damaged_files(tmp_path, content, error, message, opened):
    path = tmp_path / "tokenizer.json"
    if content is not None:
        path.write_text(content)

    with pytest.raises(error, match=message):
        opened(path)


def test_tiktoken_refuses_what_it_does_not_know(tmp_path):
    state = byte_pairs([])
    with pytest.raises(DataError, match="not cut by one pattern"):
        TiktokenEncoder(written(tmp_path, {**state, "pre_tokenizer": None}))
    with pytest.raises(DataError, match="tiktoken does not take it"):
        TiktokenEncoder(written(tmp_path, evil(r"\p{In_Basic_Latin}+|[\s\S]")))


def test_ids_that_differ_in_the_end_are_no_proof(
    small_state, tmp_path, few_characters, monkeypatch
):
    path = written(tmp_path, small_state)
    honest = TiktokenEncoder.encode

    def one_more(encoder, texts):
        ids, lengths = honest(encoder, texts)
        return ids + 1, lengths

    monkeypatch.setattr(TiktokenEncoder, "encode", one_more)

    assert "tiktoken and tokenizers differ on" in prove(path).reason


@pytest.mark.parametrize("key", ["add_prefix_space", "use_regex"])
def test_what_follows_the_cutting_must_be_the_bytes_alone(key):
    state = evil(PATTERNS["gpt2"])
    assert encoder_proof.cutting_pattern(state) == PATTERNS["gpt2"]
    state["pre_tokenizer"]["pretokenizers"][1][key] = True

    assert encoder_proof.cutting_pattern(state) is None
