"""What generation_config.json and config.json say together, and what they may not say."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmctl.core.errors import DataError
from llmctl.core.language_model.generation_config import GenerationConfig, generation_config
from llmctl.core.recipe import GeneratePlan, generation_plan


@pytest.mark.parametrize(
    ("config", "generation", "begin_id", "stop_ids"),
    [
        pytest.param({}, {}, None, set(), id="nothing is said"),
        pytest.param({"bos_token_id": 1, "eos_token_id": 2}, {}, 1, {2}, id="config.json alone"),
        pytest.param(
            {"bos_token_id": 1, "eos_token_id": 2},
            {"bos_token_id": 3, "eos_token_id": [4, 5]},
            3,
            {4, 5},
            id="generation_config.json has the word",
        ),
        pytest.param(
            {"bos_token_id": 1, "eos_token_id": 2}, {"eos_token_id": 4}, 1, {4}, id="token by token"
        ),
        pytest.param(
            {"bos_token_id": 1, "eos_token_id": 2},
            {"eos_token_id": None},
            1,
            set(),
            id="null is a word, too",
        ),
        pytest.param({"eos_token_id": 2}, {}, 2, {2}, id="begins after the end of another"),
        pytest.param({}, {"eos_token_id": [7, 3]}, 7, {3, 7}, id="after the first of several"),
        pytest.param(
            {"bos_token_id": None, "eos_token_id": 0}, {}, 0, {0}, id="an id of 0 is an id"
        ),
        pytest.param({"eos_token_id": []}, {}, None, set(), id="an empty list"),
        pytest.param({"bos_token_id": [9, 8]}, {}, 9, set(), id="the first of several begins"),
    ],
)
def test_which_tokens_begin_and_end_a_text(config, generation, begin_id, stop_ids):
    found = generation_config(config, generation)

    assert (found.begin_id, found.stop_ids) == (begin_id, stop_ids)


@pytest.mark.parametrize(
    ("generation", "expected"),
    [
        pytest.param({}, {}, id="nothing"),
        pytest.param(
            {
                "do_sample": True,
                "temperature": 0.6,
                "top_k": 20,
                "top_p": 0.95,
                "min_p": 0.05,
                "typical_p": 0.9,
                "repetition_penalty": 1.05,
                "no_repeat_ngram_size": 3,
            },
            {
                "temperature": 0.6,
                "top_k": 20,
                "top_p": 0.95,
                "min_p": 0.05,
                "typical_p": 0.9,
                "repetition_penalty": 1.05,
                "no_repeat_ngram": 3,
            },
            id="each by our name",
        ),
        pytest.param({"top_k": 0, "no_repeat_ngram_size": 0}, {}, id="0 is off"),
        pytest.param({"top_p": None, "temperature": None}, {}, id="null is as if not there"),
        pytest.param(
            {"temperature": 1, "top_p": 1}, {"temperature": 1.0, "top_p": 1.0}, id="whole"
        ),
        pytest.param({"temperature": 0.0}, {"temperature": 0.0}, id="greedy"),
        pytest.param(
            {"do_sample": False, "temperature": 0.6, "top_p": 0.8},
            {"top_p": 0.8},
            id="a temperature that transformers ignores",
        ),
        pytest.param(
            {"max_new_tokens": 5, "num_beams": 4, "transformers_version": "4.1", "stop": "x"},
            {},
            id="what is no matter of taste",
        ),
    ],
)
def test_settings_by_our_names(generation, expected):
    found = generation_config({"temperature": 0.1, "top_k": 3}, generation).settings

    assert found == expected
    assert generation_plan(**found) == GeneratePlan.model_validate(expected)


@pytest.mark.parametrize("name", ["bos_token_id", "eos_token_id"])
@pytest.mark.parametrize(
    "value", [True, 1.0, "2", -1, [1, None], [1, "2"], [False], {}, {"id": 1}, [[1]], float("nan")]
)
def test_refuses_what_is_no_token_id(name, value):
    message = rf"^{name}: expected a token's id or a list of them, found "

    for files in (({name: value}, {}), ({}, {name: value})):
        with pytest.raises(DataError, match=message):
            generation_config(*files)


@pytest.mark.parametrize(
    ("generation", "message"),
    [
        ({"temperature": "hot"}, "temperature: Input should be a valid number, found 'hot'"),
        ({"temperature": True}, "temperature: Input should be a valid number, found True"),
        ({"temperature": -0.1}, "temperature: Input should be greater than or equal to 0, found -"),
        ({"temperature": float("inf")}, "temperature: Input should be a finite number, found inf"),
        ({"temperature": 10**400}, "temperature: Input should be a valid number, found 1000"),
        ({"top_k": 50.0}, "top_k: Input should be a valid integer, found 50.0"),
        ({"top_k": -1}, "top_k: Input should be greater than or equal to 1, found -1"),
        ({"top_p": 1.5}, "top_p: Input should be less than or equal to 1, found 1.5"),
        ({"top_p": 0}, "top_p: Input should be greater than 0, found 0"),
        ({"min_p": [0.1]}, r"min_p: Input should be a valid number, found \[0.1\]"),
        (
            {"repetition_penalty": 0},
            "repetition_penalty: Input should be greater than or equal to 0.0",
        ),
        ({"no_repeat_ngram_size": -2}, "no_repeat_ngram: Input should be greater than or equal"),
    ],
)
def test_refuses_a_setting_that_is_none(generation, message):
    with pytest.raises(DataError, match=f"^generation_config.json: {message}"):
        generation_config({}, generation)


def test_a_long_value_is_told_in_short():
    for files in (({"eos_token_id": ["x" * 9] * 10**5}, {}), ({}, {"top_k": [1] * 10**5})):
        with pytest.raises(DataError) as caught:
            generation_config(*files)
        assert len(str(caught.value)) < 200


ANYTHING = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3)),
    st.lists(st.integers() | st.none(), max_size=2),
    st.just({}),
)
NAMES = st.sampled_from(
    [
        *("bos_token_id", "eos_token_id", "temperature", "top_k", "top_p", "min_p", "typical_p"),
        *("repetition_penalty", "no_repeat_ngram_size", "do_sample"),
    ]
)


@settings(max_examples=80, deadline=None)
@given(config=st.dictionaries(NAMES, ANYTHING), generation=st.dictionaries(NAMES, ANYTHING))
def test_whatever_is_written_it_is_read_or_refused(config, generation):
    try:
        found = generation_config(config, generation)
    except DataError:
        return
    generation_plan(**found.settings)
    assert all(isinstance(stop, int) and stop >= 0 for stop in found.stop_ids)


@pytest.mark.parametrize(
    ("begin_id", "kept"), [(None, None), (0, 0), (299, 299), (300, None), (10**20, None)]
)
def test_ids_that_the_model_does_not_have_are_left_out(begin_id, kept):
    config = GenerationConfig(begin_id, frozenset({2, 299, 300, 50256}), {"top_k": 5})

    assert config.within(300) == GenerationConfig(kept, frozenset({2, 299}), {"top_k": 5})
