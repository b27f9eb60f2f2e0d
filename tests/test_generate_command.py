"""`llmctl generate`: every option, every form of its output, every mixture it refuses."""

from __future__ import annotations

import json
import re

import pytest

from llmctl.core.model import bandwidth
from llmctl.core.recipe import GeneratePlan
from llmctl.core.tokens.tokenizer import Tokenizer
from llmctl.terminal.writer import TextWriter

MODEL = "runs/tiny/model"
PROMPT = "The world is"
TEMPLATE = (
    "{% for message in messages %}{{ message.role[0] }}:{{ message.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}a:{% endif %}"
)
# Each character is three or four tokens of the tiny vocabulary, a byte each.
TEXT = "你语🌍"


@pytest.fixture
def ask(tiny, llmctl):
    """Run `llmctl generate` on the tiny model, by default with a seed and few tokens."""

    def run(*words, stdin=None, tokens=6):
        usual = ["-m", MODEL]
        usual += [] if "--seed" in words else ["--seed", "1"]
        usual += ["-n", tokens] if tokens else []
        return llmctl("generate", *words, *usual, stdin=stdin)

    return run


@pytest.fixture
def told(ask):
    """The one JSON object of `--json`."""

    def run(*words, **more):
        result = ask(*words, "--json", **more)
        assert result.exit_code == 0, result.stderr
        assert result.stdout.count("\n") == 1
        return json.loads(result.stdout)

    return run


def biased(text, ids_by_piece):
    """Options under which greedy search writes the text's bytes in turn, whatever the model.

    A run of one is forbidden, so each byte can be written once, and the likelier comes first.
    """
    tokens = [f"<0x{byte:02X}>" for byte in text.encode()]
    assert len(set(tokens)) == len(tokens)
    ids = [ids_by_piece[token] for token in tokens]
    biases = [f"{token}={1000 - 10 * place}" for place, token in enumerate(ids)]
    return [
        *(word for bias in biases for word in ("--logit-bias", bias)),
        *("--no-repeat-ngram", "1", "--temperature", "0", "-n", str(len(tokens))),
    ]


@pytest.fixture
def ids_by_piece(tiny):
    """Each token's id, by its form for people."""
    tokenizer = Tokenizer.from_file(tiny / MODEL / "tokenizer.json")
    return {tokenizer.piece(token): token for token in range(tokenizer.vocab_size)}


# ------------------------------------------------------------------ options


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["--max-tokens", "3"], "max_tokens", 3),
        (["--max-new-tokens", "3"], "max_tokens", 3),
        (["-n", "3"], "max_tokens", 3),
        (["--min-tokens", "2"], "min_tokens", 2),
        (["--stop", "世", "--stop", "the end"], "stop", ["世", "the end"]),
        (["--time-limit", "60"], "time_limit_seconds", 60),
        (["--temperature", "0"], "temperature", 0),
        (["--temp", "0.5"], "temperature", 0.5),
        (["--top-k", "7"], "top_k", 7),
        (["--top-p", "0.5"], "top_p", 0.5),
        (["--min-p", "0.1"], "min_p", 0.1),
        (["--typical-p", "0.9"], "typical_p", 0.9),
        (["--samplers", "top_k,temperature"], "samplers", ["top_k", "temperature"]),
        (["--repetition-penalty", "1.2"], "repetition_penalty", 1.2),
        (["--presence-penalty", "-0.5"], "presence_penalty", -0.5),
        (["--frequency-penalty", "0.5"], "frequency_penalty", 0.5),
        (["--no-repeat-ngram", "3"], "no_repeat_ngram", 3),
        (["--logit-bias", "5=-2", "--logit-bias", "a=1"], "logit_bias", {"5": -2}),
        (["--num-samples", "2"], "num_samples", 2),
        (["--beams", "2"], "num_beams", 2),
        (["--num-beams", "2"], "num_beams", 2),
        (["--length-penalty", "0.5"], "length_penalty", 0.5),
        (["--early-stopping", "true"], "early_stopping", True),
        (["--early-stopping", "false"], "early_stopping", False),
        (["--early-stopping", "never"], "early_stopping", "never"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_every_option_reaches_the_plan(words, name, value, told):
    settings = told(PROMPT, *words, tokens=None if name == "max_tokens" else 2)["settings"]

    found = settings.pop(name)
    assert found["from"] == "option"
    if name == "logit_bias":
        assert found["value"].items() > value.items()
    else:
        assert found["value"] == value
    expected = GeneratePlan().model_dump(mode="json")
    others = {other: setting for other, setting in settings.items() if other != "max_tokens"}
    assert {setting["from"] for setting in others.values()} == {"default"}
    assert all(setting["value"] == expected[other] for other, setting in others.items())


def test_the_checkpoint_s_settings_are_told_as_such(told, tiny):
    path = tiny / MODEL / "generation_config.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(content | {"temperature": 0.3, "top_k": 9}), encoding="utf-8")

    settings = told(PROMPT, "--top-k", "4")["settings"]

    assert settings["temperature"] == {"value": 0.3, "from": "checkpoint"}
    assert settings["top_k"] == {"value": 4, "from": "option"}


def test_a_seed_repeats_and_none_is_drawn_and_told(ask, told):
    once, again, other = (ask(PROMPT, "--seed", seed).stdout for seed in ("7", "7", "8"))

    assert once == again != other
    assert told(PROMPT, "--seed", "7")["seed"] == 7


def test_without_a_seed_one_is_drawn_with_which_the_text_comes_again(llmctl, tiny, ask):
    command = ("generate", PROMPT, "-m", MODEL, "-n", "6", "--json")
    first, second = (json.loads(llmctl(*command).stdout) for _ in range(2))

    assert first["seed"] != second["seed"]
    assert ask(PROMPT, "--seed", str(first["seed"])).stdout == first["text"] + "\n"


def test_a_stop_token_ends_the_text(told):
    whole = told(PROMPT, "--logprobs", "--temperature", "0")
    stop = whole["token_ids"][2]

    found = told(PROMPT, "--logprobs", "--temperature", "0", "--stop-token", str(stop))

    assert found["finish_reason"] == "stop"
    assert found["token_ids"] == whole["token_ids"][: whole["token_ids"].index(stop)]


# ------------------------------------------------------------------ output


def test_json_tells_all(told):
    found = told(PROMPT)

    assert list(found) == [
        *("model", "seed", "prompt", "prompt_tokens", "text", "finish_reason", "tokens"),
        "settings",
    ]
    assert (found["model"], found["seed"], found["prompt"]) == (MODEL, 1, PROMPT)
    assert (found["finish_reason"], found["tokens"]) == ("length", 6)
    assert 0 < found["prompt_tokens"] <= len(PROMPT)
    assert found["settings"].keys() == GeneratePlan.model_fields.keys() - {"prompts"}


def test_json_and_stdout_tell_the_same_text(ask, told):
    assert ask(PROMPT).stdout == told(PROMPT)["text"] + "\n"


@pytest.mark.parametrize("words", [[], ["--echo"], ["--num-samples", "3"], ["--beams", "2"]])
def test_streamed_or_not_the_bytes_are_the_same(words, ask):
    streamed, whole = (ask("世界", *words, how) for how in ("--stream", "--no-stream"))

    assert streamed.exit_code == whole.exit_code == 0
    assert streamed.stdout == whole.stdout != ""


def test_echo_puts_the_prompt_before_the_text(ask):
    assert ask("世界 🌍", "--echo").stdout == "世界 🌍" + ask("世界 🌍").stdout


def test_several_samples(ask, told):
    found = told(PROMPT, "--num-samples", "3")

    texts = [sample["text"] for sample in found["samples"]]
    assert len(set(texts)) == 3
    assert found["text"] == texts[0] == told(PROMPT)["text"]
    assert ask(PROMPT, "--num-samples", "3").stdout == "\n\n".join(texts) + "\n"


def test_beams_come_with_their_scores_the_best_first(told):
    found = told(PROMPT, "--beams", "3", "--num-samples", "3", "--logprobs")

    scores = [sample["score"] for sample in found["samples"]]
    assert scores == sorted(scores, reverse=True)
    assert found["score"] == scores[0] < 0
    assert len({tuple(sample["token_ids"]) for sample in found["samples"]}) == 3
    assert scores == pytest.approx(
        [sum(sample["logprobs"]) / sample["tokens"] for sample in found["samples"]], abs=1e-4
    )
    assert "score" not in told(PROMPT)


def test_logprobs_are_those_of_the_tokens(told):
    found = told(PROMPT, "--logprobs", "--num-samples", "2")

    for sample in found["samples"]:
        assert len(sample["token_ids"]) == len(sample["logprobs"]) == sample["tokens"] == 6
        assert all(logprob < 0 for logprob in sample["logprobs"])
    # Few tokens were written of many that are about as likely.
    assert sum(found["logprobs"]) / 6 == pytest.approx(-5.7, abs=1.5)
    assert found["text"] == told(PROMPT)["text"]


def test_stats_go_to_stderr(ask, monkeypatch):
    monkeypatch.setattr(bandwidth, "_NUM_BYTES", 4096)

    result = ask(PROMPT, "--stats")

    assert result.stdout == ask(PROMPT).stdout
    assert re.fullmatch(
        r"prompt [\d,]+ tokens/s; text [\d,.]+ tokens/s; "
        r"[\d,.]+ GB/s, \d+% of [\d,]+ GB/s measured\n",
        result.stderr,
    )


def test_a_space_at_the_end_is_pointed_out(ask):
    assert ask("The world is ").stderr.startswith("the prompt ends with a space, which most")
    assert ask(PROMPT).stderr == ""


def test_an_empty_prompt_begins_a_text(ask, told):
    assert ask("").exit_code == 0
    assert told("")["prompt_tokens"] == 0


# ------------------------------------------------------------------ characters


@pytest.mark.parametrize("how", ["--stream", "--no-stream"])
def test_characters_are_never_split(how, ask, ids_by_piece, monkeypatch):
    pieces, write = [], TextWriter.write
    monkeypatch.setattr(
        TextWriter, "write", lambda self, piece: pieces.append(piece) or write(self, piece)
    )

    result = ask("b", how, *biased(TEXT, ids_by_piece), tokens=None)

    assert result.stdout == TEXT + "\n"
    assert pieces == list(TEXT)


def test_a_text_that_ends_inside_a_character_says_so(ask, ids_by_piece):
    words = biased(TEXT, ids_by_piece)

    assert ask("b", *words[:-1], "8", tokens=None).stdout == "你语\ufffd\n"


@pytest.mark.parametrize(
    ("stop", "expected"),
    [("语", "你"), ("你", ""), ("语🌍", "你"), ("🌍!", TEXT), ("你语🌏", TEXT)],
)
def test_a_stop_string_of_characters_of_many_tokens(stop, expected, ask, ids_by_piece):
    result = ask("b", "--stop", stop, *biased(TEXT, ids_by_piece), tokens=None)

    assert result.stdout == expected + "\n"


def test_a_stop_string_inside_a_longer_text_ends_it_early(told, ids_by_piece):
    found = told("b", "--stop", "语", *biased(TEXT, ids_by_piece), tokens=None)

    assert (found["text"], found["finish_reason"], found["tokens"]) == ("你", "stop", 6)


# ------------------------------------------------------------------ limits


def test_a_time_limit_ends_the_text_and_not_the_command(told):
    found = told(PROMPT, "--time-limit", "1e-9")

    assert (found["finish_reason"], found["tokens"]) == ("time", 1)


def test_a_full_context_ends_the_text(told):
    found = told(PROMPT, tokens=1000)

    assert found["finish_reason"] == "length"
    assert found["tokens"] == 32 - found["prompt_tokens"] + 1


def test_a_prompt_longer_than_the_context_is_refused_with_the_limit(ask):
    result = ask(PROMPT * 20)

    assert result.exit_code == 65
    assert re.fullmatch(
        r"llmctl: prompt 1 has \d+ tokens and the model's context holds 32; shorten the prompt\n",
        result.stderr,
    )
    assert result.stdout == ""


# ------------------------------------------------------------------ conversations


@pytest.fixture
def chat(tiny, ask):
    """The same with a chat template beside the model."""
    (tiny / MODEL / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    return ask


def test_a_message_is_read_as_the_template_writes_it(chat, told):
    found = told("你好", "--chat", tokens=2)

    assert found["prompt"] == "u:你好\na:"
    assert found["text"] + "\n" == chat("u:你好\na:", tokens=2).stdout
    assert chat("你好", "--chat", tokens=2).stdout == found["text"] + "\n"


def test_a_system_prompt_comes_first(chat, told):
    assert told("好", "--chat", "--system", "短", tokens=1)["prompt"] == ("s:短\nu:好\na:")


def test_echo_of_a_message_is_the_message(chat):
    assert chat("好", "--chat", "--echo", tokens=2).stdout.startswith("好")


def test_a_conversation_in_a_pipe_replies_to_each_line(chat):
    result = chat("--chat", stdin="a\n\nb\n", tokens=1)

    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    first = chat("a", "--chat", tokens=1).stdout
    assert result.stdout.startswith(first)
    reply = first.removesuffix("\n")
    # What was replied to the second line is what follows the whole conversation.
    second = chat(f"u:a\na:{reply}\nu:b\na:", "--seed", "2", tokens=1).stdout
    assert result.stdout == first + second


def test_a_conversation_of_nothing_ends_at_once(chat):
    result = chat("--chat", stdin="")

    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.parametrize("words", [["--chat"], ["你好", "--chat"]])
def test_without_a_template_there_is_no_conversation(words, ask):
    result = ask(*words, stdin="a\n")

    assert result.exit_code == 65
    assert "no chat template" in result.stderr
    assert result.stdout == ""


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], 'no prompt; try: llmctl generate "The world is"'),
        (["--echo"], "no prompt"),
        (["x", "--prompts", "a.txt"], "--prompts and PROMPT do not go together"),
        (["--chat", "--prompts", "a.txt"], "--prompts and --chat do not go together"),
        (["--parity", "--prompts", "a.txt"], "--prompts and --parity do not go together"),
        (["x", "--chat", "--parity"], "--parity and --chat do not go together"),
        (["x", "--system", "y"], "--system needs --chat"),
        (["x", "-o", "y"], "--output needs --prompts"),
        (["--prompts", "a.txt", "--resume"], "--resume needs --output"),
        (["--parity"], "--parity needs PROMPT"),
        (["x", "--max-seconds", "5"], "--max-seconds needs --prompts"),
        (["x", "--stop", ""], "a stop string is empty, which would end every text at once"),
        (["x", "--stop-token", "no token"], "'no token' is no single token of this model"),
        (["x", "--logit-bias", "5"], "'5': expected TOKEN=BIAS, such as 1234=-5 or Paris=2"),
        (["x", "--logit-bias", "5=1e10"], "logit_bias.5: Input should be less than or equal to 1"),
        (["x", "--samplers", "top_q"], "samplers.0: Input should be 'temperature'"),
        (["x", "--early-stopping", "soon"], "early_stopping: Input should be True, False or"),
        (["x", "--beams", "2", "--num-samples", "3"], "num_beams: "),
        (["x", "--length-penalty", "1e308", "--beams", "2"], "length_penalty: Input should be"),
        (["x", "--repetition-penalty", "1e-320"], "repetition_penalty: Input should be greater"),
        (["x", "--presence-penalty", "-1e308"], "presence_penalty: Input should be greater than"),
        (["x", "--temperature", "-1"], "--temperature"),
        (["x", "--temperature", "inf"], "temperature: Input should be a finite number"),
        (["x", "--seed", "-1"], "--seed"),
        (["x", "--seed", str(2**63)], "--seed"),
        (["x", "--top-p", "1.5"], "--top-p"),
        (["x", "--time-limit", "0"], "time_limit_seconds: Input should be greater than 0"),
        (["x", "--top-k", "0"], "--top-k"),
        (["x", "--dtype", "int8"], "bfloat16"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_wrong_use_is_told_and_ends_with_2(words, message, ask):
    result = ask(*words)

    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_a_prompt_of_half_a_character_is_refused(ask):
    result = ask("caf\udce9")

    assert result.exit_code == 65
    assert "half a character" in result.stderr
