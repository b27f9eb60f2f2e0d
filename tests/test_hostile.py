"""Whatever is thrown at a command: the right exit code, one plain message, nothing lost."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import threading

import pytest
from preloaded_server import Trap
from refusals import BAD_DATA, NO_INPUT, NO_OUTPUT, refused
from run_contents import data_of

RUN = "runs/tiny"
NOT_UTF8 = b'{"text": "\xe4\xb8\xad\xe6\x96\x87 caf\xe9"}\n'


def documents(num_documents):
    """Lines of JSON Lines, no two texts alike."""
    for number in range(num_documents):
        text = f"第{number}篇: the river carries {number * 7919} stones past bridge {number}."
        yield json.dumps({"text": text * 3}, ensure_ascii=False).encode() + b"\n"


# ------------------------------------------------------------------ input


def test_one_unreadable_document_among_many_is_counted(server, fresh):
    lines = [*documents(150)]
    lines.insert(70, NOT_UTF8)
    (fresh / "docs.jsonl").write_bytes(b"".join(lines))

    ended = server.run("clean", "tiny.yaml", cwd=fresh)

    assert ended.exit_code == 0, ended.stderr
    assert "warning: 1 of 151 documents (0.66%) cannot be read" in ended.stderr
    assert "docs.jsonl:71: invalid UTF-8" in ended.stderr
    manifest = json.loads((fresh / RUN / "corpus/manifest.json").read_text(encoding="utf-8"))
    assert manifest["counts"]["unreadable"] == 1


@pytest.mark.parametrize(
    ("content", "phrases"),
    [
        pytest.param(
            NOT_UTF8 * 3,
            ["nothing can be read of 3 documents", "docs.jsonl:1"],
            id="all unreadable",
        ),
        pytest.param(
            b"".join(documents(20)) + NOT_UTF8,
            ["1 of 21 documents (4.76%)", "clean.max_unreadable = 0.01", "docs.jsonl:21"],
            id="too many unreadable",
        ),
        pytest.param(b"", ["the input is empty: no document in docs.jsonl"], id="empty"),
        pytest.param(b"\n \n\n", ["the input is empty"], id="blank lines"),
        pytest.param(b'{"text": "x"}\n' * 3, ["no document is left"], id="nothing left"),
        pytest.param(b'{"body": "x"}\n', ["no field 'text' (fields: body)"], id="another field"),
        pytest.param(b"\x00\xff" * 5000, ["nothing can be read"], id="no text at all"),
    ],
)
def test_bad_input_publishes_nothing(server, fresh, content, phrases):
    (fresh / "docs.jsonl").write_bytes(content)

    assert refused(server.run("train", "tiny.yaml", cwd=fresh), BAD_DATA, *phrases)

    assert not (fresh / RUN / "corpus").exists()


def test_missing_input_is_named(server, fresh):
    (fresh / "docs.jsonl").unlink()

    assert refused(server.run("run", "tiny.yaml", cwd=fresh), NO_INPUT, "docs.jsonl")


def test_bad_input_leaves_the_former_corpus(server, tiny):
    expected = data_of(tiny / RUN)
    good = (tiny / "docs.jsonl").read_bytes()
    (tiny / "docs.jsonl").write_bytes(NOT_UTF8)

    assert refused(server.run("eval", "tiny.yaml", cwd=tiny), BAD_DATA, "nothing can be read")

    assert data_of(tiny / RUN) == expected
    assert server.run("verify", RUN, cwd=tiny).exit_code == 0
    (tiny / "docs.jsonl").write_bytes(good)
    ended = server.run("eval", "tiny.yaml", cwd=tiny)
    assert ended.exit_code == 0
    assert "complete, nothing to do" in ended.stderr


def test_corpus_too_small_for_a_validation_split(server, fresh):
    (fresh / "docs.jsonl").write_text('{"text": "一"}', encoding="utf-8")

    ended = server.run("train", "tiny.yaml", "--set", "clean.rules.min_characters=0", cwd=fresh)

    assert refused(ended, BAD_DATA, "the corpus is one document of 1 characters", "validation")


def test_corpus_smaller_than_one_batch(server, fresh):
    (fresh / "docs.jsonl").write_bytes(b"".join(documents(6)))
    large = ("--set", "train.tokens_per_step=20000")

    assert refused(
        server.run("train", "tiny.yaml", *large, cwd=fresh),
        BAD_DATA,
        "clean more text, or lower train.tokens_per_step",
    )


# ------------------------------------------------------------------ places


@pytest.mark.parametrize("name", ["runs", "runs/tiny", "runs/tiny/corpus", "runs/tiny/training"])
def test_file_in_the_place_of_a_directory(server, fresh, name):
    (fresh / name).parent.mkdir(exist_ok=True, parents=True)
    (fresh / name).write_text("mine", encoding="utf-8")

    assert refused(server.run("train", "tiny.yaml", cwd=fresh), NO_OUTPUT, name)

    assert (fresh / name).read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("name", ["corpus", "shards", "model", "report", "training"])
def test_folder_of_the_user_in_an_artifact_s_place(server, fresh, name):
    (fresh / name).mkdir()
    (fresh / name / "novel.txt").write_text("mine", encoding="utf-8")

    ended = server.run("eval", "tiny.yaml", "--run-dir", ".", cwd=fresh)

    assert refused(ended, NO_OUTPUT, name, "move it away, or name another folder")
    assert (fresh / name / "novel.txt").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(
    ("arguments", "phrase"),
    [
        pytest.param(
            ["clean", "docs.jsonl", "-o", "mine"], "mine: exists and is no artifact", id="folder"
        ),
        pytest.param(
            ["clean", "docs.jsonl", "-o", "docs.jsonl"], "exists and is no artifact", id="file"
        ),
        pytest.param(["clean", "mine", "-o", "mine"], "mine: holds the input", id="its own input"),
        pytest.param(
            ["clean", "mine/a.txt", "-o", "mine"], "holds the input", id="its input's folder"
        ),
        pytest.param(["clean", "docs.jsonl", "-o", "."], "", id="this folder"),
        pytest.param(["clean", "docs.jsonl", "-o", "mine/a.txt/b"], "", id="below a file"),
        pytest.param(["clean", f"{RUN}/corpus", "-o", f"{RUN}/corpus"], "holds the", id="a corpus"),
        pytest.param(
            ["tokenize", f"{RUN}/corpus", "-o", f"{RUN}/corpus"], "is a corpus", id="shards"
        ),
        pytest.param(
            ["tokenize", f"{RUN}/corpus", "-o", "mine"],
            "exists and is no artifact",
            id="shards in a folder",
        ),
        pytest.param(
            ["clean", "docs.jsonl", "-o", "长" * 90], "name too long", id="too long a name"
        ),
    ],
)
def test_output_that_would_overwrite_something(server, tiny, arguments, phrase):
    (tiny / "mine").mkdir()
    (tiny / "mine/a.txt").write_text("mine alone, 我的。" * 20, encoding="utf-8")
    before = {path for path in tiny.rglob("*") if not path.name.startswith(".")}

    ended = server.run(*arguments, cwd=tiny)

    assert ended.exit_code == NO_OUTPUT, ended.stderr
    assert phrase.lower() in ended.stderr.lower()
    assert len(ended.stderr.splitlines()) == 1
    assert {path for path in tiny.rglob("*") if not path.name.startswith(".")} == before
    assert server.run("verify", RUN, cwd=tiny).exit_code == 0


def test_folder_that_refuses_every_change(server, tiny):
    protect = ["chattr", "+i", str(tiny / "runs/tiny")]
    try:
        subprocess.run(protect, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no right to protect a folder")
    try:
        ended = server.run("tokenize", "tiny.yaml", "--set", "tokenize.vocab_size=290", cwd=tiny)
    finally:
        subprocess.run(["chattr", "-i", str(tiny / "runs/tiny")], check=True)

    assert refused(ended, NO_OUTPUT, "cannot be created: Operation not permitted")
    assert server.run("verify", RUN, cwd=tiny).exit_code == 0


def test_runs_inside_the_folder_of_the_input(server, fresh):
    """What a run writes is none of its input, or it would never be up to date."""
    recipe = (fresh / "tiny.yaml").read_text(encoding="utf-8").replace("docs.jsonl", ".")
    (fresh / "tiny.yaml").write_text(recipe, encoding="utf-8")
    command = ("tokenize", "tiny.yaml", "--json")
    trap = Trap(operation="rename", path="runs/tiny/shards$")

    assert server.run(*command, cwd=fresh, trap=trap).exit_code == -signal.SIGKILL
    ended = server.run(*command, cwd=fresh)

    assert ended.exit_code == 0, ended.stderr
    assert json.loads(ended.stdout)["ran"] == []
    assert "cannot be read" not in ended.stderr


def test_names_in_chinese_with_spaces(server, fresh):
    folder = fresh / "我的 数据 [a]*?"
    folder.mkdir()
    (fresh / "docs.jsonl").rename(folder / "世界 文章.jsonl")
    recipe = (fresh / "tiny.yaml").read_text(encoding="utf-8")
    recipe = recipe.replace("name: tiny\n", "").replace("docs.jsonl", "世界 文章.jsonl")
    (folder / "我的 食谱.yaml").write_text(recipe, encoding="utf-8")

    ended = server.run("train", folder / "我的 食谱.yaml", cwd=fresh)

    assert ended.exit_code == 0, ended.stderr
    assert ended.stdout == "runs/我的-食谱/model\n"
    text = server.run("generate", "世界", "-m", "我的-食谱", "--max-tokens", "4", cwd=fresh)
    assert text.exit_code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["train", "~no one/tiny.yaml"], id="recipe"),
        pytest.param(["clean", "~nobody2/x.txt", "-o", "out"], id="input"),
        pytest.param(["clean", "~nobody2/*.txt", "-o", "out"], id="glob"),
        pytest.param(["generate", "x", "-m", "~nobody2/model"], id="model"),
    ],
)
def test_home_of_nobody(server, fresh, arguments):
    assert refused(server.run(*arguments, cwd=fresh), NO_INPUT, "~no")


def test_run_that_was_moved_is_up_to_date(server, tiny):
    shutil.move(tiny / "runs", tiny / "elsewhere")

    ended = server.run("eval", "tiny.yaml", "--run-dir", "elsewhere/tiny", "--json", cwd=tiny)

    assert ended.exit_code == 0, ended.stderr
    assert json.loads(ended.stdout)["ran"] == []


# ------------------------------------------------------------------ surroundings


def test_no_home_and_a_strange_environment(server, fresh):
    env = dict.fromkeys(("HOME", "USER", "LOGNAME", "PATH", "TMPDIR", "LANG", "TERM"))

    ended = server.run("tokenize", "tiny.yaml", cwd=fresh, env=env)

    assert ended.exit_code == 0, ended.stderr


def test_terminal_that_can_do_nothing(server, fresh):
    """TERM=dumb, and a terminal of no columns: words only."""
    controller, terminal = pty.openpty()
    shown = bytearray()

    def drain():
        with contextlib.suppress(OSError):  # the end of a terminal
            while chunk := os.read(controller, 4096):
                shown.extend(chunk)

    reader = threading.Thread(target=drain, daemon=True)
    reader.start()
    ended = server.run(
        "tokenize",
        "tiny.yaml",
        cwd=fresh,
        env={"TERM": "dumb", "COLUMNS": None},
        stderr=os.ttyname(terminal),
    )
    os.close(terminal)
    reader.join()
    os.close(controller)

    assert ended.exit_code == 0, shown
    assert ended.stdout == f"{RUN}/shards\n"
    assert b"write shards" in shown
    assert b"\x1b" not in shown


def python(*arguments, **more):
    """A command with an interpreter of its own."""
    command = [sys.executable, "-m", "llmctl", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", **more)


@pytest.mark.parametrize("utf8", ["0", pytest.param("1", marks=pytest.mark.slow)])
def test_plain_c_locale_with_chinese_paths_and_text(fresh, utf8):
    (fresh / "docs.jsonl").rename(fresh / "文章.jsonl")
    settings = {"LC_ALL": "C", "PYTHONUTF8": utf8, "PYTHONCOERCECLOCALE": utf8}

    ended = python("clean", "文章.jsonl", "-o", "语料", cwd=fresh, env={**os.environ, **settings})

    assert ended.returncode == 0, ended.stderr
    manifest = json.loads((fresh / "语料/manifest.json").read_text(encoding="utf-8"))
    assert manifest["counts"]["kept"] == 60


@pytest.mark.slow
def test_plain_c_locale_for_a_whole_run(fresh):
    (fresh / "tiny.yaml").rename(fresh / "食谱.yaml")
    settings = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    environment = {**os.environ, **settings}

    ended = python("run", "食谱.yaml", cwd=fresh, env=environment)
    text = python("generate", "-", "-m", "tiny", cwd=fresh, env=environment, input="世界")

    assert ended.returncode == 0, ended.stderr
    assert "世界" in (fresh / RUN / "model/samples.jsonl").read_text(encoding="utf-8")
    assert text.returncode == 0, text.stderr


def test_words_and_names_that_are_no_text(server, fresh, tiny):
    name = os.fsdecode("数".encode() + b"\xe9.jsonl")
    (fresh / "docs.jsonl").rename(fresh / name)

    ended = server.run("clean", name, "-o", os.fsdecode(b"\xff out"), cwd=fresh)

    assert ended.exit_code == 0, ended.stderr
    text = ("generate", os.fsdecode(b"caf\xe9"), "-m", "tiny")
    assert refused(server.run(*text, cwd=tiny), BAD_DATA, "half a character")
    half = '"\\ud800"'  # as JSON and YAML may write it
    ended = server.run("train", "tiny.yaml", "--set", f"train.prompts=[{half}]", cwd=tiny)
    assert refused(ended, 78, "train.prompts.0: half a character")
