"""Pairs through templates: by hand, then what is usual, then refusals."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmctl.core.errors import DataError, RecipeError
from llmctl.core.tokens.field_template import (
    FieldTemplate,
    PairTemplate,
    is_preference,
    preference_sides,
)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param("{q}\n", "什么?\n", id="a field and text"),
        pytest.param("问：{q} 答：{n}", "问：什么? 答：3", id="two fields, one a number"),
        pytest.param("{{{q}}}", "{什么?}", id="braces around a field"),
        pytest.param("{{q}}", "{q}", id="braces alone"),
        pytest.param("", "", id="nothing"),
        pytest.param("{a.b}", "dot", id="a name with a dot"),
    ],
)
def test_filled_by_hand(source, expected):
    pair = {"q": "什么?", "n": 3, "a.b": "dot", "none": None}

    assert FieldTemplate.parse("key", source).fill(pair) == expected


@settings(max_examples=30)
@given(st.text(max_size=9), st.text(max_size=9))
def test_any_text_is_filled_in_as_it_is(text, value):
    source = text.replace("{", "{{").replace("}", "}}") + "{field}"

    assert FieldTemplate.parse("key", source).fill({"field": value}) == text + value


@pytest.mark.parametrize(
    ("pair", "prompt", "answer"),
    [
        ({"question": "q", "answer": "a"}, "q\n", "a"),
        ({"instruction": "i", "output": "o"}, "i\n", "o"),
        ({"instruction": "i", "input": "in", "output": "o"}, "i\nin\n", "o"),
        ({"instruction": "i", "input": "", "output": "o"}, "i\n", "o"),
        ({"prompt": "p", "completion": "c"}, "p", "c"),
        ({"prompt": "p", "response": "r"}, "p\n", "r"),
        ({"source": "s", "target": "t"}, "s\n", "t"),
        ({"prompt": "p", "chosen": "c"}, "p\n", "c"),
        ({"chosen": "c"}, "", "c"),
    ],
)
def test_usual_fields(pair, prompt, answer):
    template = PairTemplate.usual(pair)

    assert (template.prompt.fill(pair), template.answer.fill(pair)) == (prompt, answer)


def test_unusual_fields_have_no_usual_form():
    assert PairTemplate.usual({"en": "a", "zh": "甲"}) is None


def test_preference_is_two_pairs():
    pair = {"prompt": "p", "chosen": "c", "rejected": "r"}

    assert is_preference(pair)
    assert not is_preference({"prompt": "p", "chosen": "c"})
    assert preference_sides(pair) == [
        {"prompt": "p", "chosen": "c"},
        {"prompt": "p", "chosen": "r"},
    ]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{a", "tokenize.prompt_template: expected '}' before end of string; a field is"),
        ("a}", "Single '}' encountered"),
        ("{}", "expected the name of a field and nothing else in braces, found {...}"),
        ("{a:>9}", "found {a...}"),
        ("{a!r}", "found {a...}"),
    ],
)
def test_faulty_template_is_refused(source, message):
    with pytest.raises(RecipeError) as refusal:
        PairTemplate.parse(source, "{b}")
    assert message in str(refusal.value)


def test_field_that_no_pair_has_is_refused():
    template = PairTemplate.parse("{a}", "{b}{c}")

    template.require_fields({"a", "b", "c"})
    with pytest.raises(RecipeError, match=r"answer_template: no field 'c' in the pairs; .* a, b$"):
        template.require_fields({"b", "a"})


@pytest.mark.parametrize(
    ("value", "message"),
    [(None, "no field 'b'; there are 'a'"), ([1], "is no text, but a list"), (True, "but a bool")],
)
def test_field_without_text_is_refused(value, message):
    with pytest.raises(DataError, match=message):
        FieldTemplate.parse("key", "{b}").fill({"a": "", "b": value})
