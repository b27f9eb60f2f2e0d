"""The page that every artifact carries: what it is, what it was made from, what it holds.

An artifact is a directory with `manifest.json`, written last. Its key names everything
that decides its data: the plan as written, the parents' keys, the inputs' digests, the
version of the stage's behaviour. Two directories of one key hold the same data.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import pydantic

from llmctl.core import atomic
from llmctl.core.errors import DataError, MissingInputError

MANIFEST_NAME = "manifest.json"
SCHEMA_VERSION = 1
KEY_CHARACTERS_IN_NAMES = 8
_RACY_NANOSECONDS = 2_000_000_000
_READ_BYTES = 1 << 20


@dataclass(frozen=True)
class Identity:
    """Everything that decides the data of an artifact.

    Attributes:
        kind: "corpus", "shards", "model", "report" or "export".
        plan: The plan as written, with its defaults.
        parents: The key of each parent artifact by its kind.
        inputs: The digest of each input by its name.
        behaviour: The version of the stage's behaviour, raised when the same plan and
            inputs give other data than before.
    """

    kind: str
    plan: Mapping[str, Any]
    parents: Mapping[str, str] = field(default_factory=dict[str, str])
    inputs: Mapping[str, str] = field(default_factory=dict[str, str])
    behaviour: int = 1

    @property
    def key(self) -> str:
        """The sha256, in hexadecimal, of all the attributes in canonical JSON."""
        content = {
            "kind": self.kind,
            "plan": self.plan,
            "parents": dict(self.parents),
            "inputs": dict(self.inputs),
            "behaviour": self.behaviour,
        }
        text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    @property
    def short_key(self) -> str:
        """The beginning of the key, as it stands in directory names."""
        return self.key[:KEY_CHARACTERS_IN_NAMES]


class FileRecord(pydantic.BaseModel):
    """Size in bytes and sha256 of one file of an artifact."""

    model_config = pydantic.ConfigDict(frozen=True)

    size: int
    sha256: str


class Manifest(pydantic.BaseModel):
    """The content of `manifest.json`."""

    model_config = pydantic.ConfigDict(frozen=True)

    kind: str
    schema_version: int
    key: str
    plan: dict[str, Any]
    parents: dict[str, str]
    inputs: dict[str, str]
    behaviour: int
    files: dict[str, FileRecord]
    counts: dict[str, Any]
    created: str
    versions: dict[str, str]
    device: str
    argv: list[str]

    @property
    def identity(self) -> Identity:
        """What the artifact was made from."""
        return Identity(self.kind, self.plan, self.parents, self.inputs, self.behaviour)


def read_manifest(directory: Path) -> Manifest | None:
    """Return the directory's manifest, or None where there is no finished artifact.

    Raises:
        DataError: There is a manifest and it cannot be read, or is of a newer schema.
    """
    path = directory / MANIFEST_NAME
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        manifest = Manifest.model_validate_json(content)
    except pydantic.ValidationError as error:
        raise DataError(
            f"{path}: damaged: {error.errors()[0]['msg']}; remove {directory} and run again"
        ) from error
    if manifest.schema_version > SCHEMA_VERSION:
        raise DataError(
            f"{path}: schema version {manifest.schema_version} is newer than this llmctl's "
            f"{SCHEMA_VERSION}; upgrade llmctl"
        )
    return manifest


def require_manifest(directory: Path, kind: str) -> Manifest:
    """Return the manifest of a finished artifact of the given kind.

    Raises:
        MissingInputError: There is no finished artifact.
        DataError: It is damaged or of another kind.
    """
    manifest = read_manifest(directory)
    if manifest is None:
        raise MissingInputError(
            f"{directory}: no finished {kind} here ({MANIFEST_NAME} is missing)"
        )
    if manifest.kind != kind:
        raise DataError(f"{directory}: expected {kind}, found {manifest.kind}")
    return manifest


def write_manifest(
    directory: Path, identity: Identity, counts: Mapping[str, Any], *, device: str = "cpu"
) -> Manifest:
    """Describe every file of the directory, put all on the disk, write the manifest last."""
    paths = [path for path in sorted(directory.rglob("*")) if path.is_file()]
    records: dict[str, FileRecord] = {}
    for path in paths:
        records[path.relative_to(directory).as_posix()] = FileRecord(
            size=path.stat().st_size, sha256=sha256_of(path)
        )
        atomic.sync_file(path)
    for folder in {path.parent for path in paths} - {directory}:
        atomic.sync_directory(folder)
    manifest = Manifest(
        kind=identity.kind,
        schema_version=SCHEMA_VERSION,
        key=identity.key,
        plan=dict(identity.plan),
        parents=dict(identity.parents),
        inputs=dict(identity.inputs),
        behaviour=identity.behaviour,
        files=records,
        counts=dict(counts),
        created=datetime.now().astimezone().isoformat(timespec="seconds"),
        versions=versions(),
        device=device,
        argv=[os.fsencode(word).decode("utf-8", "backslashreplace") for word in sys.argv],
    )
    atomic.write_file(
        directory / MANIFEST_NAME, manifest.model_dump_json(indent=1).encode("utf-8") + b"\n"
    )
    return manifest


def versions() -> dict[str, str]:
    """The versions of Python, llmctl and the libraries that decide what data come out."""
    found = {"python": platform.python_version()}
    for name in ("llmctl-toolkit", "torch", "tokenizers", "numpy", "safetensors"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def sha256_of(path: Path) -> str:
    """The sha256 of a file's content, in hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


class DigestCache:
    """Digests by (path, size, mtime, inode, ctime), as git's index keeps them.

    A file that changed within two seconds of being hashed is not remembered: a second
    change in the same tick of the clock would go unseen.

    Args:
        path: Where the cache is kept between runs; a damaged or missing one is empty.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries: dict[str, list[Any]] = {}
        self._changed = False
        try:
            loaded = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(loaded, dict):
                self._entries = {
                    name: entry for name, entry in loaded.items() if isinstance(entry, list)
                }
        except (OSError, ValueError):
            pass

    def sha256(self, path: Path) -> str:
        """The sha256 of the file, hashed only where its stamp is not known."""
        status = path.stat()
        stamp = [status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns]
        name = os.path.abspath(path)
        entry = self._entries.get(name)
        if entry is not None and entry[:-1] == stamp:
            return str(entry[-1])
        digest = sha256_of(path)
        if time.time_ns() - status.st_ctime_ns > _RACY_NANOSECONDS:
            self._entries[name] = [*stamp, digest]
            self._changed = True
        return digest

    def save(self) -> None:
        """Keep what was learnt; a cache that cannot be written is no error."""
        if not self._changed:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            temporary = self._path.with_name(f".{self._path.name.lstrip('.')}.{os.getpid()}.tmp")
            temporary.write_text(json.dumps(self._entries), encoding="utf-8")
            temporary.replace(self._path)
            self._changed = False
        except OSError:
            pass


def check_files(directory: Path, manifest: Manifest, cache: DigestCache | None = None) -> None:
    """Compare every file of an artifact with its manifest, by content.

    Args:
        directory: The artifact.
        manifest: Its manifest.
        cache: Spares hashing what was hashed before; None hashes everything.

    Raises:
        MissingInputError: A file is not there.
        DataError: A file differs.
    """
    for name, path in _named_files(directory, manifest.files):
        record = manifest.files[name]
        try:
            size = path.stat().st_size
            digest = cache.sha256(path) if cache else sha256_of(path)
        except FileNotFoundError:
            raise MissingInputError(
                f"{path}: missing, though its manifest names it; put it back, or remove "
                f"{directory} and run again"
            ) from None
        if (size, digest) != (record.size, record.sha256):
            raise DataError(
                f"{path}: damaged: {size} bytes with sha256 {digest[:12]}…, expected "
                f"{record.size} bytes with {record.sha256[:12]}…; put a sound copy back, or "
                f"remove {directory} and run again"
            )


def _named_files(directory: Path, names: Iterable[str]) -> Iterator[tuple[str, Path]]:
    for name in names:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise DataError(f"{directory / MANIFEST_NAME}: names a file outside: {name!r}")
        yield name, directory / name


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Say what changed between two nested plans: "vocab_size: 4096 → 2048"."""
    found: list[str] = []
    for name in [*old, *(name for name in new if name not in old)]:
        before, after = old.get(name, "absent"), new.get(name, "absent")
        if before == after:
            continue
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found += differences(before, after, f"{prefix}{name}.")
        else:
            found.append(f"{prefix}{name}: {_shown(before)} → {_shown(after)}")
    return found


def reasons_stale(manifest: Manifest, identity: Identity) -> list[str]:
    """Say why an artifact is not what the identity asks for, a phrase each."""
    reasons = differences(manifest.plan, dict(identity.plan))
    for kind, key in identity.parents.items():
        if manifest.parents.get(kind) != key:
            reasons.append(f"{kind} changed")
    for name, digest in identity.inputs.items():
        if name not in manifest.inputs:
            reasons.append(f"new input {name}")
        elif manifest.inputs[name] != digest:
            reasons.append(f"input {name} changed")
    reasons += [f"input {name} is gone" for name in manifest.inputs if name not in identity.inputs]
    if manifest.behaviour != identity.behaviour:
        reasons.append(
            f"this llmctl does it otherwise ({manifest.behaviour} → {identity.behaviour})"
        )
    return reasons


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "…"
