"""`hub:owner/name[@revision][:path]` as an input: the data files of a data set of the Hub.

They lie in the Hub's own cache, where `hf download --repo-type dataset` puts them, too. Which
files a commit has is remembered in llmctl's cache, so that what is there needs no network.
Without a path, the files with records are taken (parquet, JSON, CSV, WARC) or, where there
are none, those with text; never the card, the licence and their like. A path is a file, a
folder or a pattern in which `*` stands for `/`, too: `hub:a/b:data/train-*`.
"""

from __future__ import annotations

import fnmatch
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, cast

import orjson

from llmctl.core import atomic
from llmctl.core.artifacts.documents import KNOWN_KINDS, format_of
from llmctl.core.artifacts.downloads import cache_directory
from llmctl.core.artifacts.hub_cache import HubReference, parse_reference
from llmctl.core.artifacts.hub_connection import (
    ANSWER_SECONDS,
    DownloadRefusedError,
    bar_class,
    endpoint,
    quiet_hub,
    refusals,
    refuse_offline,
    repository_files,
)
from llmctl.core.errors import MissingInputError, RecipeError
from llmctl.core.progress import Progress

SCHEME = "hub:"
_ABOUT_THE_SET = (
    "readme",
    "license",
    "licence",
    "contributing",
    "changelog",
    "requirements",
    "dataset_info",
    "datasets_info",
    "dataset_dict",
    "state.json",
)
_RECORD_KINDS = ("jsonl", "json", "csv", "tsv", "parquet", "warc")


@dataclass(frozen=True, slots=True)
class DatasetFiles:
    """The files of a data set that an input stands for.

    Attributes:
        paths: Name in the repository → where it lies.
        left_out: Names of the others.
    """

    paths: dict[str, Path]
    left_out: tuple[str, ...]


def fetch_dataset(name: str, progress: Progress | None) -> DatasetFiles:
    """Return the files that `hub:…` stands for, downloading what the cache lacks.

    Args:
        name: As a recipe has it.
        progress: Told of the download; None: the cache must have them.

    Raises:
        RecipeError: It is no name of a data set.
        MissingInputError: It is neither in the cache nor to be had, or has no such files.
        OutputError: The cache cannot be written.
        StorageError: The disk is full or failing.
    """
    reference, pattern = _parsed(name)
    commit, known = _remembered(reference)
    if commit is not None and known is not None:
        chosen = choose(name, list(known), pattern)
        found = _present(reference, commit, chosen)
        if len(found.paths) == len(chosen.paths):
            return found
    if progress is None:
        raise MissingInputError(f"{name}: not downloaded yet")
    try:
        refuse_offline()
        with quiet_hub():
            return _download(name, reference, pattern, progress)
    except DownloadRefusedError as error:
        found = _left_by_others(name, reference, pattern)
        if found is not None and known is None:
            return found
        raise MissingInputError(
            f"{name}: the Hub's cache {reference.folder.parent} does not hold it, and it cannot "
            f"be downloaded: {error}; download it where there is a network, with `hf download "
            f"{reference.id} --repo-type dataset --local-dir FOLDER`, and name that folder"
        ) from error


def choose(name: str, files: Sequence[str], pattern: str) -> DatasetFiles:
    """Choose the files that an input stands for; their paths are still to be found.

    Args:
        name: The input, for the message.
        files: All files of the repository.
        pattern: The path behind the data set's name, or nothing.

    Raises:
        MissingInputError: None of them is of a known kind.
    """
    named = [file for file in files if not pattern or _matches(file, pattern)]
    known = {file: found[0] for file in sorted(named) if (found := format_of(file))}
    if not pattern:
        known = {file: kind for file, kind in known.items() if not _is_about(file)}
        if any(kind in _RECORD_KINDS for kind in known.values()):
            known = {file: kind for file, kind in known.items() if kind in _RECORD_KINDS}
    if not known:
        endings = Counter(PurePosixPath(file).suffix or file for file in named)
        there = ", ".join(f"{count} {ending}" for ending, count in endings.most_common(5))
        raise MissingInputError(
            f"{name}: no file of a known kind there ({there or 'nothing at all'}); known are "
            f"{KNOWN_KINDS}"
        )
    left_out = [file for file in named if file not in known and not _is_about(file)]
    return DatasetFiles(dict.fromkeys(known, Path()), tuple(sorted(left_out)))


def _parsed(name: str) -> tuple[HubReference, str]:
    identifier, _, pattern = name.removeprefix(SCHEME).partition(":")
    reference = parse_reference(identifier)
    if reference is None:
        raise RecipeError(
            f"{name}: no data set of the Hub; expected hub:owner/name, hub:owner/name@revision "
            "or either with :path"
        )
    return replace(reference, kind="dataset"), pattern.strip("/")


def _matches(file: str, pattern: str) -> bool:
    return file == pattern or file.startswith(f"{pattern}/") or fnmatch.fnmatchcase(file, pattern)


def _is_about(file: str) -> bool:
    last = PurePosixPath(file).name.lower()
    return last.startswith((".", *_ABOUT_THE_SET)) or last == "dummy_data.zip"


def _record(reference: HubReference, commit: str) -> Path:
    digest = hashlib.sha256(f"{endpoint()} {reference.id}".encode()).hexdigest()[:16]
    return cache_directory() / "hub" / f"{digest}-{commit}.json"


def _remembered(reference: HubReference) -> tuple[str | None, dict[str, int] | None]:
    """Return the commit in the cache, and the sizes of its files where they are known."""
    cached = reference.cached()
    if cached is None:
        return None, None
    try:
        return cached.name, orjson.loads(_record(reference, cached.name).read_bytes())
    except (OSError, ValueError):
        return cached.name, None


def _present(reference: HubReference, commit: str, chosen: DatasetFiles) -> DatasetFiles:
    snapshot = reference.snapshot(commit)
    paths = {file: snapshot / file for file in chosen.paths if (snapshot / file).is_file()}
    return replace(chosen, paths=paths)


def _left_by_others(name: str, reference: HubReference, pattern: str) -> DatasetFiles | None:
    """Return what another program downloaded, all of it or a part: that was its user's choice."""
    cached = reference.cached()
    if cached is None:
        return None
    files = [path.relative_to(cached).as_posix() for path in cached.rglob("*") if path.is_file()]
    try:
        return _present(reference, cached.name, choose(name, files, pattern))
    except MissingInputError:
        return None


def _download(name: str, reference: HubReference, pattern: str, progress: Progress) -> DatasetFiles:
    commit, sizes = repository_files(reference, progress)
    for file in sizes:
        if ".." in PurePosixPath(file).parts or file.startswith("/") or "\\" in file:
            raise DownloadRefusedError("it names a file outside of itself")
    chosen = choose(name, list(sizes), pattern)
    present = _present(reference, commit, chosen).paths
    missing = [file for file in chosen.paths if file not in present]
    counted = 0.0

    def count(num_bytes: float) -> None:
        nonlocal counted
        counted += num_bytes
        progress.advance(num_bytes / 1e6)

    progress.begin(f"download {name}", sum(sizes[file] for file in missing) / 1e6, "MB")
    try:
        for file in missing:
            before = counted
            _fetch(reference, commit, file, bar_class(count, progress.check), progress)
            count(sizes[file] - (counted - before))  # what came compressed
    finally:
        progress.end()
    _remember(reference, commit, sizes)
    return _present(reference, commit, chosen)


def _fetch(reference: HubReference, commit: str, file: str, bar: type, progress: Progress) -> None:
    from huggingface_hub import hf_hub_download

    progress.check()
    with refusals(reference, endpoint()):
        hf_hub_download(
            reference.id,
            file,
            repo_type="dataset",
            revision=commit,
            cache_dir=reference.folder.parent,
            endpoint=endpoint(),
            etag_timeout=ANSWER_SECONDS,
            tqdm_class=cast("Any", bar),
        )


def _remember(reference: HubReference, commit: str, sizes: dict[str, int]) -> None:
    """Write down what a commit has, and let the revision lead to it."""
    record = _record(reference, commit)
    with atomic.storage_errors(record):
        record.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_file(record, orjson.dumps(sizes))
    if commit != reference.revision:
        ref = reference.folder / "refs" / reference.revision
        with atomic.storage_errors(ref):
            ref.parent.mkdir(parents=True, exist_ok=True)
            atomic.write_file(ref, commit.encode())
