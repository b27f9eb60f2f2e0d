"""The wheel as it is shipped: built, installed elsewhere, and used far from the clone."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Run a command to its successful end and return its output."""
    ended = subprocess.run(
        command,
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The built wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    run(
        sys.executable,
        *("-m", "build", "--wheel", "--no-isolation", "--outdir", folder),
        cwd=ROOT,
    )
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The wheel installed into a folder of its own, without what it depends on."""
    target = tmp_path_factory.mktemp("installed")
    options = ("--target", target, "--no-deps", "--no-index", "--quiet", "--no-compile")
    run(sys.executable, "-m", "pip", "install", *options, wheel, cwd=target)
    return target


def test_wheel_holds_all_that_is_needed_and_no_more(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())

    recipes = {f"llmctl/recipes/{path.name}" for path in (ROOT / "recipes").glob("*.yaml")}
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "llmctl").rglob("*.py")}
    assert "llmctl/recipes/quickstart.yaml" in recipes
    assert recipes | modules | {"llmctl/core/artifacts/html_report.css"} <= names
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    packages = {name.split("/")[0] for name in names}
    assert packages == {"llmctl", wheel.name.removesuffix("-py3-none-any.whl") + ".dist-info"}


def test_installed_wheel_knows_its_recipes_far_from_the_clone(installed, tmp_path):
    environment = {"PYTHONPATH": str(installed), "HOME": str(tmp_path)}
    code = "import llmctl; print(llmctl.__file__)"

    where = run(sys.executable, "-c", code, cwd=tmp_path, **environment)
    printed = run(
        sys.executable, "-m", "llmctl", "recipes", "quickstart", cwd=tmp_path, **environment
    )

    # Not the clone, which the test environment may have installed as editable.
    assert Path(where.strip()) == installed / "llmctl" / "__init__.py"
    assert printed == (ROOT / "recipes/quickstart.yaml").read_text(encoding="utf-8")
    assert list(tmp_path.iterdir()) == []


def test_installed_wheel_says_what_it_is(installed):
    (found,) = metadata.distributions(name="llmctl-toolkit", path=[str(installed)])

    (script,) = found.entry_points.select(group="console_scripts")
    assert (script.name, script.value) == ("llmctl", "llmctl.cli:main")
    assert found.metadata["License-Expression"] == "Apache-2.0"
    assert found.metadata["Name"] == "llmctl-toolkit"
