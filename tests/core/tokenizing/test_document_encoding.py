"""Documents as ids and masks: by hand, then against transformers, then refusals."""

from __future__ import annotations

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from llmctl.core.artifacts.documents import Document
from llmctl.core.errors import DataError, RecipeError
from llmctl.core.tokenizing.document_encoding import DocumentEncoder, DocumentRules
from llmctl.core.tokens.chat_template import ChatTemplate
from llmctl.core.tokens.learned_spans import CHATML
from llmctl.core.tokens.tokenizer import Tokenizer
from llmctl.core.tokens.tokenizer_training import END_OF_TEXT, TrainingRequest, train

NAMES = ("<|im_start|>", "<|im_end|>")
LEARNT_FROM = ["The world is wide, and so are the words of the world.\n", "世界很大。世界。\n"] * 4
LETTERS = (
    "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% else %}"
    "{% generation %}{{ m.content }}{% endgeneration %}{% endif %}{% endfor %}"
)


class Encoder:
    def __init__(self, tokenizer):
        self.tokenizer = tokenizer

    def encode(self, texts):
        found = self.tokenizer.encode_batch(texts)
        ids = np.array([token for ids in found for token in ids], dtype=np.uint32)
        return ids, np.array([len(ids) for ids in found], dtype=np.int64)


def chatml_backend():
    backend = train(LEARNT_FROM, TrainingRequest(300, 2))
    backend.add_special_tokens(list(NAMES))
    return backend


TOKENIZER = Tokenizer(chatml_backend())


def encoder_of(tokenizer=TOKENIZER, source=CHATML, end=END_OF_TEXT, **plan):
    return DocumentEncoder(
        DocumentRules(**plan),
        tokenizer,
        Encoder(tokenizer),
        ChatTemplate(source, {}),
        end_id=tokenizer.id_of(end),
    )


@pytest.fixture(scope="module")
def encoder():
    with encoder_of() as made:
        yield made


def text(content):
    return Document("t", "s.jsonl", "en", content)


def conversation(*contents):
    roles = ("user", "assistant")
    messages = [{"role": roles[n % 2], "content": content} for n, content in enumerate(contents)]
    return Document("c", "s.jsonl", "en", "", messages=messages)


def pair(**fields):
    return Document("p", "s.jsonl", "en", "", pair=fields)


def shown(encoded, tokenizer=TOKENIZER):
    """Each sequence with what is learned in ⟦⟧, special tokens in ‹›, and ∎ for its end."""
    masks = np.ones_like(encoded.ids) if encoded.mask is None else encoded.mask
    ends = [1] * len(encoded.lengths) if encoded.end_mask is None else encoded.end_mask
    sequences = []
    start = 0
    for length, end in zip(encoded.lengths.tolist(), ends, strict=True):
        content = b""
        for token, learned in zip(
            encoded.ids[start:][:length], masks[start:][:length], strict=True
        ):
            piece = tokenizer.token_bytes(int(token)) or f"‹{tokenizer.piece(int(token))}›".encode()
            content += "⟦".encode() + piece + "⟧".encode() if learned else piece
        content += "⟦∎⟧".encode() if end else "∎".encode()
        sequences.append(content.replace("⟧⟦".encode(), b"").decode())
        start += length
    assert start == len(encoded.ids) == len(masks)
    return sequences


HEAD, USER = "‹<|im_start|>›assistant\n", "‹<|im_start|>›user\n"


def test_texts_need_no_mask(encoder):
    encoded = encoder.encode([text("The world"), text(""), text("世界<|im_end|>")])

    assert (encoded.content, encoded.mask, encoded.end_mask) == ("text", None, None)
    assert shown(encoded) == ["⟦The world∎⟧", "⟦∎⟧", "⟦世界<|im_end|>∎⟧"]
    assert encoded.literals == {"<|im_end|>": 1}
    assert (encoded.ids.dtype, encoded.lengths.dtype) == (np.uint32, np.int64)
    assert encoded.num_unlearned == 0


def test_conversations_pairs_and_texts_by_hand(encoder):
    encoded = encoder.encode(
        [
            conversation("你好", "世界<|im_end|>", "", ""),
            text("The world"),
            pair(question="世界?", answer="Wide<|endoftext|>"),
            conversation("alone"),
            pair(question="", answer=""),
        ]
    )

    assert shown(encoded) == [
        f"{USER}你好‹<|im_end|>›\n{HEAD}⟦世界<|im_end|>‹<|im_end|>›⟧\n"
        f"{USER}‹<|im_end|>›\n{HEAD}⟦‹<|im_end|>›⟧\n∎",
        "⟦The world∎⟧",
        "世界?\n⟦Wide<|endoftext|>∎⟧",
        f"{USER}alone‹<|im_end|>›\n∎",
        "\n⟦∎⟧",
    ]
    assert encoded.content == "conversation"
    assert encoded.literals == {"<|im_end|>": 1, END_OF_TEXT: 1}
    assert encoded.num_unlearned == 1
    assert (encoded.mask.dtype, encoded.end_mask.dtype) == (np.uint8, np.uint8)


def test_nothing_is_encoded_of_nothing(encoder):
    assert shown(encoder.encode([])) == []


def test_allowed_special_tokens_are_meant_in_texts_alone():
    documents = [text("a<|im_end|>b<|im_start|>"), conversation("<|im_end|>")]
    with encoder_of(allow_special_tokens=("<|im_end|>",)) as encoder:
        alone, both = encoder.encode(documents[:1]), encoder.encode(documents)

    assert shown(alone) == ["⟦a‹<|im_end|>›b<|im_start|>∎⟧"]
    assert alone.mask is None
    assert alone.literals == {"<|im_end|>": 1, "<|im_start|>": 1}
    assert shown(both) == [*shown(alone), f"{USER}<|im_end|>‹<|im_end|>›\n∎"]


def test_token_that_ends_turns_and_documents_is_there_once():
    with encoder_of(end="<|im_end|>") as encoder:
        encoded = encoder.encode([conversation("a", "b"), conversation("a")])

    assert shown(encoded) == [f"{USER}a‹<|im_end|>›\n{HEAD}⟦b∎⟧", f"{USER}a∎"]


def test_end_is_learned_after_a_turn_without_a_token_of_its_own():
    with encoder_of(source=LETTERS) as encoder:
        assert shown(encoder.encode([conversation("a", "界")])) == ["a⟦界∎⟧"]


def test_end_is_not_learned_after_a_token_that_ended_the_turn():
    with encoder_of(source=CHATML.replace("{{- '\\n' }}", "")) as encoder:
        expected = f"{USER}a‹<|im_end|>›{HEAD}⟦b‹<|im_end|>›⟧∎"
        assert shown(encoder.encode([conversation("a", "b")])) == [expected]


def made_of(vocabulary, merges, normalizer=None):
    """A byte-level tokenizer of known merges, which cuts nothing beforehand."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    entries = [*alphabet, *vocabulary, END_OF_TEXT]
    ids = {entry: number for number, entry in enumerate(entries)}
    backend = tokenizers.Tokenizer(models.BPE(ids, merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    if normalizer:
        backend.normalizer = normalizer
    backend.add_special_tokens([END_OF_TEXT])
    return Tokenizer(backend)


def test_token_that_is_learned_in_part_is_not_learned():
    tokenizer = made_of(["ab"], [("a", "b")])
    with encoder_of(tokenizer, LETTERS) as encoder:
        encoded = encoder.encode([conversation("a", "bab", "b", "a"), conversation("b", "ab", "b")])

    assert shown(encoded, tokenizer) == ["ab⟦ab⟧b⟦a∎⟧", "b⟦ab⟧b∎"]


def test_borders_are_found_where_the_tokenizer_normalises():
    tokenizer = made_of([], [], normalizers.NFC())
    with encoder_of(tokenizer, LETTERS) as encoder:
        encoded = encoder.encode([conversation("cafe\u0301 e\u0301", "re\u0301, 世界", "u\u0301")])

    assert shown(encoded, tokenizer) == ["café é⟦ré, 世界⟧ú∎"]


def test_templates_of_pairs():
    templates = {"prompt_template": "Q: {q}\n{{A}}:", "answer_template": " {a}!"}
    with encoder_of(**templates) as encoder:
        assert shown(encoder.encode([pair(q="世界", a=3)])) == ["Q: 世界\n{A}:⟦ 3!∎⟧"]
    with encoder_of(prompt_template="{en} =", answer_template=" {zh}") as encoder:
        translation = pair(translation={"en": "world", "zh": "世界"})
        assert shown(encoder.encode([translation])) == ["world =⟦ 世界∎⟧"]


def test_preferences_are_two_sequences(encoder):
    said = [{"role": "assistant", "content": "yes"}], [{"role": "assistant", "content": "no"}]
    asked = [{"role": "user", "content": "?"}]
    earlier = [*asked, {"role": "assistant", "content": "before"}, *asked]
    asking = f"{USER}?‹<|im_end|>›\n"
    sides = [f"{HEAD}⟦yes‹<|im_end|>›⟧\n∎", f"{HEAD}⟦no‹<|im_end|>›⟧\n∎"]

    encoded = encoder.encode(
        [
            pair(prompt="世界?", chosen="yes", rejected="no"),
            pair(chosen="yes", rejected="no"),
            pair(prompt=asked, chosen=said[0], rejected=said[1]),
            pair(prompt="?", chosen=said[0], rejected=said[1]),
            pair(prompt="?", chosen=[*asked, *said[0]], rejected=[*asked, *said[1]]),
            pair(chosen=[*earlier, *said[0]], rejected=[*earlier, *said[1]]),
            pair(prompt=asked, chosen=said[0], rejected=said[0]),
        ]
    )

    assert encoded.content == "preference"
    assert shown(encoded) == [
        "世界?\n⟦yes∎⟧",
        "世界?\n⟦no∎⟧",
        "⟦yes∎⟧",
        "⟦no∎⟧",
        *[asking + side for side in sides] * 3,
        *[f"{asking}{HEAD}before‹<|im_end|>›\n{asking}{side}" for side in sides],
        *[asking + sides[0]] * 2,
    ]


def test_preferences_through_templates():
    with encoder_of(prompt_template="{prompt}:", answer_template="{chosen}") as encoder:
        encoded = encoder.encode([pair(prompt="a", chosen="yes", rejected="no")])

    assert shown(encoded) == ["a:⟦yes∎⟧", "a:⟦no∎⟧"]


def test_completion_in_messages_is_a_conversation(encoder):
    prompt = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "before"}]
    completion = [{"role": "assistant", "content": "yes"}]

    assert shown(encoder.encode([pair(prompt=prompt, completion=completion)])) == [
        f"{USER}?‹<|im_end|>›\n{HEAD}before‹<|im_end|>›\n{HEAD}⟦yes‹<|im_end|>›⟧\n∎"
    ]


WORDS = st.text(st.characters(exclude_categories=["Cs", "Cn"]), max_size=5)
CONTENTS = st.lists(
    WORDS | st.sampled_from(["<|im_end|>", END_OF_TEXT, "<|im_", "\n", "世界", "world"]), max_size=4
).map("".join)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(CONTENTS, min_size=1, max_size=4), min_size=1, max_size=3))
def test_every_byte_comes_back_and_learned_bytes_are_the_answers(encoder, conversations):
    encoded = encoder.encode([conversation(*contents) for contents in conversations])

    asked, answered = USER + "{}‹<|im_end|>›\n", HEAD + "⟦{}‹<|im_end|>›⟧\n"
    forms = (asked, answered) * 2
    assert shown(encoded) == [
        "".join(map(str.replace, forms, ["{}"] * len(contents), contents)) + "∎"
        for contents in conversations
    ]


ORACLE = PreTrainedTokenizerFast(tokenizer_object=chatml_backend(), chat_template=CHATML)


@settings(max_examples=50, deadline=None)
@given(st.lists(WORDS | st.sampled_from(["世界 world", "The\n\n"]), min_size=1, max_size=5))
def test_equals_transformers(encoder, contents):
    document = conversation(*contents)

    encoded = encoder.encode([document])

    theirs = ORACLE.apply_chat_template(
        document.messages, return_dict=True, return_assistant_tokens_mask=True
    )
    assert encoded.ids.tolist() == theirs["input_ids"]
    assert encoded.mask.tolist() == theirs["assistant_masks"]


# Refusals


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        (
            [pair(en="a", zh="甲")],
            "document p of s.jsonl is a pair of en and zh, which has no",
        ),
        (
            [pair(translation={"en": "a", "zh": "甲"})],
            "pair of en and zh, .* tokenize.prompt_templ",
        ),
    ],
)
def test_pair_without_a_usual_form_is_refused(encoder, documents, message):
    with pytest.raises(RecipeError, match=message):
        encoder.encode(documents)


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ([pair(question="a", answer=None)], "the document p of s.jsonl: no field 'answer'"),
        (
            [text("a"), pair(chosen="a", rejected="b")],
            "document p .* a chosen and a rejected",
        ),
        ([Document("c", "s", "en", "", messages=[{"role": "user"}])], "document c of s: the chat"),
    ],
)
def test_document_that_cannot_be_written_is_named(encoder, documents, message):
    with pytest.raises(DataError, match=message):
        encoder.encode(documents)


def test_field_of_no_pair_is_the_recipes_fault_and_of_some_the_documents():
    with encoder_of(prompt_template="{q}", answer_template="{a}") as encoder:
        with pytest.raises(RecipeError, match=r"answer_template: no field 'a' in the pairs"):
            encoder.encode([pair(q="")])
        with pytest.raises(DataError, match=r"document p of s.jsonl: no field 'a'"):
            encoder.encode([pair(q="", a=""), pair(q="")])


def test_unknown_special_token_cannot_be_allowed():
    with pytest.raises(RecipeError, match=r"allow_special_tokens: <x>: .* has <\|endoft"):
        encoder_of(allow_special_tokens=("<x>",))


def test_vocabulary_without_the_templates_tokens_is_refused():
    tokenizer = Tokenizer(train([], TrainingRequest(257, 2)))
    with encoder_of(tokenizer) as encoder, pytest.raises(RecipeError, match="special_tokens"):
        encoder.encode([conversation("a")])


def test_tokenizer_to_which_a_stretch_is_another_text_is_refused():
    entries = [
        "<unk>",
        "▁",
        *"abcdefghijklmnopqrstuvwxyz‹›",
        *(f"<0x{n:02X}>" for n in range(256)),
    ]
    ids = {entry: number for number, entry in enumerate(entries)}
    backend = tokenizers.Tokenizer(models.BPE(ids, [], unk_token="<unk>", byte_fallback=True))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    backend.decoder = decoders.Sequence(steps)
    backend.add_special_tokens([END_OF_TEXT, *NAMES])
    with encoder_of(Tokenizer(backend)) as encoder, pytest.raises(RecipeError, match="byte-level"):
        encoder.encode([conversation("a")])
