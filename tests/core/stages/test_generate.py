"""What is settled before a text is written: the plan and its sources, tokens, biases, speed."""

import math
from dataclasses import replace

import pytest
from core.language_model import conftest as made

from llmctl.core.errors import DataError, UsageError
from llmctl.core.language_model.completion import Completion
from llmctl.core.language_model.generation_config import GenerationConfig
from llmctl.core.language_model.language_model import LanguageModel
from llmctl.core.model.bandwidth import bytes_per_token
from llmctl.core.recipe import GeneratePlan
from llmctl.core.stages import generate as stage
from llmctl.core.stages.generate import (
    Speed,
    logit_biases,
    open_chat,
    settle,
    speed,
    stop_at,
    token_id,
)

tokenizer_path, make_model, language_model, model_directory = (
    made.tokenizer_path,
    made.make_model,
    made.language_model,
    made.model_directory,
)

NOT_GIVEN = {"temperature": None, "top_k": None, "stop": None, "logit_bias": None}


@pytest.fixture
def model(language_model):
    """The shared model, as a checkpoint with tastes of its own."""
    tastes = {"temperature": 0.6, "top_k": 20, "repetition_penalty": 1.1}
    generation = GenerationConfig(0, frozenset({0}), tastes)
    return LanguageModel(language_model.model, language_model.tokenizer, generation)


# ------------------------------------------------------------------ the plan


def test_an_option_goes_before_the_checkpoint_and_that_before_the_default(model):
    plan, sources = settle(model, {**NOT_GIVEN, "top_k": 5, "max_tokens": 7})

    expected = {"temperature": 0.6, "top_k": 5, "repetition_penalty": 1.1, "max_tokens": 7}
    assert plan == GeneratePlan(**expected)
    assert sources.keys() == GeneratePlan.model_fields.keys()
    assert {name: source for name, source in sources.items() if source != "default"} == {
        "temperature": "checkpoint",
        "repetition_penalty": "checkpoint",
        "top_k": "option",
        "max_tokens": "option",
    }


def test_a_checkpoint_without_tastes_leaves_the_defaults(language_model):
    plan, sources = settle(language_model, NOT_GIVEN)

    assert plan == GeneratePlan()
    assert set(sources.values()) == {"default"}


def test_an_option_that_is_false_or_0_is_given(model):
    plan, sources = settle(model, {"temperature": 0.0, "min_tokens": 0, "early_stopping": False})

    assert plan.temperature == 0
    assert sources["temperature"] == sources["min_tokens"] == sources["early_stopping"] == "option"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"top_p": 0.0}, r"^top_p: Input should be greater than 0, found 0"),
        ({"num_beams": 2, "num_samples": 3}, r"^num_beams: .* at least num_samples, which is 3"),
        ({"samplers": ("top_k", "top_k")}, r"^samplers: .*top_k is named twice"),
        ({"early_stopping": "soon"}, r"^early_stopping: Input should be True, False or 'never'"),
        ({"logit_bias": {3: math.inf}}, r"^logit_bias.3: Input should be less than or equal to 1"),
        ({"logit_bias": {3: math.nan}}, r"^logit_bias.3: Input should be .* found nan"),
        ({"presence_penalty": -1e10}, r"^presence_penalty: Input should be greater than or equal"),
        ({"frequency_penalty": 1e10}, r"^frequency_penalty: Input should be less than or equal"),
        ({"repetition_penalty": 1e-7}, r"^repetition_penalty: Input should be greater than or"),
        ({"length_penalty": 31.0}, r"^length_penalty: Input should be less than or equal to 30"),
    ],
)
def test_refuses_an_option_out_of_its_range(given, message, model):
    with pytest.raises(UsageError, match=message):
        settle(model, given)


# ------------------------------------------------------------------ tokens


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("0", 0, id="an id"),
        pytest.param("299", 299, id="the last id"),
        pytest.param("007", 7, id="zeros before it"),
        pytest.param("<|endoftext|>", 0, id="a special token"),
        pytest.param("a", "a", id="a letter"),
        pytest.param("\n", "\n", id="a newline"),
    ],
)
def test_a_token_by_its_id_or_its_text(text, expected, model):
    found = token_id(model, text)

    assert found == expected or model.tokenizer.token_bytes(found) == expected.encode()


def test_a_token_by_its_name_in_the_file(model):
    token = next(at for at in range(300) if model.tokenizer.token_bytes(at)[:2] == b" t")

    assert token_id(model, model.tokenizer.piece(token).replace(" ", "Ġ")) == token


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("300", r"^'300' is no single token of this model, which writes it as 3; `llmctl inspect`"),
        ("", r"^'' is no single token of this model, which writes it as 0"),
        ("🌍", r"^'🌍' is no single token of this model, which writes it as 4"),
        ("-1", r"^'-1' is no single token of this model, which writes it as 2"),
        ("1" * 9999, r"^'1111111\d*\.\.\.\d*' is no single token"),
    ],
)
def test_refuses_what_is_no_single_token(text, message, model):
    with pytest.raises(UsageError, match=message):
        token_id(model, text)


def test_more_tokens_may_end_a_text(model):
    stop_at(model, ["7", "a"])
    stop_at(model, [])

    a = token_id(model, "a")
    assert model.completer.stop_ids == {0, 7, a}
    assert model.generation.begin_id == 0
    with pytest.raises(UsageError, match="no single token"):
        stop_at(model, ["8", "no such token"])
    assert model.completer.stop_ids == {0, 7, a}


def test_biases_by_id_and_by_text(model):
    equals = token_id(model, "=")

    found = logit_biases(model, ["7=-5", "a=2.5", "==1e2", "7=3"])

    assert found == {7: 3.0, token_id(model, "a"): 2.5, equals: 100.0}
    assert logit_biases(model, []) == {}


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("7", r"^'7': expected TOKEN=BIAS, such as 1234=-5 or Paris=2"),
        ("7=", r"^'7=': expected TOKEN=BIAS, such as 1234=-5 or Paris=2"),
        ("7=much", r"^'7=much': expected TOKEN=BIAS"),
        ("=5", r"^'' is no single token"),
        ("the case=1", r"^'the case' is no single token"),
    ],
)
def test_refuses_what_is_no_bias(assignment, message, model):
    with pytest.raises(UsageError, match=message):
        logit_biases(model, [assignment])


# ------------------------------------------------------------------ conversations


def test_refuses_a_conversation_without_a_template(model, model_directory):
    with pytest.raises(DataError, match=r"no chat template .*; leave --chat away") as caught:
        open_chat(model, model_directory, GeneratePlan(), seed=0)

    assert str(model_directory) in str(caught.value)
    assert not stage.has_chat_template(model_directory)


def test_opens_a_conversation_by_the_model_s_template(model, model_directory):
    (model_directory / "chat_template.jinja").write_text("问：{{ messages[0].content }} 答：")

    assert stage.has_chat_template(model_directory)
    with open_chat(model, model_directory, GeneratePlan(), seed=0) as chat:
        assert chat.prompt(chat.opening("你好", None)).text == "问：你好 答："


# ------------------------------------------------------------------ speed

DONE = Completion(
    prompt="",
    text="",
    token_ids=tuple(range(11)),
    finish_reason="length",
    num_prompt_tokens=20,
    prompt_seconds=0.5,
    decode_seconds=2.0,
)


@pytest.fixture
def bandwidth(monkeypatch):
    """A device that reads 10 GB a second."""
    monkeypatch.setattr(stage, "read_bandwidth", lambda _device: 1e10)


@pytest.mark.usefixtures("bandwidth")
def test_speed_by_hand(model):
    found = speed(model, DONE)

    # Ten tokens after the first; halfway there were 20 + 5.5 tokens before.
    assert found == Speed(40.0, 5.0, 5.0 * bytes_per_token(model.model, 25.5), 1e10)


@pytest.mark.usefixtures("bandwidth")
@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"token_ids": (1,)}, id="a single token"),
        pytest.param({"token_ids": ()}, id="none"),
        pytest.param({"decode_seconds": 0.0}, id="in no time"),
    ],
)
def test_no_rate_without_a_second_token(change, model):
    found = speed(model, replace(DONE, **change))

    assert found == Speed(40.0, None, None, 1e10)
    assert str(found) == "prompt 40 tokens/s"


@pytest.mark.usefixtures("bandwidth")
def test_a_prompt_read_in_no_time_has_a_rate(model):
    assert math.isfinite(speed(model, replace(DONE, prompt_seconds=0.0)).prompt_tokens_per_second)


def test_speed_in_words():
    assert str(Speed(1234.4, 56.78, 4.5e9, 1e10)) == (
        "prompt 1,234 tokens/s; text 56.8 tokens/s; 4.5 GB/s, 45% of 10 GB/s measured"
    )


def test_the_seed_is_drawn_anew_and_fits_a_recipe():
    seeds = {stage.drawn_seed() for _ in range(4)}

    assert len(seeds) == 4
    assert all(0 <= seed < 2**63 for seed in seeds)
