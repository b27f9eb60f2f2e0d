"""Downloading a model from the Hugging Face Hub into the Hub's cache."""

from __future__ import annotations

import logging
import os
import threading
import warnings
from collections.abc import Callable, Generator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

from llmctl.core import atomic
from llmctl.core.artifacts.hub_cache import COMMIT, HubReference, cache_directory
from llmctl.core.artifacts.hub_layout import (
    BPE_NAMES,
    CONFIG_NAME,
    GENERATION_CONFIG_NAME,
    INDEX_NAME,
    TOKENIZER_CONFIG_NAME,
    TOKENIZER_NAME,
    WEIGHTS_NAME,
    has_tokenizer,
    quoted,
    read_index,
)
from llmctl.core.errors import LlmctlError
from llmctl.core.progress import Progress

# Beside the weights; nothing pickled and nothing that could be run.
_SMALL_NAMES = (
    CONFIG_NAME,
    GENERATION_CONFIG_NAME,
    TOKENIZER_NAME,
    *BPE_NAMES,
    TOKENIZER_CONFIG_NAME,
    "special_tokens_map.json",
    "chat_template.jinja",
)
_ENDPOINT = "https://huggingface.co"
_ANSWER_SECONDS = 15.0
_CHECK_SECONDS = 0.1

Answer = TypeVar("Answer")


class DownloadRefusedError(Exception):
    """Why there is no download, in one clause."""


def download(reference: HubReference, progress: Progress) -> Path:
    """Download what the cache lacks of a model and return its snapshot.

    Files that arrived whole stay if it breaks off, and the next call goes on after them.

    Args:
        reference: The model.
        progress: Told of the bytes that arrive.

    Raises:
        DownloadRefusedError: The Hub is not to be reached, or does not give the model away.
        DataError: The index of the weights that was downloaded is damaged.
        OutputError: The cache cannot be written.
        StorageError: The disk is full or failing.
    """
    with _quiet_hub():
        return _Download(reference, progress).run()


class _Download:
    """The files of one commit on their way into the cache."""

    def __init__(self, reference: HubReference, progress: Progress) -> None:
        self.reference = reference
        self.progress = progress
        self._endpoint = (os.environ.get("HF_ENDPOINT") or _ENDPOINT).rstrip("/")
        self._has_begun = False
        self._num_bytes = 0.0

    def run(self) -> Path:
        """Download what is missing and return the snapshot."""
        commit, sizes = self._ask()
        names = [name for name in _SMALL_NAMES if name in sizes]
        if WEIGHTS_NAME in sizes:
            names.append(WEIGHTS_NAME)
        else:
            index = self._fetch(commit, INDEX_NAME)
            names += [INDEX_NAME, *sorted({*read_index(index).values()})]
        missing = [name for name in names if name not in sizes]
        if missing:
            raise DownloadRefusedError(f"its index names {missing[0]}, which is not there")
        self._begin(sum(sizes[name] for name in names))
        try:
            for name in names:
                before = self._num_bytes
                self._fetch(commit, name)
                # What was there already, or came compressed.
                self._count(sizes[name] - (self._num_bytes - before))
        finally:
            self.progress.end()
        self._name(commit)
        return self.reference.snapshot(commit)

    def _ask(self) -> tuple[str, dict[str, int]]:
        """Return the commit and the size of each of its files, in bytes."""
        from huggingface_hub import HfApi

        reference = self.reference
        api = HfApi(endpoint=self._endpoint)

        def question() -> tuple[str | None, dict[str, int]]:
            info = api.model_info(
                reference.id,
                revision=reference.revision,
                files_metadata=True,
                timeout=_ANSWER_SECONDS,
            )
            return info.sha, {file.rfilename: file.size or 0 for file in info.siblings or ()}

        with _refusals(reference, self._endpoint):
            commit, sizes = _answer(question, self.progress)
        if commit is None or not COMMIT.fullmatch(commit):
            raise DownloadRefusedError(f"{self._endpoint} does not answer as the Hub does")
        if not {WEIGHTS_NAME, INDEX_NAME} & sizes.keys():
            raise DownloadRefusedError(
                "it holds no safetensors, and pickled weights are never opened"
            )
        if CONFIG_NAME not in sizes or not has_tokenizer(set(sizes)):
            raise DownloadRefusedError(
                f"it lacks {CONFIG_NAME}, or both {TOKENIZER_NAME} and {' with '.join(BPE_NAMES)}"
            )
        return commit, sizes

    def _fetch(self, commit: str, name: str) -> Path:
        from huggingface_hub import hf_hub_download

        self.progress.check()
        with _refusals(self.reference, self._endpoint):
            path = hf_hub_download(
                self.reference.id,
                name,
                revision=commit,
                cache_dir=cache_directory(),
                endpoint=self._endpoint,
                etag_timeout=_ANSWER_SECONDS,
                tqdm_class=cast("Any", self._bar_class()),
            )
        return Path(path)

    def _name(self, commit: str) -> None:
        """Let the revision lead to the commit; last, so that no name leads to a part."""
        if commit == self.reference.revision:
            return
        ref = self.reference.folder / "refs" / self.reference.revision
        with atomic.storage_errors(ref):
            ref.parent.mkdir(parents=True, exist_ok=True)
            atomic.write_file(ref, commit.encode())

    def _begin(self, total_bytes: int) -> None:
        self._has_begun = True
        self.progress.begin(f"download {self.reference.id}", total_bytes / 1e6, "MB")

    def _count(self, num_bytes: float) -> None:
        if self._has_begun:
            self._num_bytes += num_bytes
            self.progress.advance(num_bytes / 1e6)

    def _bar_class(self) -> type:
        count, check = self._count, self.progress.check

        class Bar:
            """As much of a tqdm bar as huggingface_hub asks for; it counts into ours."""

            def __init__(self, *_unused: object, initial: float = 0, **_options: object) -> None:
                count(initial)

            def __enter__(self) -> Bar:
                return self

            def __exit__(self, *_error: object) -> None:
                pass

            def update(self, num_bytes: float | None = 1) -> None:
                count(num_bytes or 0)
                # Elsewhere the error would get lost in the thread of the downloader.
                if threading.current_thread() is threading.main_thread():
                    check()

            def update_transfer(self, num_bytes: float | None = 1) -> None:
                """Compressed bytes; those written are what counts."""

            def __getattr__(self, _name: str) -> Callable[..., None]:
                return lambda *_unused, **_options: None

        return Bar


def _answer(question: Callable[[], Answer], progress: Progress) -> Answer:
    """Return what the Hub says, or give up: looking a host up knows no time limit of its own."""
    future: Future[Answer] = Future()

    def ask() -> None:
        try:
            future.set_result(question())
        except Exception as error:
            future.set_exception(error)

    threading.Thread(target=ask, daemon=True).start()
    for _ in range(round(_ANSWER_SECONDS / _CHECK_SECONDS)):
        progress.check()
        if wait([future], timeout=_CHECK_SECONDS).done:
            return future.result()
    raise DownloadRefusedError(f"no answer within {_ANSWER_SECONDS:g} s")


@contextmanager
def _refusals(reference: HubReference, endpoint: str) -> Generator[None]:
    """Turn whatever huggingface_hub and what it stands on raise into one clause.

    Raises:
        DownloadRefusedError: The Hub is not to be reached, or does not give the model away.
        OutputError: The cache cannot be written.
        StorageError: The disk is full or failing.
    """
    from huggingface_hub import errors

    try:
        with atomic.storage_errors(cache_directory()):
            yield
    except (LlmctlError, DownloadRefusedError):
        raise
    except errors.GatedRepoError as error:
        raise DownloadRefusedError(
            f"{endpoint} gives it only to those who were granted access, by their HF_TOKEN"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise DownloadRefusedError(f"{endpoint} has no public model of that name") from error
    except errors.RevisionNotFoundError as error:
        raise DownloadRefusedError(
            f"{endpoint} has no revision {reference.revision} of it"
        ) from error
    except Exception as error:
        reason = error.__cause__ or error
        line = f"{type(reason).__name__}: {reason}".splitlines()[0]
        raise DownloadRefusedError(
            f"{endpoint} does not answer as it should: {quoted(line)}"
        ) from error


@contextmanager
def _quiet_hub() -> Generator[None]:
    """Keep what huggingface_hub would tell of retries and tokens off stderr."""
    from huggingface_hub.utils import logging as hub_logging

    former = hub_logging.get_verbosity()
    hub_logging.set_verbosity(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        hub_logging.set_verbosity(former)
