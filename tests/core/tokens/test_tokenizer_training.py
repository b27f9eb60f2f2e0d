"""Learning vocabularies: worked by hand for each kind, then what the docstrings promise."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st

from llmctl.core.errors import RecipeError
from llmctl.core.tokenize_plan import MAX_TRAINING_BYTES
from llmctl.core.tokens import tokenizer_training
from llmctl.core.tokens.pretokenizer_patterns import PATTERNS
from llmctl.core.tokens.token_decoder import byte_characters
from llmctl.core.tokens.tokenizer_training import END_OF_TEXT, TrainingRequest, cut, train

KINDS = ("bpe", "word", "character", "byte")
MIXED = [f"世界 word {number % 7} 词语 it's {number % 5}\n" for number in range(60)]
IM_START = "<|im_start|>"


def learnt(texts, vocab_size=300, min_frequency=2):
    """The merges in order, and the whole as JSON."""
    state = json.loads(train(texts, TrainingRequest(vocab_size, min_frequency)).to_str())
    return [tuple(merge) for merge in state["model"]["merges"]], state


def entries(tokenizer):
    """The learnt entries as text, in the order of their ids."""
    byte_of = {character: byte for byte, character in byte_characters().items()}
    names = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    num_special = len(tokenizer.get_added_tokens_decoder())
    return [
        bytes(byte_of[character] for character in name).decode()
        for name, _ in names[num_special + 256 :]
    ]


def ids(tokenizer, text):
    tokenizer.encode_special_tokens = True
    return tokenizer.encode(text, add_special_tokens=False).ids


# The pieces are "abab" and " abab". The pair a b stands there four times, b a twice; merged,
# ab ab twice; merged again, nothing is left twice. "Ġ" stands for the blank.
@pytest.mark.parametrize(
    ("min_frequency", "merges"),
    [
        pytest.param(2, [("a", "b"), ("ab", "ab")], id="pairs seen twice"),
        pytest.param(1, [("a", "b"), ("ab", "ab"), ("Ġ", "abab")], id="pairs seen once"),
        pytest.param(3, [("a", "b")], id="pairs seen three times"),
    ],
)
def test_matches_hand_worked_merges(min_frequency, merges):
    assert learnt(["abab abab"], min_frequency=min_frequency)[0] == merges


@pytest.mark.parametrize(
    ("kind", "min_frequency", "expected"),
    [
        pytest.param("word", 2, [" is", "世界"], id="words, the most frequent first"),
        pytest.param("word", 1, [" is", "世界", "This", "是"], id="words seen once"),
        pytest.param("character", 2, ["世", "界"], id="characters, equal ones by their names"),
        pytest.param("character", 1, ["世", "界", "是"], id="characters seen once"),
        pytest.param("byte", 1, [], id="bytes need no learning"),
    ],
)
def test_matches_hand_worked_entries(kind, min_frequency, expected):
    # A piece or character of one byte has its entry already.
    texts = ["This is世界,", "世界, is is是"]

    assert entries(train(texts, TrainingRequest(300, min_frequency, kind))) == expected


def test_words_and_characters_end_at_the_wanted_size():
    texts = ["aa bb cc 世界 世 世"] * 2

    assert entries(train(texts, TrainingRequest(259, 2, "character"))) == ["世", "界"]
    assert entries(train(texts, TrainingRequest(258, 2, "character"))) == ["世"]
    assert len(entries(train([*texts, '!"#$%&'], TrainingRequest(260, 1, "word")))) == 3


def test_of_equally_frequent_pairs_the_lower_ids_come_first():
    assert learnt(["zyab", "zyab"])[0][0] == ("a", "b")


@pytest.mark.parametrize("kind", KINDS)
def test_ids_are_special_tokens_then_bytes_then_what_is_learnt(kind):
    made = train(MIXED, TrainingRequest(320, 2, kind, special_tokens=(IM_START, END_OF_TEXT)))
    names = sorted(made.get_vocab().items(), key=lambda item: item[1])

    assert [name for name, _ in names[:2]] == [END_OF_TEXT, IM_START]
    assert {name for name, _ in names[2:258]} == set(byte_characters().values())
    assert [token for _, token in names] == list(range(len(names)))
    assert made.encode(f"{END_OF_TEXT}{IM_START}").ids == [0, 1]
    assert made.normalizer is None


@pytest.mark.parametrize("kind", KINDS)
def test_all_kinds_have_one_form(kind):
    state = json.loads(train(MIXED, TrainingRequest(300, 2, kind)).to_str())
    ours = json.loads(train(MIXED, TrainingRequest(300)).to_str())
    for each in (state, ours):
        del each["model"]["vocab"], each["model"]["merges"], each["model"]["ignore_merges"]
    if kind == "character":
        split = state["pre_tokenizer"]["pretokenizers"][0]
        assert split["pattern"].pop("Regex") == r"[\s\S]"
        ours["pre_tokenizer"]["pretokenizers"][0]["pattern"].pop("Regex")

    assert state == ours


@pytest.fixture(scope="module", params=KINDS)
def any_kind(request):
    return train(MIXED, TrainingRequest(290, 2, request.param, special_tokens=(IM_START,)))


@settings(max_examples=60, deadline=None)
@given(
    text=st.text() | st.text(st.sampled_from("世界wordIT's 12\n\r\t\x00<|im_start|>é\U0001f600"))
)
def test_every_text_comes_back(any_kind, text):
    assert any_kind.decode(ids(any_kind, text), skip_special_tokens=False) == text


def test_transformers_reads_every_kind(any_kind, tmp_path):
    from transformers import PreTrainedTokenizerFast

    any_kind.save(str(tmp_path / "tokenizer.json"))
    theirs = PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"))
    text = "世界很大 unknown é\r\n\x00"

    assert theirs(text)["input_ids"] == ids(any_kind, text)
    assert theirs.decode(ids(any_kind, text)) == text


@pytest.mark.parametrize("name", PATTERNS)
def test_tiktoken_takes_the_pattern_and_gives_the_same_ids(name):
    made = train(MIXED * 3, TrainingRequest(400, 2, "bpe", name))
    byte_of = {character: byte for byte, character in byte_characters().items()}
    ranks = {
        bytes(map(byte_of.__getitem__, entry)): token
        for entry, token in made.get_vocab().items()
        if entry != END_OF_TEXT
    }
    theirs = tiktoken.Encoding(
        name, pat_str=PATTERNS[name], mergeable_ranks=ranks, special_tokens={}
    )

    @settings(max_examples=60, deadline=None)
    @given(st.text(st.sampled_from("世界wordIT’'s é1½ 2\n\r\t\u3000，/!\x1c\u0301ー<|❤\ufe0f")))
    def same(text):
        assert theirs.encode_ordinary(text) == ids(made, text)

    same()


def test_vocabulary_ends_at_the_wanted_size():
    assert len(learnt(["abab abab"], vocab_size=258)[0]) == 1


def test_no_token_reaches_over_a_piece():
    merges, _ = learnt(["x，我，我" * 50], vocab_size=400)

    # In bytes: three for ，, three for 我, and no merge of both.
    assert len(merges) == 4


def test_pre_tokenizer_is_the_one_asked_for():
    made = train(["x，我，我" * 50], TrainingRequest(400, 2, "bpe", "cl100k"))

    assert "，我" in map(made.decode, ([token] for token in range(257, 267)))


def test_literal_special_token_is_learnt_from_as_text():
    merges, _ = learnt([END_OF_TEXT * 9], vocab_size=400)

    assert ("<", "|") in merges


@pytest.mark.parametrize("kind", KINDS)
def test_order_of_texts_does_not_matter(kind):
    request = TrainingRequest(320, 2, kind)

    assert train(MIXED, request).to_str() == train(MIXED[::-1], request).to_str()


def test_number_of_threads_does_not_matter():
    program = (
        "from llmctl.core.tokens.tokenizer_training import TrainingRequest, train\n"
        "texts = [f'世界 word {n % 7} 词语 {n % 91}' for n in range(2000)]\n"
        "print(train(texts, TrainingRequest(500)).to_str())"
    )
    made = [
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"RAYON_NUM_THREADS": number, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            check=True,
        ).stdout
        for number in ("1", "3")
    ]

    assert made[0] == made[1]


def test_long_texts_are_given_to_the_library_in_parts(monkeypatch):
    text = "".join(MIXED)
    whole = train([text], TrainingRequest(320)).to_str()
    monkeypatch.setattr(tokenizer_training, "_SEGMENT_CHARACTERS", 50)
    monkeypatch.setattr(tokenizer_training, "_BATCH_CHARACTERS", 200)
    given = list(tokenizer_training._batches([text, ""], TrainingRequest(320)))

    assert train([text], TrainingRequest(320)).to_str() == whole
    assert "".join(part for batch in given for part in batch) == text
    assert max(len(part) for batch in given for part in batch) < 100
    assert max(sum(map(len, batch)) for batch in given) < 300


def test_a_known_word_is_one_id_and_an_unknown_one_its_bytes():
    made = train(["the 世界", "the 世界"], TrainingRequest(300, 2, "word"))

    assert [made.decode([token]) for token in ids(made, "the the世界")] == ["the", *" the", "世界"]


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(st.text(st.sampled_from("ab世 "), min_size=8, max_size=40), min_size=1),
    kind=st.sampled_from(KINDS),
    sizes=st.tuples(st.integers(258, 290), st.integers(258, 290)).map(sorted),
)
def test_cut_is_what_training_at_that_size_gives(texts, kind, sizes):
    small, large = (
        train(texts, TrainingRequest(size, 1, kind, special_tokens=(IM_START,))) for size in sizes
    )

    assert cut(large, sizes[0]).to_str() == small.to_str()


def test_cut_refuses_less_than_the_bytes():
    with pytest.raises(ValueError, match="expected at least 258 entries, got 257"):
        cut(train(MIXED, TrainingRequest(300, special_tokens=(IM_START,))), 257)


def test_refuses_a_vocabulary_too_small_for_the_bytes():
    with pytest.raises(ValueError, match="expected at least 257 entries, got 256"):
        TrainingRequest(256)
    with pytest.raises(ValueError, match="expected at least 258 entries, got 257"):
        TrainingRequest(257, special_tokens=(IM_START,))


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        pytest.param(("",), "'' is empty", id="empty"),
        pytest.param((IM_START, IM_START), "stands there twice", id="twice"),
        pytest.param((" <|a|>",), "has white space around it", id="blank before"),
        pytest.param(("<|a|>\u3000",), "has white space around it", id="blank after"),
        pytest.param(("user",), r"made of too, .*: try <\|user\|>", id="a word"),
        pytest.param(("###",), "made of too", id="a piece of symbols"),
        pytest.param(("Ġthe",), "made of too", id="the entry of a word after a blank"),
        pytest.param(("é",), "made of too", id="the entry of a byte"),
    ],
)
def test_refuses_special_tokens_that_would_be_mistaken(tokens, message):
    with pytest.raises(RecipeError, match=message):
        TrainingRequest(300, special_tokens=tokens)


def test_what_text_is_made_of_depends_on_the_pre_tokenizer():
    TrainingRequest(300, pretokenizer="llmctl", special_tokens=("1234",))
    with pytest.raises(RecipeError, match="made of too"):
        TrainingRequest(300, pretokenizer="gpt2", special_tokens=("1234",))


def test_a_chinese_special_token_is_no_name_of_bytes():
    made = train(["用户" * 50], TrainingRequest(300, special_tokens=("用户",)))

    assert made.encode("用户").ids == [1]
    assert made.decode(ids(made, "用户")) == "用户"


def test_no_count_of_pairs_overflows():
    # The library counts a pair in 32 bits with a sign, and a text has fewer pairs than bytes.
    assert MAX_TRAINING_BYTES < 2**31
