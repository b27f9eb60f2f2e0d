"""Records: texts, conversations and pairs, carried through untouched."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmctl.core.artifacts.documents import Document, from_line, to_line
from llmctl.core.artifacts.records import document_of, holds_documents
from llmctl.core.errors import DataError

MESSAGES = [
    {"role": "system", "content": ""},
    {"role": "user", "content": "春晓是谁写的？", "name": "x"},
    {"role": "assistant", "content": None, "tool_calls": [{"id": 1}]},
    {"role": "assistant", "content": [{"type": "text", "text": "孟浩然"}, {"type": "image"}]},
]


def made(record, text_field="text"):
    return document_of(copy.deepcopy(record), "in", 3, text_field)


def test_text_of_a_field_of_a_field():
    record = {"data": {"body": "诗", "n": 1}, "other": 2}

    assert made(record, "data.body") == Document(
        "in:3", "in", "und", "诗", {"data": {"n": 1}, "other": 2}
    )
    assert made({"data": {"body": "诗"}}, "data.body").meta == {}
    assert made({"a": {"b": {"c": "诗"}, "d": 1}}, "a.b.c").meta == {"a": {"d": 1}}


def test_an_object_that_was_empty_before_stays():
    assert made({"data": {}, "messages": MESSAGES}, "data.body").meta == {"data": {}}


def test_a_field_of_that_very_name_comes_first():
    assert made({"a.b": "x", "a": {"b": "y"}}, "a.b").text == "x"


def test_messages():
    document = made({"id": 7, "messages": MESSAGES, "topic": "诗"})

    assert document == Document("7", "in", "und", "", {"topic": "诗"}, MESSAGES)
    assert document.plain_text == "\n春晓是谁写的？\n孟浩然"


@pytest.mark.parametrize(
    ("pair", "plain"),
    [
        ({"prompt": "一", "completion": "二"}, "一\n二"),
        ({"instruction": "一", "input": "二", "output": "三"}, "一\n二\n三"),
        ({"instruction": "一", "output": "三"}, "一\n三"),
        ({"question": "一", "answer": 2}, "一"),
        ({"source": "一", "target": "one"}, "一\none"),
        ({"prompt": "一", "chosen": "二", "rejected": "三"}, "一\n二\n三"),
        (
            {"chosen": [{"role": "user", "content": "一"}], "rejected": [{"content": "二"}]},
            "一\n二",
        ),
    ],
)
def test_pairs(pair, plain):
    document = made({**pair, "id": "a", "score": 0.5})

    assert document == Document("a", "in", "und", "", {"score": 0.5}, None, pair)
    assert list(document.pair) == list(pair)
    assert document.plain_text == plain


def test_a_preference_is_not_taken_for_a_completion():
    record = {"prompt": "a", "completion": "b", "chosen": "c", "rejected": "d"}

    assert made(record).pair == {"prompt": "a", "chosen": "c", "rejected": "d"}
    assert made(record).meta == {"completion": "b"}


def test_a_pair_as_a_corpus_has_it():
    assert made({"pair": {"a": "一", "b": "二"}, "n": 1}).pair == {"a": "一", "b": "二"}


def test_text_comes_before_messages_and_pairs_unless_it_is_null():
    assert made({"text": "a", "messages": MESSAGES}) == Document(
        "in:3", "in", "und", "a", {"messages": MESSAGES}
    )
    assert made({"text": None, "messages": MESSAGES}).messages == MESSAGES
    assert made({"messages": MESSAGES, "prompt": "a", "completion": "b"}).meta == {
        "prompt": "a",
        "completion": "b",
    }


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"messages": "a"}, "'messages' is a string, not a list of objects"),
        ({"messages": [{"content": "a"}]}, "message 1 is not an object with a role"),
        ({"messages": [MESSAGES[1], 3]}, "message 2 is not an object with a role"),
        ({"messages": []}, "'messages' is empty"),
        ({"messages": [{"role": "user", "content": " "}]}, "'messages' is empty"),
        ({"prompt": " ", "completion": ""}, "prompt and completion are empty"),
        ({"prompt": "a", "completion": None}, "no field 'text' .fields: prompt, completion."),
        ({"data": {"body": 3}}, "no field 'text' .fields: data."),
    ],
)
def test_what_is_no_document(record, reason):
    with pytest.raises(ValueError, match=reason):
        made(record)


@pytest.mark.parametrize("path", ["data.body", "data.no", "no.body", "data.body.more"])
def test_a_path_that_leads_nowhere(path):
    with pytest.raises(ValueError, match=r"no field|is a number"):
        made({"data": {"body": 3}}, path)


def deep(levels):
    value = "a"
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "record",
    [
        {"text": "a", "b": deep(100)},
        {"prompt": "a", "completion": deep(100)},
        {"messages": [{"role": "user", "content": deep(99)}]},
    ],
)
def test_nested_too_deeply(record):
    with pytest.raises(ValueError, match="nested deeper than 100 levels"):
        made(record)
    assert made({"text": "a", "b": deep(99)}).text == "a"


def test_fields_of_documents():
    assert holds_documents({"text"}, "text")
    assert holds_documents({"data"}, "data.body")
    assert holds_documents({"messages", "x"}, "text")
    assert holds_documents({"prompt", "completion"}, "text")
    assert not holds_documents({"prompt", "txet"}, "text")


TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)


@given(
    st.one_of(
        st.fixed_dictionaries({"text": TEXT}),
        st.fixed_dictionaries(
            {
                "messages": st.lists(
                    st.fixed_dictionaries({"role": TEXT, "content": TEXT}), min_size=1
                )
            }
        ),
        st.fixed_dictionaries({"question": TEXT, "answer": TEXT}),
    ),
    st.dictionaries(st.sampled_from("abc"), st.integers(0, 9)),
)
def test_nothing_is_lost_on_the_way_to_the_disk_and_back(content, others):
    document = made({**content, **others})
    line = to_line(document)

    assert from_line(line, "x") == document
    assert (b'"text":' in line.split(b'"meta"')[0]) == ("text" in content)
    parts = {"text": document.text} if document.text else document.pair or {}
    messages = {"messages": document.messages} if document.messages else {}
    assert {**parts, **messages, **document.meta} == {**content, **others}


@pytest.mark.parametrize(
    "fields", ['"text":"a","pair":{"a":"b"}', '"language":"en"', '"messages":[],"text":""']
)
def test_a_line_has_exactly_one_of_them(fields):
    line = f'{{"id":"a","source":"b","language":"en",{fields},"meta":{{}}}}'.encode()

    with pytest.raises(DataError, match="one of text, messages and pair"):
        from_line(line, "x")
