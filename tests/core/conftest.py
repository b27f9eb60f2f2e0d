"""The operations that publishing depends on: recorded, or the process ended after one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

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
