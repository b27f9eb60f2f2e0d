"""Where an artifact grows before it is published: resumable units in a hidden directory."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmctl.core import atomic
from llmctl.core.errors import OutputError
from llmctl.core.lock import exclusive
from llmctl.core.manifest import (
    KEY_CHARACTERS_IN_NAMES,
    MANIFEST_NAME,
    Identity,
    Manifest,
    read_manifest,
    write_manifest,
)

WORK_PREFIX = ".work-"
UNITS_NAME = "units"
RESULT_NAME = "result"


class Workspace:
    """The work in progress on one artifact, beside its target.

    `.work-<name>-<key8>/units/` holds finished units of work, each a whole file that the
    next start takes up; `.work-<name>-<key8>/result/` becomes the artifact. Open it only
    under the lock: it removes what other keys left behind.

    Args:
        target: The artifact's directory, e.g. `runs/quickstart/corpus`.
        identity: What the artifact is made from.
        keep_former: Whether a former artifact of another key steps aside as
            `<name>-<key8>` instead of being deleted.
        is_shared: Several processes make units here at a time, each under a lock of its own;
            nothing is removed and nothing published.
    """

    def __init__(
        self,
        target: Path,
        identity: Identity,
        *,
        keep_former: bool = False,
        is_shared: bool = False,
    ) -> None:
        self.target = target
        self.identity = identity
        self.keep_former = keep_former
        self.path = target.with_name(f"{WORK_PREFIX}{target.name}-{identity.short_key}")
        with atomic.storage_errors(target):
            if is_shared:
                self.units.mkdir(parents=True, exist_ok=True)
                return
            target.parent.mkdir(parents=True, exist_ok=True)
            settle(target, keep_former=keep_former)
            for leftover in _leftovers(target):
                if leftover != self.path:
                    atomic.remove_tree(leftover)
            self.units.mkdir(parents=True, exist_ok=True)
            atomic.remove_tree(self.result)
            self.result.mkdir()

    @property
    def units(self) -> Path:
        """Finished units of work, kept over a crash."""
        return self.path / UNITS_NAME

    @property
    def result(self) -> Path:
        """The artifact to be; empty at the start."""
        return self.path / RESULT_NAME

    def shard_lock(self, number: int, count: int) -> Path:
        """The lock of a process that makes shard `number` of `count` of the units."""
        return self.path / f"shard-{number}-of-{count}.lock"

    def refuse_shards(self) -> None:
        """Make sure that no shard is being made.

        Raises:
            BusyError: One is; the message names its process.
        """
        for path in sorted(self.path.glob("shard-*.lock")):
            with exclusive(path):
                pass

    def publish(self, counts: Mapping[str, Any], *, device: str = "cpu") -> Manifest:
        """Describe the result and put it in the target's place.

        Args:
            counts: What the artifact counts of itself, for the manifest.
            device: Where it was made.
        """
        with atomic.storage_errors(self.target):
            manifest = write_manifest(self.result, self.identity, counts, device=device)
            _put_in_place(self.result, self.target, keep_former=self.keep_former)
            atomic.remove_tree(self.path)
        return manifest


def settle(target: Path, *, keep_former: bool = False) -> None:
    """Finish or undo what a crash cut in half around `target`. Call under the lock.

    Raises:
        OutputError: In the target's place is something that llmctl did not make.
    """
    atomic.finish_swap(target)
    _refuse_foreign(target)
    for leftover in _leftovers(target):
        result = leftover / RESULT_NAME
        if read_manifest(result) is not None:
            _put_in_place(result, target, keep_former=keep_former)
        published = read_manifest(target)
        if published is not None and leftover.name.endswith(
            f"-{published.key[:KEY_CHARACTERS_IN_NAMES]}"
        ):
            atomic.remove_tree(leftover)


def _refuse_foreign(target: Path) -> None:
    if target.exists() and not (target / MANIFEST_NAME).exists():
        if target.is_dir() and not any(target.iterdir()):
            return
        raise OutputError(
            f"{target}: exists and is no artifact, and would be overwritten; move it away, or "
            "name another folder"
        )


def _leftovers(target: Path) -> list[Path]:
    # Not a glob: it would take `.work-corpus-2-1a2b3c4d`, which another process may be
    # working on, for one of `corpus`, and read brackets in a name as a pattern.
    name = re.compile(
        re.escape(f"{WORK_PREFIX}{target.name}-") + f"[0-9a-f]{{{KEY_CHARACTERS_IN_NAMES}}}"
    )
    if not target.parent.is_dir():
        return []
    return sorted(path for path in target.parent.iterdir() if name.fullmatch(path.name))


def aside_path(target: Path, key: str) -> Path:
    """Where an artifact of that key steps to: `model-1a2b3c4d` beside `model`."""
    return target.with_name(f"{target.name}-{key[:KEY_CHARACTERS_IN_NAMES]}")


def bring_back(target: Path, key: str) -> bool:
    """Put the artifact of that key, which had stepped aside, back in its place."""
    candidate = aside_path(target, key)
    manifest = read_manifest(candidate)
    if manifest is None or manifest.key != key:
        return False
    _put_in_place(candidate, target, keep_former=True)
    return True


def _put_in_place(result: Path, target: Path, *, keep_former: bool) -> None:
    former = read_manifest(target) if keep_former else None
    incoming = read_manifest(result)
    aside = None
    if former is not None and incoming is not None and former.key != incoming.key:
        aside = aside_path(target, former.key)
        atomic.remove_tree(aside)
    atomic.publish_directory(result, target, aside)
