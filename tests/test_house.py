"""The house's own rules: what may be imported when, what files may be called."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "llmctl"
HEAVY = {"torch", "tokenizers", "pydantic", "numpy", "transformers", "rich", "pyarrow", "yaml"}


def loaded_modules(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint('\\n'.join(sys.modules), file=sys.stderr)"
    finished = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    return set(finished.stderr.split())


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("import llmctl", id="import llmctl"),
        pytest.param(
            "import llmctl.cli\nsys.argv = ['llmctl', '--help']\n"
            "try:\n    llmctl.cli.main()\nexcept SystemExit:\n    pass",
            id="llmctl --help",
        ),
    ],
)
def test_loads_no_heavy_module(statement):
    loaded = loaded_modules(statement)

    assert "llmctl" in loaded
    assert not loaded & HEAVY


def test_text_rooms_load_without_torch():
    loaded = loaded_modules(
        "import llmctl.core.stages.clean, llmctl.core.stages.tokenize, llmctl.core.pipeline"
    )

    assert "llmctl.core.pipeline" in loaded
    assert "torch" not in loaded


def test_names_say_something():
    empty_words = {"utils", "util", "helpers", "helper", "common", "base", "misc"}

    assert not [path for path in PACKAGE.rglob("*.py") if path.stem in empty_words]


def test_a_file_has_one_subject():
    lengths = {
        path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for path in PACKAGE.rglob("*.py")
    }

    assert not {name: length for name, length in lengths.items() if length > 420}


@pytest.mark.parametrize("verb", ["clean", "tokenize", "train", "eval", "generate", "run"])
def test_command_is_thin(verb):
    import ast

    tree = ast.parse((PACKAGE / "commands" / f"{verb}.py").read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    for function in functions:
        statements = [node for node in ast.walk(function) if isinstance(node, ast.stmt)]
        assert len(statements) <= 31  # itself, and 30 in its body


def test_constraints_pin_every_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    wanted = [*project["dependencies"], *(name for extra in extras for name in extra)]
    pinned = {
        line.split("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if "==" in line
    }

    assert {name.split(">=")[0].lower().replace("_", "-") for name in wanted} <= pinned


@pytest.mark.parametrize("layer_breaking", [("llmctl/core/text/repair.py", "import torch")])
def test_wrong_import_breaks_a_contract(layer_breaking, tmp_path):
    pytest.importorskip("importlinter", reason="the tools of `make check` are not installed")
    import shutil

    name, statement = layer_breaking
    shutil.copytree(PACKAGE, tmp_path / "llmctl")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    path = tmp_path / name
    path.write_text(path.read_text(encoding="utf-8") + f"\n{statement}\n", encoding="utf-8")

    finished = subprocess.run(
        [Path(sys.executable).with_name("lint-imports")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(tmp_path), "PATH": "", "LANG": "C.UTF-8"},
    )

    assert finished.returncode == 1
    assert "llmctl.core.text.repair -> torch" in finished.stdout
