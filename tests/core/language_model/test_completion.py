"""Completions: streamed and whole, alone and in a batch, with and without stop strings."""

import subprocess
import sys

import pytest

import llmctl
from llmctl.core.decoding.generation import Generation
from llmctl.core.errors import DataError, MissingInputError, UsageError
from llmctl.core.language_model import completion
from llmctl.core.language_model.language_model import LanguageModel
from llmctl.core.recipe import GeneratePlan
from llmctl.core.stages.generate import drawn_seed, generate, open_model, stream_completion

PROMPTS = ["The world is", "世界", "", "Naïve café — 你好, world!"]
SAMPLED = GeneratePlan(temperature=1.0, top_p=None, max_tokens=30)
GREEDY = GeneratePlan(temperature=0.0, max_tokens=20)


def complete(language_model, prompts, plan, seed=1):
    return list(generate(plan, language_model, prompts, seed=seed))


def test_the_text_is_that_of_the_tokens(language_model):
    for prompt, done in zip(PROMPTS, complete(language_model, PROMPTS, SAMPLED), strict=True):
        assert done.prompt == prompt
        assert done.text == language_model.tokenizer.decode(list(done.token_ids))
        assert done.num_prompt_tokens == len(language_model.tokenizer.encode(prompt))
        assert len(done.token_ids) == 30 or done.finish_reason == "stop"


@pytest.mark.parametrize("plan", [SAMPLED, GREEDY])
def test_streamed_is_whole(language_model, plan):
    for prompt in PROMPTS:
        pieces = []
        streamed = stream_completion(language_model, prompt, plan, seed=5, write=pieces.append)

        assert streamed == complete(language_model, [prompt], plan, seed=5)[0]
        assert "".join(pieces) == streamed.text


def test_many_batches_are_one(language_model, monkeypatch):
    whole = complete(language_model, PROMPTS * 2, SAMPLED)
    monkeypatch.setattr(completion, "BATCH_ROWS", 3)

    assert complete(language_model, PROMPTS * 2, SAMPLED) == whole


def test_a_stop_string_ends_the_text_and_is_no_part_of_it(language_model):
    text = complete(language_model, ["The world is"], GREEDY)[0].text
    stop = text[5:9]
    plan = GREEDY.model_copy(update={"stop": (stop, "never met")})

    done = complete(language_model, ["The world is"], plan)[0]

    assert done.text == text[: text.index(stop)]
    assert done.finish_reason == "stop"
    assert len(done.token_ids) < 20


def test_what_a_stop_string_held_back_comes_at_the_end(language_model):
    text = complete(language_model, ["The world is"], GREEDY)[0].text
    plan = GREEDY.model_copy(update={"stop": (text[-1] + "never met",)})

    done = complete(language_model, ["The world is"], plan)[0]

    assert (done.text, done.finish_reason) == (text, "length")


def test_an_empty_prompt_begins_a_text(language_model):
    end = language_model.tokenizer.end_of_text_id
    begun = Generation(language_model.model, [[end]], GREEDY, seed=0)

    done = complete(language_model, [""], GREEDY)[0]

    assert done.token_ids == tuple(chosen.token_id for chosen in begun)
    assert done.num_prompt_tokens == 0


class OtherEnd:
    """A tokenizer in which another token ends texts."""

    def __init__(self, tokenizer, end_of_text_id):
        self.tokenizer = tokenizer
        self.end_of_text_id = end_of_text_id

    def __getattr__(self, name):
        return getattr(self.tokenizer, name)


def test_the_end_of_text_ends_a_completion(language_model):
    greedy = complete(language_model, ["The world is"], GREEDY)[0]
    end = greedy.token_ids[7]
    cut = greedy.token_ids.index(end)
    ending = LanguageModel(language_model.model, OtherEnd(language_model.tokenizer, end))

    done = complete(ending, ["The world is"], GREEDY)[0]

    assert (done.token_ids, done.finish_reason) == (greedy.token_ids[:cut], "stop")


def test_refusals_come_before_any_text(language_model):
    with pytest.raises(DataError, match=r"prompt 2 has .* tokens and the model's context holds 48"):
        language_model.complete(["a", "世界" * 60], GREEDY, seed=0)
    with pytest.raises(UsageError, match="a stop string is empty"):
        language_model.complete(["a"], GREEDY.model_copy(update={"stop": ("",)}), seed=0)


def test_python_interface(model_directory):
    model = llmctl.load(model_directory, device="cpu", dtype="float32")
    plan = GeneratePlan(max_tokens=9, temperature=0.5)

    text = model.complete("世界", max_tokens=9, temperature=0.5, seed=4)

    opened = open_model(model_directory, device="cpu", dtype="float32")
    assert text == complete(opened, ["世界"], plan, seed=4)[0].text
    assert model.score("世界").byte_counts_N.sum() == 6
    with pytest.raises(UsageError, match="max_tokenz"):
        model.complete("a", max_tokenz=3)
    with pytest.raises(MissingInputError, match="no model here"):
        llmctl.load("nowhere")


def test_drawn_seeds_differ():
    assert drawn_seed() != drawn_seed()


def test_importing_llmctl_imports_nothing_heavy():
    code = (
        "import sys, llmctl; "
        "print([name for name in ('torch', 'numpy', 'pydantic', 'tokenizers', 'yaml') "
        "if name in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
