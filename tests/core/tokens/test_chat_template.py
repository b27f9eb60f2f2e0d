"""Chat templates: read as transformers reads them, rendered behind bars."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmctl.core.errors import DataError, LlmctlError, UsageError
from llmctl.core.tokens import chat_template
from llmctl.core.tokens.chat_template import (
    MAX_TEMPLATE_BYTES,
    MAX_TEXT_CHARACTERS,
    ChatTemplate,
    Rendered,
    RenderRequest,
    TemplateRenderer,
    read_chat_template,
)

CHATML = (
    "{% for message in messages %}"
    "<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
HELLO = [{"role": "user", "content": "你好 <b>&"}]
PARENT = """
import sys
from llmctl.core.tokens.chat_template import ChatTemplate, TemplateRenderer
with TemplateRenderer(ChatTemplate("{{ 10 ** (10 ** 9) }}", {}), time_limit_seconds=1) as renderer:
    print(renderer._process._child.pid, flush=True)
    renderer.render([{"role": "user", "content": ""}])
"""


@pytest.fixture(scope="module")
def render():
    """Render with any template, all in one child."""
    with TemplateRenderer(ChatTemplate("", {}), time_limit_seconds=20) as renderer:

        def run(source, messages=HELLO, special_tokens=None, **arguments):
            renderer._template = ChatTemplate(source, special_tokens or {})
            return renderer.render(messages, **arguments)

        yield run


def is_gone(process_id):
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return True
    status = Path(f"/proc/{process_id}/stat")  # one that nobody has waited for is gone too
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z"


# Rendering, by hand


def test_conversation_in_chatml(render):
    messages = [{"role": "system", "content": "Be brief."}, *HELLO]

    assert render(CHATML, messages) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\n你好 <b>&<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    assert render(CHATML, add_generation_prompt=False) == (
        "<|im_start|>user\n你好 <b>&<|im_end|>\n"
    )


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param("{{ bos_token }}|{{ eos_token }}|{{ pad_token }}", "<s>|</s>|", id="tokens"),
        pytest.param("{{ thinking }}{{ tools is none }}", "FalseTrue", id="a variable, and none"),
        pytest.param("  {% if true %}\na\n  {% endif %}\nb", "a\nb", id="blocks leave no space"),
        pytest.param(
            "{% for i in range(9) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}",
            "01",
            id="break",
        ),
        pytest.param("{{ messages[0].content | tojson }}", '"你好 <b>&"', id="tojson, as it is"),
        pytest.param("{{ messages[0].content | tojson(ensure_ascii=true) }}", None, id="ASCII"),
        pytest.param("{{ dict(a=1) | tojson(indent=1) }}", '{\n "a": 1\n}', id="indented"),
        pytest.param("{{ dict.fromkeys(['a'], 0) }}", "{'a': 0}", id="dict.fromkeys"),
        pytest.param(
            "{% set n = namespace(self=1) %}{% set n.x = n.self + 1 %}{{ n.x }}",
            "2",
            id="namespace",
        ),
        pytest.param(
            "{% set a = 1 %}{% generation %}{% set a = 2 %}{{ a }}{% endgeneration %}{{ a }}",
            "21",
            id="what is set in a generation block stays there",
        ),
    ],
)
def test_a_part_of_the_language(render, source, expected):
    rendered = render(
        source,
        special_tokens={"bos_token": "<s>", "eos_token": "</s>"},
        variables={"thinking": False},
    )

    assert rendered == (expected or json.dumps(HELLO[0]["content"]))


def test_batch_answers_each_conversation_and_says_which_beginnings_it_has():
    source = "{{ raise_exception('no') if messages[0].content == 'bad' }}" + CHATML.replace(
        "{{ message.content }}", "{% generation %}{{ message.content }}{% endgeneration %}"
    ).replace("{% for", "{{ messages | length if messages | length == 3 }}{% for")
    requests = [
        RenderRequest(HELLO, [(1, False), (1, True), (0, True)]),
        RenderRequest([{"role": "user", "content": "bad"}]),
        RenderRequest(HELLO * 3, [(1, False), (3, False)]),
    ]
    with TemplateRenderer(ChatTemplate(source, {})) as renderer:
        first, second, *rest = renderer.render_batch(requests * 50, marks=("[", "]"))

    text = "<|im_start|>user\n[你好 <b>&]<|im_end|>\n"
    assert first == Rendered(text, (len(text), -1, -1))
    assert str(second) == "the chat template refuses the conversation: no"
    assert rest[0] == Rendered("3" + 3 * text, (-1, 1 + 3 * len(text)))
    assert rest[1::3] == [first] * 49
    assert len(rest) == 148


def test_one_endless_conversation_of_a_batch_is_the_only_one_refused():
    source = (
        "{% if messages | length > 1 %}{% for i in range(99999) %}{% for j in range(99999) %}"
        "{% endfor %}{% endfor %}{% endif %}done"
    )
    requests = [RenderRequest(HELLO), RenderRequest(HELLO * 2), RenderRequest(HELLO)]
    with TemplateRenderer(ChatTemplate(source, {}), time_limit_seconds=0.5) as renderer:
        renderer.render(HELLO)
        first, second, third = renderer.render_batch(requests)

    assert (first.text, third.text) == ("done", "done")
    assert str(second) == "the chat template takes more than 0.5 s"


def test_today_is_today(render):
    before, today, after = (
        time.strftime("%F"),
        render("{{ strftime_now('%F') }}"),
        time.strftime("%F"),
    )

    assert today in (before, after)


def test_variables_go_before_special_tokens(render):
    tokens = {"bos_token": "<s>"}

    assert render("{{ bos_token }}", special_tokens=tokens, variables={"bos_token": ""}) == ""


def test_what_is_none_is_as_if_it_were_not_there(render):
    message = {"role": "assistant", "content": None, "tool_calls": None}

    assert render("{{ messages[0] | tojson }}", [message]) == '{"role": "assistant"}'


@pytest.mark.parametrize("name", ["reasoning_content", "thinking", "reasoning"])
def test_reasoning_is_found_under_each_name(render, name):
    message = {"role": "assistant", "content": "", name: "hm"}

    assert render("{{ messages[0].reasoning_content ~ messages[0].thinking }}", [message]) == "hmhm"


@settings(max_examples=50, deadline=None)
@given(st.text(st.characters(exclude_categories=()), max_size=40))
def test_any_content_comes_back_unchanged(render, content):
    assert render("{{ messages[0].content }}", [{"role": "user", "content": content}]) == content


# Reading


def write(folder, **files):
    for name, content in files.items():
        name = {"jinja": "chat_template.jinja", "config": "tokenizer_config.json"}.get(name, name)
        text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
        (folder / name).write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        pytest.param({}, None, id="an empty directory"),
        pytest.param({"config": {"bos_token": "<s>"}}, None, id="tokens only"),
        pytest.param({"jinja": "世界"}, ChatTemplate("世界", {}), id="a file of its own"),
        pytest.param(
            {"jinja": "own", "config": {"chat_template": "config's", "eos_token": "<e>"}},
            ChatTemplate("own", {"eos_token": "<e>"}),
            id="its own file goes first",
        ),
        pytest.param(
            {
                "config": {
                    "chat_template": [
                        {"name": "tool_use", "template": "t"},
                        {"name": "default", "template": "d"},
                    ]
                }
            },
            ChatTemplate("d", {}),
            id="the default of several",
        ),
        pytest.param(
            {
                "jinja": "",
                "config": {
                    "bos_token": {"content": "<s>", "lstrip": False},
                    "eos_token": None,
                    "add_bos_token": True,
                    "image_token": "<i>",
                },
            },
            ChatTemplate("", {"bos_token": "<s>"}),
            id="tokens as objects, null, and what is none",
        ),
        pytest.param(
            {
                "jinja": "",
                "config": {"bos_token": "<a>", "eos_token": "<e>"},
                "special_tokens_map.json": {"bos_token": {"content": "<b>"}},
            },
            ChatTemplate("", {"bos_token": "<b>", "eos_token": "<e>"}),
            id="the map has the last word",
        ),
        pytest.param(
            {
                "jinja": "",
                "config": {"bos_token": "<a>", "added_tokens_decoder": {}},
                "special_tokens_map.json": {"bos_token": "<b>", "eos_token": "<e>"},
            },
            ChatTemplate("", {"bos_token": "<a>"}),
            id="but not beside a list of added tokens",
        ),
    ],
)
def test_reads(tmp_path, files, expected):
    write(tmp_path, **files)

    assert read_chat_template(tmp_path) == expected


@pytest.mark.parametrize(
    ("files", "message"),
    [
        pytest.param({"config": "{"}, r"tokenizer_config\.json: not JSON", id="no JSON"),
        pytest.param({"config": "[" * 100_000}, r"config\.json: not JSON", id="deep JSON"),
        pytest.param({"config": []}, "expected a JSON object, found a list", id="no object"),
        pytest.param({"config": {"chat_template": 3}}, "expected a string, or a list", id="type"),
        pytest.param(
            {"config": {"chat_template": [{"name": "default", "template": ["x"]}]}},
            "expected a string, or a list",
            id="type within a list",
        ),
        pytest.param(
            {"config": {"chat_template": [{"name": "rag", "template": "x"}, "default"]}},
            r"no chat template named default \(names: rag\)",
            id="no default",
        ),
        pytest.param(
            {"jinja": "x" * 10_000_000},
            r"chat_template\.jinja: has 10,000,000 bytes; at most 1,048,576 are read",
            id="10 MB",
        ),
    ],
)
def test_refuses_damaged_files(tmp_path, files, message):
    write(tmp_path, **files)

    with pytest.raises(DataError, match=message):
        read_chat_template(tmp_path)


def test_refuses_what_is_no_utf8_or_no_file(tmp_path):
    path = tmp_path / "chat_template.jinja"
    path.write_bytes(b"ab\xff")
    with pytest.raises(DataError, match=r"chat_template\.jinja: damaged: not UTF-8 at byte 2"):
        read_chat_template(tmp_path)

    path.unlink()
    path.mkdir()
    with pytest.raises(DataError, match=r"chat_template\.jinja: cannot be read: Is a directory"):
        read_chat_template(tmp_path)


# Refusals


def test_refuses_what_the_caller_got_wrong(render):
    with pytest.raises(ValueError, match="a conversation of no messages"):
        render(CHATML, [])
    with pytest.raises(UsageError, match="the template variable messages is set by the convers"):
        render(CHATML, variables={"messages": []})
    with pytest.raises(DataError, match="the chat template has 1,048,577 bytes; at most 1,048,576"):
        TemplateRenderer(ChatTemplate("x" * (MAX_TEMPLATE_BYTES + 1), {}))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        pytest.param("\n\n{% if x %}", r"fails in line 3: Unexpected end of template", id="syntax"),
        pytest.param("\n{{ messages[0].x.y }}", "fails in line 2: 'dict object' has no", id="name"),
        pytest.param("{{ messages[9].x }}", "fails in line 1: list object has no elem", id="index"),
        pytest.param("{{ 1 / 0 }}", "fails in line 1: division by zero", id="arithmetic"),
        pytest.param("{{ dict.update(messages[0], a=1) }}", "has no attribute 'update'", id="dict"),
        pytest.param("{% include 'x' %}", "fails in line 1: no loader", id="another file"),
        pytest.param("{{ range(10 ** 12) | list }}", "line 1: Range too big", id="range"),
        pytest.param(
            "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "nested too deeply", id="recursion"
        ),
        pytest.param("{% if a %}" * 5000, "nested too deeply", id="nesting"),
        pytest.param("{{ " + "(" * 20_000, "nested too deeply", id="brackets"),
        pytest.param("{% for i in 9 %}" * 30 + "{% endfor %}" * 30, "too many static", id="blocks"),
        pytest.param(
            "{% set n = namespace(s='12345678') %}"
            "{% for i in range(60) %}{% set n.s = n.s + n.s %}{% endfor %}",
            "it needs too much memory",
            id="doubling",
        ),
        pytest.param("{{ '%4000000000d' % 1 }}", "it needs too much memory", id="a wide number"),
        pytest.param(
            "{% for i in range(99999) %}{{ 'a' * 99 }}{% endfor %}",
            "it writes more than 4,194,304 characters",
            id="length",
        ),
    ],
)
def test_faulty_or_greedy_template_is_refused(render, source, message):
    with pytest.raises(DataError, match=message) as refusal:
        render(source)
    assert len(str(refusal.value)) < 600


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ ''.__class__ }}",
        "{{ ''['__class__'] }}",
        "{{ '' | attr('__class__') }}",
        "{{ [''] | map(attribute='__class__') | list }}",
        "{{ [''] | map('attr', '__class__') | list }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ lipsum.__globals__ }}",
        "{{ raise_exception.__globals__ }}",
        "{{ self._TemplateReference__context }}",
        "{{ '{0.__class__}'.format('') }}",
        "{{ '{a.__class__}'.format_map({'a': ''}) }}",
        "{% set f = '{0.__class__}'.format %}{{ f('') }}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update(role='system') }}",
        "{{ namespace(__class__=1) }}",
        "{% set n = namespace() %}{% set n.__class__ = 1 %}",
        "{{ dict.__class__ }}",
    ],
)
def test_way_out_of_the_sandbox_is_refused(render, source):
    with pytest.raises(DataError, match=r"in line 1: (the attribute .* is not for|a namespace)"):
        render(source)


def test_templates_own_words_are_shown_as_they_are_but_steer_nothing(render):
    source = "{{ raise_exception('Roles must alternate, 角色　必须交替!') }}"
    with pytest.raises(
        DataError, match=r"refuses the conversation: Roles must alternate, 角色　必须交替!$"
    ):
        render(source)

    with pytest.raises(DataError, match=r"conversation: a\\x1b\[2J\\nb\\u202ec$"):
        render("{{ raise_exception('a\x1b[2J\nb\u202ec') }}")
    with pytest.raises(DataError, match=r"conversation: x{500}…$"):
        render("{{ raise_exception('x' * 100000) }}")


def test_longest_text_is_allowed(render):
    """At its widest in JSON, where a character beyond the first plane takes twelve bytes."""
    source = (
        "{% for i in range(64) %}{{ '𠀀' * " + str(MAX_TEXT_CHARACTERS // 64) + " }}{% endfor %}"
    )

    assert render(source) == "𠀀" * MAX_TEXT_CHARACTERS


# The process


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(
            "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
            id="a loop",
        ),
        pytest.param("{{ (9 + messages | length) ** (10 ** 9) }}", id="one operation"),
    ],
)
def test_endless_template_is_ended_and_the_next_rendering_works(source):
    looping = "{% if messages | length == 1 %}" + source + "{% endif %}done"
    with TemplateRenderer(ChatTemplate(looping, {}), time_limit_seconds=0.3) as renderer:
        child = renderer._process._child.pid
        begun = time.monotonic()
        with pytest.raises(DataError, match=r"the chat template takes more than 0\.3 s"):
            renderer.render(HELLO)

        assert time.monotonic() - begun < 10
        assert is_gone(child)
        renderer._time_limit_seconds = 20  # for a busy machine
        assert renderer.render(HELLO * 2) == "done"


def test_one_process_serves_all_and_is_gone_afterwards(tmp_path, monkeypatch):
    (tmp_path / "jinja2.py").write_text("raise RuntimeError('not this one')", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with TemplateRenderer(ChatTemplate(CHATML, {})) as renderer:
        child = renderer._process._child.pid
        assert renderer.render(HELLO) == renderer.render(HELLO)
        assert renderer._process._child.pid == child

    assert is_gone(child)


def test_child_loads_neither_torch_nor_tokenizers_and_parent_no_jinja():
    code = "import sys, {}; print(*sys.modules)"
    loaded = {
        name: subprocess.run(
            [sys.executable, "-c", code.format(name)], capture_output=True, text=True, check=True
        ).stdout.split()
        for name in (chat_template.__name__, f"{chat_template.__name__}_process")
    }

    parent, child = loaded.values()
    assert "jinja2" not in parent
    assert "jinja2" in child
    assert not {"torch", "tokenizers", "numpy", "orjson"} & {*parent, *child}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_killed_child_is_explained(number):
    with TemplateRenderer(ChatTemplate(CHATML, {})) as renderer:
        renderer.render(HELLO)
        renderer._process._child.send_signal(number)
        renderer._process._child.wait()
        message = f"the chat template breaks its process: ended by {number.name}"
        with pytest.raises(DataError, match=message):
            renderer.render([{"role": "user", "content": "x" * 1_000_000}])

        assert renderer.render(HELLO).startswith("<|im_start|>user")


def test_dead_child_does_not_end_a_process_that_a_broken_pipe_would(tmp_path):
    script = tmp_path / "main.py"
    script.write_text(
        "import signal\n"
        "from llmctl.core.errors import DataError\n"
        "from llmctl.core.tokens.chat_template import ChatTemplate, TemplateRenderer\n"
        "signal.signal(signal.SIGPIPE, signal.SIG_DFL)\n"
        "with TemplateRenderer(ChatTemplate('', {})) as renderer:\n"
        "    renderer.render([{'role': 'user'}])\n"
        "    renderer._process._child.kill()\n"
        "    renderer._process._child.wait()\n"
        "    try:\n"
        "        renderer.render([{'role': 'user', 'content': 'x' * 1_000_000}])\n"
        "    except DataError:\n"
        "        print('refused')\n",
        encoding="utf-8",
    )

    ended = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "refused\n", "")


def test_process_that_does_not_start_is_explained(monkeypatch):
    monkeypatch.setattr(chat_template, "MAX_MEMORY_BYTES", "much")

    with (
        TemplateRenderer(ChatTemplate(CHATML, {})) as renderer,
        pytest.raises(LlmctlError, match=r"does not start: ValueError: invalid literal") as failure,
    ):
        renderer.render(HELLO)
    assert failure.value.exit_code == 1


def test_interrupted_rendering_does_not_answer_the_next(monkeypatch):
    with TemplateRenderer(ChatTemplate("{{ messages[0].content }}", {})) as renderer:

        def interrupted(*_):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(chat_template._Process, "_exchange", interrupted)
            with pytest.raises(KeyboardInterrupt):
                renderer.render(HELLO)

        assert renderer.render([{"content": "second"}]) == "second"


def test_child_ends_soon_after_a_killed_parent(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT, encoding="utf-8")
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        time.sleep(0.3)  # long enough for the child to be inside one operation
        assert not is_gone(child)
        parent.kill()
    deadline = time.monotonic() + 10
    while not is_gone(child) and time.monotonic() < deadline:
        time.sleep(0.02)

    assert is_gone(child)
