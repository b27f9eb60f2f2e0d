"""cut_wire_format: messages at the ends of prose go, all else stays."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmctl.core.text.wire_format import cut_wire_format

ARTICLE = "春天来了，公园里的花都开了。\n\n孩子们在草地上放风筝，笑声传得很远。"
FINISH = '{"msg_type":"generate_answer_finish","data":""}'
CHUNK = (
    '{"id":"chatcmpl-1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{},'
    '"finish_reason":"stop"}]}'
)
MESSAGES = [
    pytest.param(FINISH, id="Coze"),
    pytest.param('{"msg_type": "x", "data": "{\\"a\\": [1]}", "n": {"b": null}}', id="nested"),
    pytest.param(CHUNK, id="OpenAI"),
    pytest.param(f"data: {CHUNK}", id="OpenAI as an event"),
    pytest.param("data: [DONE]", id="data done"),
    pytest.param("data:[DONE]", id="without a blank"),
    pytest.param("[DONE]", id="done"),
    pytest.param(f"data: {CHUNK}\n\ndata: [DONE]\n\n", id="two"),
    pytest.param('event: message_stop\ndata: {"type":"message_stop"}', id="Anthropic"),
    pytest.param("event: done", id="event"),
    pytest.param("event: done\ndata: {}", id="event with nothing"),
    pytest.param("id: 7\nevent: end\nretry: 100\ndata: [DONE]", id="all fields"),
    pytest.param('{"type":"message_stop"}', id="Anthropic as JSON"),
    pytest.param('{"event":"done"}', id="event as JSON"),
    pytest.param('{"code":0,"msg":"success","data":null}', id="envelope"),
    pytest.param('{"conversation_id":"7","is_finish":true}', id="conversation"),
]


@pytest.mark.parametrize("message", MESSAGES)
def test_cuts_messages_at_either_end(message):
    for article in (ARTICLE, "The children fly kites in the park\nand laugh."):
        for text in (
            f"{article}\n{message}",
            f"{article}\n\n\n{message}\n \n",
            f"{message}\n{article}",
        ):
            assert cut_wire_format(text) == (article, len(text) - len(article))
    both = f"{message}\n\n{ARTICLE}\n{message}"
    assert cut_wire_format(both) == (ARTICLE, len(both) - len(ARTICLE))


@pytest.mark.parametrize(
    "last", ["```", ":end_tab:", "[讨论](https://discuss.cn/t/1)", "| a | b |"]
)
def test_cuts_a_message_after_any_markup(last):
    article = f"{ARTICLE}\n```\nx = 1\n```\n{last if last != '```' else ''}".rstrip()

    assert cut_wire_format(f"{article}\n{FINISH}") == (article, len(FINISH) + 1)


@pytest.mark.parametrize("message", [FINISH, CHUNK, "data: [DONE]", f"data: {CHUNK}", "[DONE]"])
def test_cuts_a_message_glued_to_the_last_sentence(message):
    for article in (
        ARTICLE,
        "They laugh.",
        "They laugh!",
        "他说：“我们现在就走吧。”",
        "（完）写于春天的早晨。",
    ):
        for text in (
            f"{article}{message}",
            f"{article} {message}\n",
            f"{article}{message}{FINISH}",
        ):
            if message not in (FINISH, CHUNK) and FINISH in text:
                continue
            assert cut_wire_format(text) == (article, len(text) - len(article))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(ARTICLE, id="prose"),
        pytest.param("", id="nothing"),
        pytest.param(FINISH, id="nothing but a message"),
        pytest.param(f"{FINISH}\n{FINISH}\n", id="nothing but messages"),
        pytest.param(f"data: {CHUNK}\n\ndata: [DONE]", id="a stream"),
        pytest.param('{"event":"done","n":1}\n' * 50, id="JSON Lines"),
        pytest.param('{"a": 1,\n "msg_type": "b"}', id="JSON in lines"),
        pytest.param(f"A.\n{FINISH}", id="hardly any prose"),
        pytest.param(f"{ARTICLE}\n```json\n{FINISH}\n```", id="fence"),
        pytest.param(f"{ARTICLE}\n```json\n{FINISH}", id="fence that is not closed"),
        pytest.param(f"{ARTICLE}\n\n    {FINISH}", id="indented"),
        pytest.param(f"{ARTICLE}\n最后一条消息如下：\n\n{FINISH}", id="introduced"),
        pytest.param(f"The server then sends the following\n{FINISH}", id="introduced in English"),
        pytest.param(f"The server sends, for example, {CHUNK}", id="in a sentence"),
        pytest.param(f"`{FINISH}`", id="inline code"),
        pytest.param(
            f"字段msg_type说明消息的类型，客户端据此处理。\n{FINISH}", id="about the field"
        ),
        pytest.param(
            f'The first is {{"a": 1}}, the last ends the stream.\n{FINISH}', id="other JSON"
        ),
        pytest.param("A stream ends with [DONE] in every case.\ndata: [DONE]", id="about the end"),
        pytest.param(f"{ARTICLE}\n{FINISH}\n{ARTICLE}", id="in the middle"),
        pytest.param(f'{ARTICLE}\n{{"name":"spring","age":3}}', id="a record"),
        pytest.param(f'{ARTICLE}\n{{"type":"object","title":"Person"}}', id="a schema"),
        pytest.param(f"{ARTICLE}\nevent: the opening of the park", id="an event in words"),
        pytest.param(f"{ARTICLE}\nevent: Christmas", id="an event in a word"),
        pytest.param(f"{ARTICLE}\nid: 7", id="an id alone"),
        pytest.param(f"{ARTICLE}\ndata: 2024", id="a datum"),
        pytest.param(f"{ARTICLE}\ndata: {{}}", id="an empty datum"),
        pytest.param(f'{ARTICLE}\n{{"msg_type":"a"', id="cut off"),
        pytest.param(f"{ARTICLE}\n{{msg_type}}", id="a template"),
        pytest.param(f"{ARTICLE}\n[1, 2]", id="a list"),
        pytest.param(f"<p>A page of HTML</p>\n{FINISH}", id="markup"),
    ],
)
def test_leaves_alone(text):
    assert cut_wire_format(text) == (text, 0)


def test_leaves_a_long_log_alone():
    log = f"The log of the server on this day\n{(FINISH + chr(10)) * 30}"

    assert cut_wire_format(log) == (log, 0)


@given(
    st.lists(
        st.sampled_from(
            [ARTICLE, FINISH, CHUNK, "data: ", "[DONE]", "event: done", "\n", " ", "```", "。"]
        ),
        max_size=8,
    ).map("".join)
    | st.text(st.characters(exclude_categories=()), max_size=40)
)
@settings(max_examples=400, deadline=None)
def test_the_rest_is_a_part_of_the_text_and_has_nothing_more_to_cut(text):
    rest, num_cut = cut_wire_format(text)

    assert rest in text
    assert len(text) - len(rest) == num_cut
    if num_cut:
        assert cut_wire_format(rest) == (rest, 0)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("{" * 1_000_000, id="brackets"),
        pytest.param("。{" * 500_000 + "}", id="brackets after sentences"),
        pytest.param("。data:{" * 200_000 + "}", id="data after sentences"),
        pytest.param(ARTICLE * 20_000 + "\n" + FINISH, id="a long article"),
        pytest.param((FINISH + "\n") * 20_000, id="messages"),
        pytest.param("\n" * 1_000_000 + FINISH, id="newlines"),
        pytest.param("{}" * 500_000, id="objects"),
    ],
)
def test_looks_only_at_the_ends(text):
    begin = time.process_time()

    cut_wire_format(text)

    assert time.process_time() - begin < 0.5
