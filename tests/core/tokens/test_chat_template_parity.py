"""Chat templates in the manner of public families: the text that transformers gives."""

from __future__ import annotations

import contextlib

import pytest
from family_templates import CHATML, GEMMA, LLAMA3, MISTRAL, PHI3, QWEN, SMOLLM
from tokenizers import Tokenizer
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from llmctl.core.errors import DataError
from llmctl.core.tokens.chat_template import TemplateRenderer, read_chat_template

FAMILIES = {
    "ChatML": CHATML,
    "SmolLM": SMOLLM,
    "Llama 3": LLAMA3,
    "Qwen": QWEN,
    "Gemma": GEMMA,
    "Mistral": MISTRAL,
    "Phi-3": PHI3,
}
ENGLISH = {"role": "user", "content": "  What is <the> \"capital\" of France & 'Spain'?\n"}
CHINESE = {"role": "user", "content": "法国的首都是哪里？🇫🇷\r\n第二行\n"}
SYSTEM = {"role": "system", "content": "你是一个简短的助手。 "}
REPLY = {"role": "assistant", "content": " Paris, 巴黎。\n"}
WEATHER = {"name": "weather", "description": "天气 <now>", "parameters": {"type": "object"}}
CALL = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"type": "function", "function": {"name": "weather", "arguments": {"城": 1.5}}}],
}
CONVERSATIONS = {
    "English": [ENGLISH],
    "Chinese": [CHINESE],
    "system": [SYSTEM, ENGLISH],
    "two turns": [ENGLISH, REPLY, CHINESE],
    "system, two turns": [SYSTEM, CHINESE, REPLY, ENGLISH],
    "ends with a reply": [ENGLISH, REPLY],
    "empty": [{"role": "user", "content": ""}],
    "thought aloud": [
        ENGLISH,
        {"role": "assistant", "content": "<think>\n想\n</think>\n\nParis"},
        CHINESE,
        {"role": "assistant", "content": "巴黎", "reasoning": "the same\n"},
    ],
    "tool": [CHINESE, CALL, {"role": "tool", "content": '{"t": 20}'}, REPLY],
    "parts": [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": " 图 "}]}],
    "two users": [ENGLISH, CHINESE],
    "unknown role": [ENGLISH, {"role": "critic", "content": "no"}],
}
NOT_FOR_EVERY_FAMILY = {"tool", "parts", "two users", "unknown role"}
VARIABLES = {
    "none": {},
    "no thinking": {"enable_thinking": False, "date_string": "26 Jul 2024"},
    "tools": {"tools": [WEATHER, {"name": "search"}], "date_string": "1月"},
    "another token": {"bos_token": "<another>", "documents": [{"title": "t", "text": "文"}]},
}


@pytest.fixture(scope="module", params=FAMILIES)
def both(request, tmp_path_factory):
    """The oracle, and ours made from what the oracle saved."""
    directory = tmp_path_factory.mktemp("saved")
    theirs = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(BPE()),
        bos_token="<s>",
        eos_token="<|end|>",
        chat_template=FAMILIES[request.param],
    )
    theirs.save_pretrained(directory)
    template = read_chat_template(directory)
    assert template is not None
    with TemplateRenderer(template, time_limit_seconds=20) as renderer:
        yield theirs, renderer


@pytest.mark.parametrize("variables", VARIABLES.values(), ids=VARIABLES)
@pytest.mark.parametrize("name", CONVERSATIONS)
def test_text_is_that_of_transformers(both, name, variables):
    theirs, renderer = both
    messages = CONVERSATIONS[name]
    for prompted in (True, False):
        expected = None
        with contextlib.suppress(Exception):  # it refuses with whatever the template ran into
            expected = theirs.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=prompted, **variables
            )
        try:
            rendered = renderer.render(
                messages, add_generation_prompt=prompted, variables=variables
            )
        except DataError:
            rendered = None

        assert rendered == expected
        assert rendered is not None or name in NOT_FOR_EVERY_FAMILY


@pytest.mark.parametrize("saved_as_file", [True, False])
def test_template_and_tokens_are_read_as_they_were_saved(tmp_path, saved_as_file):
    theirs = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(BPE()),
        bos_token="<s>",
        pad_token="<填>",
        chat_template={"default": "世界\n", "tool_use": "tools"},
    )
    theirs.save_pretrained(tmp_path, save_jinja_files=saved_as_file)

    template = read_chat_template(tmp_path)

    assert template is not None
    assert template.source == "世界\n"
    assert template.special_tokens == theirs.special_tokens_map
