"""The contracts of the command line: streams, exit codes, what is never said."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys

import pytest

FIVE_MISTAKES = """\
nam: mine
train:
  learning_rat: 1e-3
  steps: many
tokenise:
  vocab_size: 4096
model:
  num_heads: 3
  num_key_value_heads: 2
"""


def test_validate_names_every_mistake_with_its_place(tmp_path, llmctl):
    recipe = tmp_path / "配方.yaml"
    recipe.write_text(FIVE_MISTAKES, encoding="utf-8")

    result = llmctl("validate", recipe)

    assert result.exit_code == 78
    assert result.stderr.splitlines() == [
        f"{recipe}:1:1: nam: no such key; did you mean name?",
        f"{recipe}:3:3: train.learning_rat: no such key; did you mean learning_rate?",
        f'{recipe}:4:3: train.steps: input should be a valid integer, found "many"',
        f"{recipe}:5:1: tokenise: no such key; did you mean tokenize?",
        f"{recipe}:9:3: model.num_key_value_heads: must divide num_heads, which is 3, found 2",
    ]


def test_validate_accepts_every_shipped_recipe(llmctl):
    names = llmctl("recipes").stdout.split()

    assert "quickstart" in names
    for name in names:
        assert llmctl("validate", name).exit_code == 0


def test_generate_prints_only_the_text(tiny, llmctl):
    command = ("generate", "The world is", "-m", "tiny", "--seed", "1", "--max-tokens", "12")

    first, second = llmctl(*command), llmctl(*command)
    unstreamed = llmctl(*command, "--no-stream")
    described = json.loads(llmctl(*command, "--json").stdout)

    assert first.exit_code == 0
    assert first.stdout == second.stdout == unstreamed.stdout == described["text"] + "\n"
    assert not first.stdout.startswith("The world is")
    assert llmctl(*command, "--echo").stdout == "The world is" + first.stdout
    assert llmctl(*command[:-4], "--seed", "2", "--max-tokens", "12").stdout != first.stdout


def test_generate_takes_the_prompt_from_stdin_only_when_asked(tiny, llmctl):
    command = ("generate", "-m", "tiny", "--seed", "1", "--max-tokens", "6")

    asked = llmctl(*command, "-", stdin="世界")
    given = llmctl(*command, "世界")
    missing = llmctl(*command, stdin="世界")

    assert asked.stdout == given.stdout
    assert missing.exit_code == 2
    assert "no prompt" in missing.stderr


def test_generate_uses_the_newest_model_and_says_which(tiny, llmctl):
    result = llmctl("generate", "世界", "--max-tokens", "2")

    assert result.exit_code == 0
    assert result.stderr == "model: runs/tiny/model\n"


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        pytest.param(["train"], 2, "RECIPE", id="no recipe"),
        pytest.param(["trian"], 2, "trian", id="no such command"),
        pytest.param(["train", "nothing.yaml"], 66, "built in: ", id="no such recipe"),
        pytest.param(["generate", "x", "-m", "nowhere"], 66, "looked for", id="no such model"),
        pytest.param(["generate", "x"], 66, "llmctl train quickstart", id="no model at all"),
        pytest.param(["verify", "."], 66, "no artifact", id="nothing to verify"),
        pytest.param(["clean", "a", "b"], 2, "-o DIR", id="inputs without an output"),
        pytest.param(["clean", "no-*.txt", "-o", "out"], 66, "no-*.txt", id="glob of nothing"),
        pytest.param(["tokenize", ".", "-o", "out"], 66, "no finished corpus", id="no corpus"),
        pytest.param(["eval"], 2, "give one of", id="eval of nothing"),
        pytest.param(["train", "quickstart", "--set", "x=1"], 78, "--set x=1", id="bad override"),
        pytest.param(["train", "quickstart", "--dtype", "int8"], 2, "bfloat16", id="no such type"),
        pytest.param(["recipes", "nothing"], 66, "quickstart", id="no such built-in"),
        pytest.param(
            ["train", "quickstart", "--device", "tpu"], 2, "--device tpu", id="no such device word"
        ),
    ],
)
def test_mistakes_get_one_message_and_their_exit_code(
    arguments, exit_code, message, tmp_path, monkeypatch, llmctl
):
    monkeypatch.chdir(tmp_path)

    result = llmctl(*arguments)

    assert result.exit_code == exit_code
    assert message in result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


def test_absent_device_is_refused_before_any_work(fresh, llmctl):
    import torch

    absent = "mps" if torch.cuda.is_available() else "cuda"

    result = llmctl("train", "tiny.yaml", "--device", absent)

    assert result.exit_code == 69
    assert absent in result.stderr
    assert not (fresh / "runs/tiny/corpus").exists()


def test_version(llmctl):
    from llmctl import __version__

    assert llmctl("--version").stdout == f"llmctl {__version__}\n"


def test_schema_is_json(llmctl):
    schema = json.loads(llmctl("schema").stdout)

    assert "tokenize" in schema["properties"]


def test_quiet_says_nothing(fresh, llmctl):
    result = llmctl("clean", "tiny.yaml", "--quiet")

    assert (result.exit_code, result.stderr) == (0, "")


def test_terminal_shows_the_prompt_and_escapes_controls(tiny):
    """On a terminal the prompt stands before its continuation and nothing can steer it."""
    controller, terminal = pty.openpty()
    code = (
        "from llmctl.terminal.writer import TextWriter\n"
        "writer = TextWriter('世界\\x1b[31m', echo=False, stream=True, silent=False)\n"
        "writer.write('red \\x1b[2J text')\n"
        "writer.finish()\n"
    )
    subprocess.run([sys.executable, "-c", code], stdout=terminal, check=True)
    os.close(terminal)

    shown = os.read(controller, 4096).decode()

    assert "世界\\x1b[31m" in shown
    assert "red \\x1b[2J text" in shown
    os.close(controller)


@pytest.mark.parametrize(
    ("command", "load", "expected"),
    [
        pytest.param(["generate"], "0.00 0.01 0.05 1/123 4567", "long", id="alone"),
        pytest.param(["generate"], "0.00 0.01 0.05 2/123 4567", "short", id="with a neighbour"),
        pytest.param(["train"], "0.00 0.01 0.05 1/123 4567", "short", id="for long"),
        pytest.param(["generate"], "", "short", id="unknown"),
        pytest.param([], "0.00 0.01 0.05 1/123 4567", "short", id="no command"),
    ],
)
def test_threads_stay_awake_only_where_they_disturb_nobody(
    command, load, expected, tmp_path, monkeypatch
):
    from llmctl import cli

    monkeypatch.setattr(cli, "LOAD", tmp_path / "loadavg")
    (tmp_path / "loadavg").write_text(load, encoding="ascii")

    spins = {"short": cli.SHORT_SPIN, "long": cli.LONG_SPIN}
    assert cli.spin_count(command) == spins[expected]


def test_threads_sleep_soon_where_the_load_is_not_told(tmp_path, monkeypatch):
    from llmctl import cli

    monkeypatch.setattr(cli, "LOAD", tmp_path / "none")

    assert cli.spin_count(["generate"]) == cli.SHORT_SPIN
