"""Completions: streamed and whole, alone and in a batch, with and without stop strings."""

import subprocess
import sys

import pytest

import llmctl
from llmctl.core.decoding import generation
from llmctl.core.decoding.generation import Generation
from llmctl.core.errors import DataError, MissingInputError, UsageError
from llmctl.core.language_model import completion
from llmctl.core.language_model.completion import Completer, Completion, Prompt
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


def test_nothing_is_written_after_a_stop_string(language_model, monkeypatch):
    text = complete(language_model, ["The world is"], GREEDY)[0].text
    plan = GREEDY.model_copy(update={"stop": (text[2:4],)})
    steps = []
    choose = generation.choose
    monkeypatch.setattr(generation, "choose", lambda *given: steps.append(1) or choose(*given))

    done = complete(language_model, ["The world is"], plan)[0]

    assert len(steps) == len(done.token_ids) < 20


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


@pytest.fixture(scope="module")
def completer(language_model):
    return language_model.completer


SEVERAL = SAMPLED.model_copy(update={"num_samples": 3, "max_tokens": 9})


def test_samples_come_in_order_and_the_first_is_the_only_one(completer):
    several = list(completer.complete(PROMPTS, SEVERAL, seed=1))
    single = list(
        completer.complete(PROMPTS, SEVERAL.model_copy(update={"num_samples": 1}), seed=1)
    )

    assert [(done.prompt, done.sample) for done in several] == [
        (prompt, sample) for prompt in PROMPTS for sample in range(3)
    ]
    assert several[::3] == single
    assert len({done.token_ids for done in several}) > 8
    pieces = "".join(completer.stream(PROMPTS[0], SEVERAL, seed=1))
    assert pieces == single[0].text


def test_ids_already_made_are_read_as_they_are(completer):
    text = "The world is"
    ids = tuple(completer.tokenizer.encode(text))

    given, made = completer.complete([Prompt("你好", ids), Prompt(text, ids[1:])], GREEDY, seed=1)

    assert (given.prompt, given.num_prompt_tokens) == ("你好", len(ids))
    assert given.token_ids == next(completer.complete([text], GREEDY, seed=1)).token_ids
    assert made.token_ids != given.token_ids
    assert completer.prompt(text) == Prompt(text, ids)


def test_log_probabilities_stand_beside_the_tokens(completer):
    plan = SAMPLED.model_copy(update={"max_tokens": 60})

    asked = list(completer.complete(PROMPTS, plan, seed=1, with_logprobs=True))

    for done in asked:
        assert len(done.logprobs) == len(done.token_ids) > 0
        assert all(-50 < logprob < 0 for logprob in done.logprobs)
    assert all(done.logprobs is None for done in completer.complete(PROMPTS, plan, seed=1))
    assert any(done.finish_reason == "stop" for done in asked), "no text ended: the test is void"


def test_as_ready_is_in_order_but_for_the_order(completer):
    numbered = [(2 * row + 5, prompt) for row, prompt in enumerate(PROMPTS * 6)]

    ready = list(completer.complete_as_ready(iter(numbered), SEVERAL, seed=3))

    assert sorted({number for number, _ in ready}) == [number for number, _ in numbered]
    assert len(ready) == 3 * len(numbered)
    for number, done in ready:
        if number in (5, 7, 51):
            alone = completer.complete_as_ready([(number, done.prompt)], SEVERAL, seed=3)
            assert (number, done) in list(alone)


@pytest.mark.parametrize("num_beams", [1, 3])
def test_what_is_refused_comes_out_as_an_error_and_the_rest_goes_on(completer, num_beams):
    plan = GREEDY.model_copy(update={"max_tokens": 3, "num_beams": num_beams})
    prompts = [(0, "a"), (1, "世界" * 60), (2, "b\ud800"), (3, "c"), (4, "世界" * 60)]

    ready = dict(completer.complete_as_ready(prompts, plan, seed=0))

    assert sorted(ready) == [0, 1, 2, 3, 4]
    assert isinstance(ready[0], Completion)
    assert isinstance(ready[3], Completion)
    assert "prompt 5 has" in str(ready[4])
    assert "the model's context holds 48" in str(ready[1])
    assert "half a character" in str(ready[2])
    assert all(isinstance(ready[number], DataError) for number in (1, 2, 4))
    only = list(completer.complete_as_ready([(7, "世界" * 60)], plan, seed=0))
    assert [number for number, _ in only] == [7]


def test_a_completer_is_told_what_ends_and_begins_a_text(completer):
    free = next(completer.complete(["The world is"], GREEDY, seed=0))
    ends = frozenset(free.token_ids[4:6])
    told = Completer(completer.model, completer.tokenizer, ends, begin_id=None)

    done = next(told.complete(["The world is"], GREEDY, seed=0))

    assert done.finish_reason == "stop"
    assert done.token_ids == free.token_ids[: min(free.token_ids.index(end) for end in ends)]
    with pytest.raises(DataError, match=r"prompt 2 is empty, and the model has no token that"):
        told.complete(["a", ""], GREEDY, seed=0)
    with pytest.raises(DataError, match="prompt 1 is empty"):
        next(told.stream("", GREEDY, seed=0))


def test_beams_are_completions_with_a_score(completer):
    plan = GeneratePlan(num_beams=4, num_samples=3, max_tokens=12)

    found = list(completer.complete(PROMPTS, plan, seed=0, with_logprobs=True))

    assert [(done.prompt, done.sample) for done in found] == [
        (prompt, rank) for prompt in PROMPTS for rank in range(3)
    ]
    for first in range(0, len(found), 3):
        scores = [done.score for done in found[first : first + 3]]
        assert scores == sorted(scores, reverse=True)
    whole = found[0]
    assert whole.text == completer.tokenizer.decode(whole.token_ids)
    if whole.finish_reason == "length":
        assert whole.score == pytest.approx(sum(whole.logprobs) / 12, abs=1e-4)
    assert "".join(completer.stream(PROMPTS[0], plan, seed=0)) == whole.text
    stop = whole.text[3:6]
    cut = next(completer.complete([PROMPTS[0]], plan.model_copy(update={"stop": (stop,)}), seed=0))
    assert (cut.text, cut.finish_reason) == (whole.text[: whole.text.index(stop)], "stop")


def test_where_there_are_fewer_beams_than_asked_for_the_rest_comes_in_order(completer):
    plan = GeneratePlan(num_beams=301, num_samples=301, max_tokens=1)

    found = list(completer.complete(PROMPTS[:2], plan, seed=0))

    assert [(done.prompt, done.sample) for done in found] == [
        (prompt, rank) for prompt in PROMPTS[:2] for rank in range(300)
    ]


def test_time_ends_a_completion(completer):
    plan = GREEDY.model_copy(update={"time_limit_seconds": 1e-9})

    done = next(completer.complete(["世界"], plan, seed=0))

    assert (done.finish_reason, len(done.token_ids)) == ("time", 1)


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
