"""llmctl beside transformers: that they agree, and each way in which they may not.

The tests of this subject that import transformers are here, since importing it takes seconds.
"""

import functools
import json
import sys
from dataclasses import replace

import pytest
import torch
import transformers
from core.language_model import conftest as made_here
from core.language_model.made_models import make

from llmctl.core.errors import DataError, MissingInputError
from llmctl.core.language_model.language_model import LanguageModel
from llmctl.core.stages import parity
from llmctl.core.stages.parity import Parity, compare

tokenizer_path = made_here.tokenizer_path

PROMPT = "The world 世界"
ALIKE = Parity(
    num_prompt_tokens=5,
    ids_agree=True,
    largest_difference=1e-6,
    largest_logit=2.5,
    num_tokens=8,
    first_difference=None,
    text="世界",
    their_text="世界",
)


@pytest.fixture(scope="module")
def made(tmp_path_factory, tokenizer_path):
    """(case) → the directory of a model that transformers made, once."""

    @functools.cache
    def made(case_id):
        directory = tmp_path_factory.mktemp(case_id)
        make(case_id, directory, tokenizer_path)
        return directory

    return made


@pytest.fixture
def change_ours(monkeypatch):
    """Let what llmctl loads be changed before it is compared."""

    def change_ours(edit):
        load = LanguageModel.load

        def changed(*args, **kwargs):
            model = load(*args, **kwargs)
            with torch.no_grad():
                edit(model)
            return model

        monkeypatch.setattr(parity.LanguageModel, "load", changed)

    return change_ours


# ------------------------------------------------------------------ agreement


@pytest.mark.parametrize("case_id", ["gpt2", "qwen3", "qwen3-moe"])
def test_they_agree(case_id, made):
    found = compare(made(case_id), PROMPT, max_tokens=12)

    assert found.agrees, str(found)
    assert found.num_prompt_tokens > 5
    assert found.num_tokens > 4  # else nothing is compared
    assert found.text == found.their_text != ""
    assert 0 < found.largest_difference < 1e-3
    assert found.largest_logit > 1


def test_an_empty_prompt_begins_a_text(made):
    found = compare(made("gpt2"), "", max_tokens=4)

    assert found.agrees, str(found)
    assert found.num_prompt_tokens == 1


def test_a_prompt_that_fills_the_context_is_compared_whole(made):
    found = compare(made("gpt2"), "世" * 64, max_tokens=4)  # two tokens each

    assert found.num_prompt_tokens == 128
    assert found.num_tokens == 1
    assert found.agrees, str(found)


# ------------------------------------------------------------------ disagreement


def test_an_altered_weight_is_found(made, change_ours):
    change_ours(lambda model: model.model.final_norm.gain.mul_(1.001))

    found = compare(made("gpt2"), PROMPT, max_tokens=8)

    assert not found.agrees
    assert found.largest_difference > 1e-4 * found.largest_logit
    assert found.ids_agree


def test_another_continuation_is_found_at_its_first_token(made, change_ours):
    change_ours(lambda model: model.model.final_norm.gain.neg_())

    found = compare(made("gpt2"), PROMPT, max_tokens=8)

    assert not found.agrees
    assert found.first_difference == 0
    assert found.text != found.their_text
    assert str(found).splitlines()[2:] == [
        "greedy: token 1 differs",
        f"  llmctl       {found.text!r}",
        f"  transformers {found.their_text!r}",
    ]


def test_another_tokenizer_is_found(made, monkeypatch):
    ids = transformers.AutoTokenizer.from_pretrained(made("gpt2"))(PROMPT)["input_ids"]
    monkeypatch.setattr(
        transformers.AutoTokenizer,
        "from_pretrained",
        lambda _path: lambda _text: {"input_ids": [*ids, 7]},
    )

    found = compare(made("gpt2"), PROMPT, max_tokens=4)

    assert not found.ids_agree
    assert not found.agrees
    assert found.first_difference is None  # both went on from our ids


@pytest.mark.parametrize(
    ("change", "agrees"),
    [
        pytest.param({}, True, id="alike"),
        pytest.param({"ids_agree": False}, False, id="ids"),
        pytest.param({"first_difference": 0}, False, id="the first token"),
        pytest.param({"largest_difference": 2.4e-4}, True, id="within the tolerance"),
        pytest.param({"largest_difference": 2.6e-4}, False, id="relative to the largest logit"),
        pytest.param(
            {"largest_difference": 9e-5, "largest_logit": 0.1}, True, id="small logits: absolute"
        ),
        pytest.param({"largest_difference": float("nan")}, False, id="not a number"),
    ],
)
def test_what_agreement_is(change, agrees):
    assert replace(ALIKE, **change).agrees is agrees


def test_told_in_three_lines():
    assert str(ALIKE) == (
        "prompt: 5 tokens, ids agree\n"
        "logits: largest difference 1e-06, largest logit 2.50\n"
        "greedy: all 8 tokens agree"
    )
    assert str(replace(ALIKE, ids_agree=False)).startswith("prompt: 5 tokens, ids differ\n")


# ------------------------------------------------------------------ refusals


def test_without_transformers_the_extra_is_named(made, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)

    with pytest.raises(
        MissingInputError, match=r"needs transformers: pip install 'llmctl-toolkit\[parity\]'"
    ) as caught:
        compare(made("gpt2"), PROMPT, max_tokens=4)

    assert caught.value.exit_code == 66


def test_what_transformers_cannot_read_is_told(made, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise RuntimeError("weights of another shape")

    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", refuse)

    with pytest.raises(DataError, match=r"transformers cannot read it: weights of another shape"):
        compare(made("gpt2"), PROMPT, max_tokens=4)


# ------------------------------------------------------------------ the command


def test_the_command_tells_and_ends_with_0(made, llmctl):
    result = llmctl("generate", PROMPT, "-m", made("gpt2"), "--parity", "-n", "6")

    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[2] == "greedy: all 6 tokens agree"
    assert result.stderr == ""


def test_the_command_ends_with_1_where_they_differ(made, llmctl, change_ours):
    change_ours(lambda model: model.model.final_norm.gain.neg_())

    result = llmctl("generate", PROMPT, "-m", made("gpt2"), "--parity", "-n", "6", "--json")

    assert result.exit_code == 1, result.stderr
    told = json.loads(result.stdout)
    assert told["agrees"] is False
    assert (told["first_difference"], told["num_tokens"]) == (0, 6)
    assert told["largest_difference"] > 1
