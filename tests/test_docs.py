"""The documentation: both languages alike, every block runs, generated pages are up to date."""

from __future__ import annotations

import contextlib
import gzip
import importlib.util
import io
import json
import os
import random
import re
import shutil
import subprocess
import sys
from itertools import zip_longest
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAIRS = [
    ("README.md", "README.zh.md"),
    ("docs/guide.md", "docs/guide.zh.md"),
    ("docs/clean.md", "docs/clean.zh.md"),
    ("docs/tokenize.md", "docs/tokenize.zh.md"),
]
HEADING = re.compile(r"(#+) .+")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#:]+)\)")
RUN_LANGUAGES = {"sh", "python", "yaml"}
# `text` and `console` show, the others are for other programs.
SHOWN_LANGUAGES = {"text", "console", "crontab", "ini", "bash"}

MACHINE_PATHS = re.compile(r"(?<![\w.])/(work|root|tmp)/")
REGISTRIES = re.compile(
    r"pypi\.org|pythonhosted\.org|download\.pytorch\.org|registry\.npmjs|--(extra-)?index-url"
)


def blocks(name: str) -> list[tuple[str, str]]:
    """The fenced blocks of a page: language and content."""
    return BLOCK.findall((ROOT / name).read_text(encoding="utf-8"))


def headings(name: str) -> list[int]:
    """The levels of a page's headings."""
    prose = BLOCK.sub("", (ROOT / name).read_text(encoding="utf-8"))
    return [len(match[1]) for match in map(HEADING.fullmatch, prose.splitlines()) if match]


def script(name: str):
    """A program of docs/ as a module."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ------------------------------------------------------------------ two languages


@pytest.mark.parametrize(("english", "chinese"), PAIRS)
def test_both_languages_have_the_same_headings_and_blocks(english, chinese):
    assert len(headings(english)) > 5
    assert headings(english) == headings(chinese)
    for ours, theirs in zip_longest(blocks(english), blocks(chinese)):
        assert ours == theirs


@pytest.mark.parametrize(("english", "chinese"), PAIRS)
def test_both_languages_have_the_same_tables(english, chinese):
    def rows(name):
        prose = BLOCK.sub("", (ROOT / name).read_text(encoding="utf-8"))
        return [line.count("|") for line in prose.splitlines() if line.startswith("|")]

    assert rows(english) == rows(chinese)


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")) + sorted(ROOT.glob("*.md")), ids=str)
def test_links_lead_somewhere(page):
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("name", [name for pair in PAIRS for name in pair])
def test_every_block_is_of_a_known_language(name):
    assert {language for language, _ in blocks(name)} <= RUN_LANGUAGES | SHOWN_LANGUAGES


# ------------------------------------------------------------------ generated pages


def test_reference_is_up_to_date():
    written = (DOCS / "reference.md").read_text(encoding="utf-8")

    assert written == script("make_reference").reference(), "run: make reference"


def test_reference_names_every_command_and_key():
    from llmctl.cli import COMMANDS
    from llmctl.core.recipe import TrainPlan

    written = (DOCS / "reference.md").read_text(encoding="utf-8")

    assert all(f"### llmctl {command}\n" in written for command in COMMANDS)
    for name, field in TrainPlan.model_fields.items():
        row = next(line for line in written.splitlines() if line.startswith(f"| `{name}` |"))
        assert field.description.split(".")[0] in row
    assert '| `budget` | duration | `"100s"` |' in written
    assert (
        max(len(line) for block in blocks("docs/reference.md") for line in block[1].split("\n"))
        < 90
    )


def test_benchmarks_page_is_up_to_date():
    written = (DOCS / "benchmarks.md").read_text(encoding="utf-8")

    assert written == script("make_benchmarks").page(), "run: python docs/make_benchmarks.py"


def test_benchmarks_page_shows_figures_with_their_surroundings(tmp_path):
    surroundings = (
        '"measured": "2026-01-02", "python": "3.13.1", "machine": "x86_64, 2 cores",'
        '"load": [0.5, 0.25, 1], "versions": {"torch": "2.13.0"}'
    )
    (tmp_path / "start_up.json").write_text(
        '{"seconds": {"a --help": {"minimum": 0.1234, "median": 2}}, "documents": 12345,'
        f" {surroundings}}}"
    )
    (tmp_path / "slow_tests.json").write_text(
        f'{{"outcome": "9 passed", "seconds": 61.7, {surroundings}}}'
    )

    page = script("make_benchmarks").page(tmp_path)

    assert "## Start up\n" in page
    assert "| a --help | 0.1234 | 2 |" in page
    assert "| documents | 12,345 |" in page
    assert "2026-01-02: x86_64, 2 cores, load 0.5, 0.25, 1 (1, 5, 15 min); Python 3.13.1" in page
    assert "`make test-slow` last ran on 2026-01-02: 9 passed in 62 s" in page


# ------------------------------------------------------------------ every block runs


@pytest.fixture(scope="module")
def shell_path(tmp_path_factory):
    """A PATH on which `llmctl` is a command of a preloaded process, small and quick."""
    folder = tmp_path_factory.mktemp("shell")
    address = str(folder / "socket")
    server = Path(__file__).with_name("shell_server.py")
    spec = importlib.util.spec_from_file_location("shell_server", server)
    shell_server = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(shell_server)
    (folder / "client.py").write_text(shell_server.CLIENT.format(address=address))
    programs = {
        "llmctl": f'exec "{sys.executable}" -S -E "{folder}/client.py" "$@"',
        "sleep": "exec /bin/sleep 0.05",
        "zstdcat": f'exec "{sys.executable}" -c "import sys, zstandard as z; '
        'z.ZstdDecompressor().copy_stream(open(sys.argv[1], \'rb\'), sys.stdout.buffer)" "$@"',
    }
    for name, line in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{line}\n")
        (folder / name).chmod(0o755)
    process = subprocess.Popen(
        [sys.executable, server, address],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"},
    )
    assert process.stdout.readline() == "ready\n"
    yield f"{folder}{os.pathsep}{os.environ['PATH']}"
    process.communicate()


def made_texts(number: int) -> list[str]:
    """English and Chinese, no two alike."""
    draw = random.Random(0)
    words = ("the", "small", "river", "under", "every", "stone", "sings", "a", "light")
    han = "春夏秋冬山水日月人家花鸟"
    texts = []
    for _ in range(number):
        english = " ".join(draw.choices(words, k=60)).capitalize() + "."
        texts.append(draw.choice([english, "，".join(draw.choices(han, k=60)) + "。"]))
    return texts


def json_lines(texts: list[str]) -> str:
    """A record a text."""
    return "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts)


@pytest.fixture
def reader(tmp_path, monkeypatch):
    """The folder of somebody who reads the documentation and has texts of their own."""
    for page in (*ROOT.glob("*.md"), *DOCS.glob("*.md")):
        target = tmp_path / page.relative_to(ROOT)
        target.parent.mkdir(exist_ok=True)
        shutil.copy(page, target)
    texts = made_texts(90)
    for folder in ("stories", "letters"):
        (tmp_path / folder).mkdir()
    (tmp_path / "stories/spring.txt").write_text(texts[0] + texts[2], encoding="utf-8")
    (tmp_path / "stories/tales.jsonl").write_text(json_lines(texts[3:60]), encoding="utf-8")
    (tmp_path / "letters/一.md").write_text(texts[60] + texts[62], encoding="utf-8")
    poems = json_lines([*texts[63:], texts[63]])
    (tmp_path / "poems.jsonl.gz").write_bytes(gzip.compress(poems.encode(), mtime=0))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LLMCTL_RUNS", raising=False)
    return tmp_path


def run_blocks(page: str, folder: Path, path: str) -> str:
    """Run a page's blocks in order; a recipe is written to `<name>.yaml`. Returns the output."""
    output = ""
    for language, content in blocks(page):
        if language == "yaml":
            name = re.search(r"^name: (\w+)$", content, re.MULTILINE)[1]
            (folder / f"{name}.yaml").write_text(content, encoding="utf-8")
        elif language == "python":
            with contextlib.redirect_stdout(io.StringIO()) as written:
                exec(compile(content, page, "exec"), {})
            output += written.getvalue()
        elif language == "sh":
            ended = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", content],
                cwd=folder,
                env=os.environ | {"PATH": path},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
            assert ended.returncode == 0, f"{content}\n{ended.stdout}\n{ended.stderr}"
            assert "Traceback" not in ended.stderr
            output += ended.stdout
    return output


def test_every_block_of_the_readme_runs(reader, shell_path):
    output = run_blocks("README.md", reader, shell_path)

    assert "bits per byte" in output
    assert (reader / "corpus/manifest.json").is_file()
    assert (reader / "shards/manifest.json").is_file()
    assert (reader / "runs/short/model/config.json").is_file()
    assert (reader / "runs/mine/report/report.html").is_file()
    assert (reader / "exported/manifest.json").is_file()


def test_every_block_of_the_guide_runs(reader, shell_path):
    output = run_blocks("docs/guide.md", reader, shell_path)

    assert "tokenize.vocab_size: 4096 → 2048" in output
    assert "runs/first/model: " in output
    assert '"rule":"exact_duplicate"' in output
    assert (reader / "spring/manifest.json").is_file()
    answers = (reader / "answers.jsonl").read_text(encoding="utf-8").splitlines()
    assert sorted(str(json.loads(answer)["id"]) for answer in answers) == ["2", "a"]
    assert "(3, 16) [[" in output
    assert (reader / "exported/manifest.json").is_file()
    assert "<svg" in (reader / "attention.html").read_text(encoding="utf-8")


def test_every_block_of_the_page_on_cleaning_runs(reader, shell_path):
    output = run_blocks("docs/clean.md", reader, shell_path)

    assert "87 documents in = 86 kept + 1 dropped + 0 unreadable." in output
    assert "kept          documents-00000.jsonl.zst" in output
    assert "邮箱是email@example.com，手机+1 202 555 0100，" in output
    assert '"rule":"contaminated","value":1,"threshold":0,"item":"questions.jsonl:1"' in output
    assert "'exact': True, 'corpus': None" in output
    assert (reader / "runs/pages/corpus/report.html").is_file()
    assert (reader / "parts/manifest.json").is_file()


def test_every_block_of_the_page_on_tokenizing_runs(reader, shell_path):
    output = run_blocks("docs/tokenize.md", reader, shell_path)

    assert '{"text":"The world is 世界"}' in output
    assert "Beside other tokenizers" in output
    assert "tokens for training" in output
    for place in ("runs/sizes/shards", "runs/mixed/shards", "tested", "datatrove", "nanogpt"):
        assert (reader / place / "manifest.json").is_file(), place
    for place in ("chat-shards", "runs/pairs/shards", "runs/mixed/shards"):
        assert (reader / place / "train-00000.mask").is_file(), place


@pytest.mark.parametrize("name", ["docs/tokenize.md", "docs/tokenize.zh.md"])
def test_the_page_on_tokenizing_cuts_as_the_pretokenizers_do(name):
    from llmctl.core.tokens.pretokenizer import pieces

    rows = re.findall(r"^\| (`.+`) \| (用.+) \|$", (ROOT / name).read_text("utf-8"), re.MULTILINE)

    assert len(rows) == 5
    for names, cut in rows:
        for pretokenizer in re.findall(r"`(\w+)`", names):
            assert " · ".join(pieces(cut.replace(" · ", ""), pretokenizer)) == cut


@pytest.mark.parametrize("name", ["docs/clean.md", "docs/clean.zh.md"])
def test_the_page_on_cleaning_has_the_thresholds_of_the_profiles(name):
    from llmctl.core.clean_plan import CleanPlan, QualityRules
    from llmctl.core.text.profiles import rules_for

    columns = {"standard": "en", "web-en": "en", "web-zh": "zh", "web-ja": "ja", "code": "en"}
    rules = [
        rules_for(CleanPlan(profile=profile), language) for profile, language in columns.items()
    ]
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in (ROOT / name).read_text(encoding="utf-8").splitlines()
        if line.count("|") == len(columns) + 4
    ]

    def written(value):
        if isinstance(value, bool) or value is None:
            return "on" if value else ""
        return f"{value:,g}" if value < 1000 else f"{int(value):,}"

    assert [row[0].strip("`") for row in rows[2:]] == [
        field for field in QualityRules.model_fields if field != "stop_words"
    ]
    for row in rows[2:]:
        assert row[2:-1] == [written(getattr(each, row[0].strip("`"))) for each in rules], row


def test_every_python_block_of_formats_runs(reader, shell_path):
    subprocess.run(
        ["llmctl", "run", "quickstart", "--quiet"],
        env=os.environ | {"PATH": shell_path},
        check=True,
    )

    assert "parameters" in run_blocks("docs/formats.md", reader, shell_path)


# ------------------------------------------------------------------ what no file may say


def test_no_file_names_this_machine_or_a_registry():
    if not (ROOT / ".git").exists():
        pytest.skip("not a clone")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    named = []
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if not path.is_file():
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        found = REGISTRIES.search(text) or MACHINE_PATHS.search(text)
        if found and not (found[0] == "/tmp/" and name.startswith("tests/")):
            named.append(f"{name}: {found[0]}")

    assert not named
