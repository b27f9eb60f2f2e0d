"""A web page → its main text and title, through trafilatura, within a time limit.

The limit is of processor time, so that a busy machine reads the same pages as an idle one;
a child that does not answer even long after is ended, and the next page gets a new one.
"""

from __future__ import annotations

import atexit
import importlib.util
import json
import os
import select
import subprocess
import time
from dataclasses import dataclass

from llmctl.core.artifacts.page_extraction import LENGTH
from llmctl.core.child_process import broken_pipe_as_error, start_module
from llmctl.core.errors import MissingInputError

MAX_PAGE_BYTES = 20_000_000
PAGE_SECONDS = 10.0
# Processor time is not wall time, and a new child has to import everything first.
_PATIENCE = 6
_START_SECONDS = 30
_READ_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class WebPage:
    """What a page says."""

    text: str
    title: str


class UnreadablePage(Exception):
    """Why a page has no text."""


class PageExtractor:
    """A child process that extracts pages, started when first needed.

    Args:
        limit_seconds: Processor time that a page may take.
        hard_seconds: Time on the clock after which the child is ended; None: by the limit.
    """

    def __init__(
        self, limit_seconds: float = PAGE_SECONDS, hard_seconds: float | None = None
    ) -> None:
        self._limit = limit_seconds
        if hard_seconds is None:
            hard_seconds = _START_SECONDS + _PATIENCE * limit_seconds
        self._hard = hard_seconds
        self._child: subprocess.Popen[bytes] | None = None

    def extract(self, page: str) -> WebPage:
        """Return the main text of a page, which may be empty: a crawl is full of such pages.

        Raises:
            UnreadablePage: It takes too long, or its extraction fails.
            MissingInputError: trafilatura is not installed.
        """
        content = page.encode("utf-8", "replace")
        if not content:
            return WebPage("", "")
        if len(content) > MAX_PAGE_BYTES * 3:
            raise UnreadablePage(f"a page of more than {MAX_PAGE_BYTES // 1_000_000} MB")
        child = self._started()
        try:
            answer = json.loads(_exchange(child, LENGTH.pack(len(content)) + content, self._hard))
        except TimeoutError:
            self.close()
            reason = f"its text could not be extracted within {self._hard:g} s"
            raise UnreadablePage(reason) from None
        except (EOFError, BrokenPipeError):
            self.close()
            raise UnreadablePage("extracting its text ended the process that did it") from None
        if "reason" in answer:
            raise UnreadablePage(answer["reason"])
        return WebPage(answer["text"], answer["title"])

    def close(self) -> None:
        """End the child; the next page starts another."""
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
            self._child = None

    def _started(self) -> subprocess.Popen[bytes]:
        if self._child is None:
            require_trafilatura()
            self._child = start_module(
                "llmctl.core.artifacts.page_extraction",
                self._limit,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
            )
        return self._child


def require_trafilatura() -> None:
    """Refuse to go on without the extra that reads web pages.

    Raises:
        MissingInputError: It is not installed.
    """
    if importlib.util.find_spec("trafilatura") is None:
        raise MissingInputError(
            "web pages are read with trafilatura, which is not installed: "
            "pip install 'llmctl-toolkit[html]'"
        )


def extract_page(page: str) -> WebPage:
    """Return the main text of a page, from this process's one extractor; see `PageExtractor`."""
    return _extractor.extract(page)


def _exchange(child: subprocess.Popen[bytes], request: bytes, seconds: float) -> bytes:
    """Send a request and return the answer, whichever of both pipes is ready."""
    assert child.stdin is not None
    assert child.stdout is not None
    incoming, outgoing = child.stdout.fileno(), child.stdin.fileno()
    os.set_blocking(outgoing, False)
    deadline = time.monotonic() + seconds
    answer = bytearray()
    unsent = memoryview(request)
    while len(answer) < LENGTH.size or len(answer) < LENGTH.size + LENGTH.unpack_from(answer)[0]:
        remaining = deadline - time.monotonic()
        ready = select.select([incoming], [outgoing] if unsent else [], [], max(remaining, 0))
        if remaining <= 0 or not any(ready):
            raise TimeoutError
        if ready[1]:
            with broken_pipe_as_error():
                unsent = unsent[os.write(outgoing, unsent[:_READ_BYTES]) :]
        if ready[0]:
            received = os.read(incoming, _READ_BYTES)
            if not received:
                raise EOFError
            answer += received
    return bytes(answer[LENGTH.size :])


_extractor = PageExtractor()
atexit.register(_extractor.close)
