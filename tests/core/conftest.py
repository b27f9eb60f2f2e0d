"""The operations that publishing depends on: recorded, or the process ended after one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fake_hub import COMMIT, FakeHub, serving

from llmctl.core import atomic


class Killed(BaseException):
    """The process ended here: no handler of the code under test may catch it."""


@pytest.fixture
def operations(monkeypatch):
    """Every (operation, path) that `atomic` has told of so far."""
    found: list[tuple[str, Path]] = []
    monkeypatch.setattr(atomic, "observer", lambda *operation: found.append(operation))
    return found


@pytest.fixture
def killed_after(monkeypatch):
    """Run an act and end it after so many operations; returns whether it came so far."""

    def run(num_operations: int, act: Callable[[], object]) -> bool:
        left = num_operations

        def observe(_operation: str, _path: Path) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(atomic, "observer", observe)
            try:
                act()
            except Killed:
                return True
        return False

    return run


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    """Where the Hub's cache lies, empty; no variable of the machine's reaches the test."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_ENDPOINT", "HF_TOKEN", "HF_HOME"):
        monkeypatch.delenv(name, raising=False)
    cache = tmp_path / "hub cache 缓存"
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    monkeypatch.setenv("LLMCTL_CACHE", str(tmp_path / "llmctl cache"))
    return cache


@pytest.fixture
def fill_cache(hub_cache):
    """Write files as huggingface_hub does: blobs, links to them, a ref."""

    def fill(hub_id, files, revision="main", commit=COMMIT):
        folder = hub_cache / f"models--{hub_id.replace('/', '--')}"
        snapshot = folder / "snapshots" / commit
        snapshot.mkdir(parents=True)
        (folder / "blobs").mkdir(exist_ok=True)
        for name, content in files.items():
            blob = folder / "blobs" / f"{commit[:4]}-{name}"
            blob.write_bytes(content)
            (snapshot / name).symlink_to(f"../../blobs/{blob.name}")
        ref = folder / "refs" / revision
        ref.parent.mkdir(parents=True, exist_ok=True)
        ref.write_text(commit)
        return snapshot

    return fill


@pytest.fixture
def fake_hub(hub_cache, monkeypatch, tmp_path):
    """A Hub on this machine, which `HF_ENDPOINT` names."""
    from huggingface_hub import constants

    hub = FakeHub()
    with serving(hub) as endpoint:
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
        # Read when huggingface_hub is imported, which another test may have done.
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)
        template = f"{endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no token"))
        monkeypatch.setattr(constants, "AGENT_HARNESSES_PATH", str(tmp_path / "harnesses"))
        yield hub
