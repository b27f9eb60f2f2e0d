"""Asking the Hugging Face Hub: whatever goes wrong is one clause, and nothing waits for ever."""

from __future__ import annotations

import logging
import os
import threading
import warnings
from collections.abc import Callable, Generator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from typing import Any, TypeVar

from llmctl.core import atomic
from llmctl.core.artifacts.hub_cache import COMMIT, HubReference, cache_directory
from llmctl.core.artifacts.hub_layout import quoted
from llmctl.core.errors import LlmctlError
from llmctl.core.progress import Progress

ANSWER_SECONDS = 15.0
_CHECK_SECONDS = 0.1
_ENDPOINT = "https://huggingface.co"
_OFFLINE_VARIABLES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
_TRUE = ("1", "ON", "YES", "TRUE")

Answer = TypeVar("Answer")


class DownloadRefusedError(Exception):
    """Why there is no download, in one clause."""


def endpoint() -> str:
    """Return the Hub's address."""
    return (os.environ.get("HF_ENDPOINT") or _ENDPOINT).rstrip("/")


def refuse_offline() -> None:
    """Heed the variables by which a machine is kept off the Hub.

    Raises:
        DownloadRefusedError: One is set.
    """
    for name in _OFFLINE_VARIABLES:
        if os.environ.get(name, "").upper() in _TRUE:
            raise DownloadRefusedError(f"{name} is set")


def bar_class(count: Callable[[float], None], check: Callable[[], None]) -> type:
    """Return a class that huggingface_hub takes for a bar of tqdm.

    Args:
        count: Told of the bytes that arrive.
        check: May end the download by raising.
    """

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


def answer(question: Callable[[], Answer], progress: Progress) -> Answer:
    """Return what the Hub says, or give up: looking a host up knows no time limit of its own."""
    future: Future[Answer] = Future()

    def ask() -> None:
        try:
            future.set_result(question())
        except Exception as error:
            future.set_exception(error)

    threading.Thread(target=ask, daemon=True).start()
    for _ in range(round(ANSWER_SECONDS / _CHECK_SECONDS)):
        progress.check()
        if wait([future], timeout=_CHECK_SECONDS).done:
            return future.result()
    raise DownloadRefusedError(f"no answer within {ANSWER_SECONDS:g} s")


def repository_files(reference: HubReference, progress: Progress) -> tuple[str, dict[str, int]]:
    """Return the commit of a revision and the size of each of its files, in bytes.

    Raises:
        DownloadRefusedError: The Hub does not tell.
    """
    from huggingface_hub import HfApi

    address = endpoint()
    api = HfApi(endpoint=address)

    def question() -> tuple[str | None, dict[str, int]]:
        info: Any = api.repo_info(
            reference.id,
            repo_type=reference.kind,
            revision=reference.revision,
            files_metadata=True,
            timeout=ANSWER_SECONDS,
        )
        return info.sha, {file.rfilename: file.size or 0 for file in info.siblings or ()}

    with refusals(reference, address):
        commit, sizes = answer(question, progress)
    if commit is None or not COMMIT.fullmatch(commit):
        raise DownloadRefusedError(f"{address} does not answer as the Hub does")
    return commit, sizes


@contextmanager
def refusals(reference: HubReference, endpoint: str) -> Generator[None]:
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
        raise DownloadRefusedError(
            f"{endpoint} has no public {reference.kind} of that name"
        ) from error
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
def quiet_hub() -> Generator[None]:
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
