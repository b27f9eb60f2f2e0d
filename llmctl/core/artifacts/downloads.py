"""`https://…` as an input: downloaded once into llmctl's cache, then read from there.

    <cache>/downloads/<of the address>/<name>       the file
    <cache>/downloads/<of the address>/about.json   its address, size, sha256 and encoding

The cache is `$LLMCTL_CACHE`, else `llmctl` in `$XDG_CACHE_HOME` or in `~/.cache`. A file that
is there whole is never asked for again: who wants what the address has now removes it.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import ssl
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import orjson

from llmctl.core import atomic
from llmctl.core.artifacts.hub_connection import ANSWER_SECONDS, DownloadRefusedError, answer
from llmctl.core.artifacts.hub_layout import quoted
from llmctl.core.errors import MissingInputError
from llmctl.core.progress import Progress

SCHEMES = ("https://", "http://")
_ABOUT_NAME = "about.json"
_BLOCK_BYTES = 1 << 18
_ODD = re.compile(r"[^\w.+-]+", re.ASCII)
_LONGEST_NAME = 100
# Not OSError: a full disk is one, too.
_NETWORK_ERRORS = (
    urllib.error.URLError,
    http.client.HTTPException,
    TimeoutError,
    ConnectionError,
    ssl.SSLError,
    ValueError,
)


@dataclass(frozen=True, slots=True)
class Download:
    """A downloaded file.

    Attributes:
        path: Where it lies, under the last part of its address.
        charset: What the server said of its encoding.
    """

    path: Path
    charset: str | None


def cache_directory() -> Path:
    """Where llmctl keeps what it downloads, beside the Hub's own cache."""
    variables = os.environ
    if found := variables.get("LLMCTL_CACHE"):
        return Path(found).expanduser()
    return Path(variables.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "llmctl"


def fetch(url: str, progress: Progress | None) -> Download:
    """Return the file at an address, from the cache or from there.

    Args:
        url: The address.
        progress: Told of the download; None: the cache must have it.

    Raises:
        MissingInputError: It is neither in the cache nor to be had.
        OutputError: The cache cannot be written.
        StorageError: The disk is full or failing.
    """
    folder = cache_directory() / "downloads" / hashlib.sha256(url.encode()).hexdigest()[:16]
    found = _cached(folder)
    if found is not None:
        return found
    if progress is None:
        raise MissingInputError(f"{url}: not downloaded yet")
    try:
        with atomic.storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            _download(url, folder, progress)
    except DownloadRefusedError as error:
        raise MissingInputError(
            f"{url}: cannot be downloaded: {error}; download it where there is a network, with "
            "`curl -L -O`, and name the file in place of its address"
        ) from error
    found = _cached(folder)
    assert found is not None
    return found


def _cached(folder: Path) -> Download | None:
    """Return the file of a folder if it is there as it was when it came."""
    try:
        about = orjson.loads((folder / _ABOUT_NAME).read_bytes())
        path = folder / about["name"]
        if path.stat().st_size == about["bytes"]:
            return Download(path, about["charset"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def _download(url: str, folder: Path, progress: Progress) -> None:
    descriptor, temporary = tempfile.mkstemp(prefix=".part-", dir=folder)
    part = Path(temporary)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123
            try:
                request = urllib.request.Request(url, headers={"User-Agent": "llmctl"})
                # Looking a host up knows no time limit of its own.
                opened = answer(
                    lambda: urllib.request.urlopen(request, timeout=ANSWER_SECONDS), progress
                )
                with opened as response:
                    about = _received(response, file, url, progress)
            except _NETWORK_ERRORS as error:
                raise DownloadRefusedError(_reason(error)) from error
        atomic.sync_file(part)
        path = folder / _file_name(url)
        atomic.rename(part, path)
        about |= {"url": url, "name": path.name}
        atomic.write_file(folder / _ABOUT_NAME, orjson.dumps(about))
    finally:
        part.unlink(missing_ok=True)


def _received(
    response: http.client.HTTPResponse, file: IO[bytes], url: str, progress: Progress
) -> dict[str, object]:
    """Write what the server sends, and return what is to be remembered of it."""
    size = response.length
    digest = hashlib.sha256()
    num_bytes = 0
    progress.begin(f"download {url}", None if size is None else size / 1e6, "MB")
    try:
        while block := response.read(_BLOCK_BYTES):
            file.write(block)
            digest.update(block)
            num_bytes += len(block)
            progress.advance(len(block) / 1e6)
            progress.check()
    finally:
        progress.end()
    if size is not None and num_bytes != size:
        raise DownloadRefusedError(f"it broke off after {num_bytes:,} of {size:,} bytes")
    charset = response.headers.get_content_charset()
    return {"bytes": num_bytes, "sha256": digest.hexdigest(), "charset": charset}


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        error.close()  # it is the answer, too, and holds the connection
        return f"the server answers {error.code} {quoted(error.reason)}"
    reason = getattr(error, "reason", error)
    return quoted(f"{type(reason).__name__}: {reason}".splitlines()[0])


def _file_name(url: str) -> str:
    """Return the last part of an address's path, as a plain name with its ending."""
    path = urllib.parse.unquote(urllib.parse.urlsplit(url).path)
    name = _ODD.sub("_", path.rstrip("/").rpartition("/")[2]).lstrip(".")[-_LONGEST_NAME:]
    return name if name and name != _ABOUT_NAME else f"file-{name}"
