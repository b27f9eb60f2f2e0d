"""The process that extracts text from web pages: pages in, texts out, through pipes.

It is a process of its own because nothing else ends a page that is too much: the parser is
written in C and hears no signal. A request is a length (eight bytes, big-endian) and as many
bytes of a page in UTF-8; the answer is a length and a JSON object with `text` and `title`,
or with `reason`. It ends with its input.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import signal
import struct
import sys
from typing import IO, Any, NoReturn

LENGTH = struct.Struct(">Q")
_BATCH_OF_PAGES = 500


class _OutOfTime(BaseException):
    """Not an Exception: trafilatura catches those and goes on."""


def main() -> None:
    """Serve pages until the input ends; the argument is the seconds of processor time a page."""
    limit = float(sys.argv[1])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides, and closes the pipe
    signal.signal(signal.SIGPROF, _give_up)
    logging.disable(logging.CRITICAL)
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # nothing that a library prints may get between the answers
    trafilatura = importlib.import_module("trafilatura")
    num_pages = 0
    while page := _request(requests):
        answer = json.dumps(_answer(trafilatura, page, limit)).encode("ascii")
        answers.write(LENGTH.pack(len(answer)) + answer)
        answers.flush()
        num_pages += 1
        if num_pages % _BATCH_OF_PAGES == 0:
            importlib.import_module("trafilatura.meta").reset_caches()


def _request(requests: IO[bytes]) -> bytes:
    length = requests.read(LENGTH.size)
    return requests.read(*LENGTH.unpack(length)) if len(length) == LENGTH.size else b""


def _answer(trafilatura: Any, page: bytes, limit: float) -> dict[str, str]:
    try:
        signal.setitimer(signal.ITIMER_PROF, limit)
        try:
            return _extracted(trafilatura, page.decode("utf-8", "replace"))
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
    except _OutOfTime:
        return {"reason": f"its text could not be extracted within {limit:g} s"}
    except Exception as error:
        return {"reason": f"its text could not be extracted: {type(error).__name__}: {error}"}


def _extracted(trafilatura: Any, page: str) -> dict[str, str]:
    """What FineWeb asks for: rather too little than boilerplate, and no comments.

    Paragraphs that other pages had are kept, unlike there: which pages were before depends on
    the processes at work, and the result must not.
    """
    tree = trafilatura.load_html(page)
    if tree is None:
        return {"text": "", "title": ""}
    title = " ".join((tree.findtext(".//title") or "").split())
    text = trafilatura.extract(
        tree, favor_precision=True, include_comments=False, include_tables=True, deduplicate=False
    )
    return {"text": text or "", "title": title}


def _give_up(*_signal: object) -> NoReturn:
    raise _OutOfTime


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        main()
