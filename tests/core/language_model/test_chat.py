"""A conversation: what the model reads of it, where its replies end, how they are drawn."""

from contextlib import contextmanager

import pytest
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, processors, trainers

from llmctl.core.errors import DataError, UsageError
from llmctl.core.language_model.chat import Chat
from llmctl.core.language_model.generation_config import GenerationConfig
from llmctl.core.language_model.language_model import LanguageModel
from llmctl.core.recipe import GeneratePlan
from llmctl.core.tokens.chat_template import ChatTemplate
from llmctl.core.tokens.tokenizer import Tokenizer

BEGIN, END, TURN, END_OF_TURN = range(4)
SPECIALS = ["<s>", "</s>", "<|im_start|>", "<|im_end|>"]
VOCAB_SIZE = 300
CHATML = (
    "{{ bos_token }}{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
GREEDY = GeneratePlan(temperature=0.0, max_tokens=8)
SAMPLED = GeneratePlan(temperature=1.0, top_p=None, max_tokens=8)
HELLO = [{"role": "user", "content": "你好"}]


@pytest.fixture(scope="module")
def chat_model(make_model):
    """A model whose tokenizer begins every text with <s>."""
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=SPECIALS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(["你好,世界。", "assistant user system"] * 3, trainer)
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", BEGIN)]
    )
    generation = GenerationConfig(BEGIN, frozenset({END}))
    return LanguageModel(make_model(), Tokenizer(backend), generation)


@pytest.fixture(scope="module")
def opened(chat_model):
    """(template, plan, seed) → a conversation, to be entered."""

    @contextmanager
    def open_chat(source=CHATML, plan=GREEDY, seed=0):
        template = ChatTemplate(source, {"bos_token": "<s>", "eos_token": "</s>"})
        with Chat(chat_model, template, plan, seed=seed) as chat:
            yield chat

    return open_chat


@pytest.fixture(scope="module")
def chat(opened):
    """A conversation in ChatML, of which nothing may be changed."""
    with opened() as chat:
        yield chat


def drawn(model, chat, messages, plan, seed):
    """The reply as `complete` gives it, all read anew."""
    completer = chat.completer
    assert completer.model is model.model
    return next(completer.complete([chat.prompt(messages)], plan, seed=seed)).text


# ------------------------------------------------------------------ what is read


def test_a_conversation_as_the_template_writes_it(chat, chat_model):
    messages = chat.opening("你好", "Be brief. 简短。")

    prompt = chat.prompt(messages)

    assert prompt.text == (
        "<s><|im_start|>system\nBe brief. 简短。<|im_end|>\n"
        "<|im_start|>user\n你好<|im_end|>\n<|im_start|>assistant\n"
    )
    assert [token for token in prompt.ids if token < len(SPECIALS)] == [
        *(BEGIN, TURN, END_OF_TURN),
        *(TURN, END_OF_TURN, TURN),
    ]
    assert chat_model.tokenizer.decode(prompt.ids) == (
        "system\nBe brief. 简短。\nuser\n你好\nassistant\n"
    )


@pytest.mark.parametrize(
    ("source", "begins"),
    [
        pytest.param("{{ bos_token }}你", [BEGIN], id="written by the template"),
        pytest.param("{{ bos_token * 3 }}你", [BEGIN], id="written too often"),
        pytest.param("你", [], id="not written, and not added"),
        pytest.param("{{ bos_token }}你{{ bos_token * 2 }}", [BEGIN] * 3, id="later ones are text"),
        pytest.param("{{ bos_token }}", [BEGIN], id="nothing else"),
        pytest.param("{{ eos_token * 2 }}", [END] * 2, id="another token may be doubled"),
    ],
)
def test_a_text_begins_once(source, begins, opened):
    with opened(source) as chat:
        ids = chat.prompt(HELLO).ids

    assert [token for token in ids if token < len(SPECIALS)] == begins


def test_opening_without_a_system_prompt():
    assert Chat.opening("你好", None) == HELLO
    assert Chat.opening("你好", "")[0] == {"role": "system", "content": ""}


# ------------------------------------------------------------------ where replies end


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param(CHATML, {END_OF_TURN}, id="chatml"),
        pytest.param("{{ messages[-1].content }} \n<|im_end|>", {END_OF_TURN}, id="after a space"),
        pytest.param("{{ messages[-1].content }}</s>", {END}, id="the end of the text"),
        pytest.param("{{ messages[-1].content }}\nUser: <|im_end|>", set(), id="plain words"),
        pytest.param("{{ messages[-1].content }}", set(), id="nothing"),
        pytest.param("<|im_start|>{{ messages[0].content }}", set(), id="replies left out"),
    ],
)
def test_a_reply_ends_where_the_template_ends_it(source, expected, opened, chat_model):
    with opened(source) as chat:
        assert chat.completer.stop_ids == {END} | expected

    assert chat_model.completer.stop_ids == {END}


def test_the_end_of_a_turn_is_no_part_of_the_reply(opened):
    plan = GREEDY.model_copy(update={"logit_bias": {END_OF_TURN: 1e4}, "min_tokens": 3})
    pieces = []

    with opened(plan=plan) as chat:
        reply = chat.reply(HELLO, pieces.append)
        done = next(chat.completer.complete([chat.prompt(HELLO)], plan, seed=0))

    assert done.finish_reason == "stop"
    assert len(done.token_ids) == 3
    assert reply == done.text == "".join(pieces)


# ------------------------------------------------------------------ replies


def test_each_reply_draws_anew_and_a_seed_repeats_all(opened, chat_model):
    said = []
    with opened(plan=SAMPLED, seed=5) as chat:
        for _ in range(3):
            pieces = []
            said.append(chat.reply(HELLO, pieces.append))
            assert said[-1] == "".join(pieces)
        expected = [drawn(chat_model, chat, HELLO, SAMPLED, seed) for seed in (5, 6, 7)]

    assert said == expected
    assert len(set(said)) == 3


def test_a_conversation_that_grows_is_as_if_read_anew(opened, chat_model):
    turns = list(HELLO)
    with opened(plan=SAMPLED) as chat:
        for seed in range(3):
            reply = chat.reply(turns, lambda _: None)
            assert reply == drawn(chat_model, chat, turns, SAMPLED, seed)
            # A reply's tokens need not be those in which its text is encoded again.
            turns += [{"role": "assistant", "content": reply[:2]}, {"role": "user", "content": "?"}]


def test_after_a_reply_that_was_stopped_the_next_is_as_ever(opened, chat_model):
    def interrupt(_):
        raise KeyboardInterrupt

    with opened(plan=SAMPLED) as chat:
        with pytest.raises(KeyboardInterrupt):
            chat.reply(HELLO, interrupt)

        assert chat.reply(HELLO, lambda _: None) == drawn(chat_model, chat, HELLO, SAMPLED, 1)


@pytest.mark.parametrize(
    ("source", "content", "message"),
    [
        ("{{ raise_exception('no 系统') }}", "你好", "refuses the conversation: no 系统"),
        (CHATML, "你好" * 40, "tokens and the model's context holds 48; shorten the prompt"),
    ],
)
def test_refuses_what_the_template_refuses_and_what_is_too_long(source, content, message, opened):
    with opened(source) as chat, pytest.raises(DataError, match=message):
        chat.reply(chat.opening(content, None), print)


# ------------------------------------------------------------------ settings


def test_settings_act_from_the_next_reply_on(opened, chat_model):
    with opened(plan=SAMPLED) as chat:
        chat.change("temperature", "0")
        chat.change("max_tokens", "3")

        reply = chat.reply(HELLO, lambda _: None)

        plan = GREEDY.model_copy(update={"max_tokens": 3})
        assert reply == drawn(chat_model, chat, HELLO, plan, 0)


@pytest.mark.parametrize(
    ("setting", "text", "value"),
    [
        ("temperature", "1", 1.0),
        ("temperature", "0.25", 0.25),
        ("top_k", "40", 40),
        ("top_k", "none", None),
        ("top_p", "null", None),
        ("early_stopping", "True", True),
        ("early_stopping", "never", "never"),
        ("stop", "世界 end", ("世界 end",)),
        ("stop", "5", ("5",)),
        ("stop", "none", ()),
        ("samplers", "top_k,temperature", ("top_k", "temperature")),
    ],
)
def test_a_setting_is_read_and_the_others_stay(setting, text, value, chat_model):
    plan = GeneratePlan(top_p=None, min_p=0.1, stop=("x",), temperature=0.3)
    chat = Chat(chat_model, ChatTemplate(CHATML, {}), plan, seed=0)

    chat.change(setting, text)

    assert chat._plan == plan.model_copy(update={setting: value})


@pytest.mark.parametrize(
    ("setting", "text", "message"),
    [
        ("temprature", "1", r"no setting 'temprature'; there are early_stopping, .*temperature"),
        ("temperature", "warm", r"^temperature: Input should be a valid number, found 'warm'"),
        ("temperature", "-1", r"^temperature: Input should be greater than or equal to 0, found -"),
        ("temperature", "1e999", r"^temperature: Input should be a finite number, found inf"),
        ("temperature", "none", r"^temperature: Input should be a valid number, found None"),
        ("top_k", "1.5", r"^top_k: Input should be a valid integer, found 1.5"),
        ("samplers", "top_q", r"^samplers.0: Input should be 'temperature', .* found 'top_q'"),
    ],
)
def test_a_mistaken_setting_changes_nothing(setting, text, message, chat_model):
    chat = Chat(chat_model, ChatTemplate(CHATML, {}), SAMPLED, seed=0)

    with pytest.raises(UsageError, match=message):
        chat.change(setting, text)

    assert chat._plan == SAMPLED
