"""WARC and WET → documents, through fastwarc: a page or a text each.

Responses with HTML become their main text; plain text in responses, resources and
conversions (those are what a WET holds) is taken as it is. The id is the WARC-Record-ID;
address, date and title stand in meta. Other records (requests, metadata, images) hold no
text and are passed over.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from typing import IO, Any

from llmctl.core.artifacts.documents import UNKNOWN_LANGUAGE, Document, Unreadable
from llmctl.core.artifacts.encodings import UndecodableError, decode, decode_page
from llmctl.core.artifacts.http_payloads import payload
from llmctl.core.artifacts.streams import ByteStream, DamagedStream
from llmctl.core.artifacts.web_pages import MAX_PAGE_BYTES, UnreadablePage, extract_page
from llmctl.core.errors import MissingInputError

MAGIC = b"WARC/"
_HTML_TYPES = ("text/html", "application/xhtml+xml")
_OK = 200
_END_OF_RECORD = b"\r\n\r\n"
_ENDS = (_END_OF_RECORD, b"\n\n")
_LONGEST_HEADER = 1 << 16


def read_web_archive(
    chunks: Iterable[bytes], source: str, first_number: int = 1
) -> Iterator[Document | Unreadable]:
    """Yield a document for each record that holds text.

    Args:
        chunks: The archive, unpacked, from the beginning of a record.
        source: The input's name.
        first_number: The number of the first record in its file, for what has no id.

    Yields:
        Documents whose language is not known yet, and marks for what cannot be read.

    Raises:
        MissingInputError: An extra that this needs is not installed.
    """
    number = first_number - 1
    stream = _Chunks(chunks)
    try:
        for number, record in enumerate(_records(stream), first_number):
            found = _found(record, source, number)
            if found is not None:
                yield found
        stream.check_end()
    except OSError as error:
        yield Unreadable(f"{source}:{number + 1}", f"the archive is damaged: {error}")


def record_offsets(handle: IO[bytes], min_bytes: int) -> Iterator[tuple[int, int]]:
    """Yield (place, number) of records that are at least `min_bytes` apart, after the first.

    The archive may have each record gzipped. One that is damaged yields those before the
    damage, one gzipped as a whole none.
    """
    last = 0
    try:
        for number, record in enumerate(_records(handle), 1):
            if record.stream_pos >= last + min_bytes:
                last = record.stream_pos
                yield last, number
    except OSError:
        return


class _Chunks:
    """Chunks as a stream; fastwarc asks it for its place, too, and does not tell of its end."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._left = b""
        self._tail = b""
        self._place = 0

    def read(self, size: int = -1, /) -> bytes:
        while not self._left:
            try:
                self._left = next(self._chunks)
            except StopIteration:
                return b""
            except DamagedStream as damage:
                raise OSError(str(damage)) from damage
        size = len(self._left) if size < 0 else size
        data, self._left = self._left[:size], self._left[size:]
        self._place += len(data)
        self._tail = (self._tail + data)[-_LONGEST_HEADER:]
        return data

    def tell(self) -> int:
        return self._place

    def check_end(self) -> None:
        """Refuse an end inside the headers of a record, which fastwarc passes over.

        Raises:
            OSError: It is one.
        """
        while self.read(_LONGEST_HEADER):
            pass
        # Headers end as a record does; with nothing after them, they are no end of one.
        tail = self._tail.removesuffix(_END_OF_RECORD)
        last = tail[tail.rfind(_END_OF_RECORD) + len(_END_OF_RECORD) :]
        if last.startswith(MAGIC) or (tail and not self._tail.endswith(_ENDS)):
            raise OSError("it is cut off")


def _records(stream: ByteStream) -> Iterator[Any]:
    """Yield the records.

    Raises:
        OSError: The archive is damaged.
        MissingInputError: fastwarc is not installed.
    """
    try:
        warc = importlib.import_module("fastwarc.warc")
    except ImportError:
        raise MissingInputError(
            "WARC and WET are read with fastwarc, which is not installed: "
            "pip install 'llmctl-toolkit[html,warc]'"
        ) from None
    try:
        yield from warc.ArchiveIterator(stream, parse_http=False)
    except BaseException as error:
        if type(error).__name__ == "PanicException":  # that is how its Rust gives up
            raise OSError(str(error)) from None
        raise


def _found(record: Any, source: str, number: int) -> Document | Unreadable | None:
    if record.headers.get("WARC-Type") not in ("response", "resource", "conversion"):
        return None
    place = f"{source}:{number}"
    charset = headers = None
    content_type = (record.headers.get("Content-Type") or "").partition(";")[0].strip().lower()
    if content_type == "application/http":
        # Not auto_decode: what it cannot decode costs it the rest of the archive.
        record.parse_http(auto_decode="none")
        headers = record.http_headers
        if not headers or headers.status_code != _OK:
            return None
        content_type, charset = record.http_content_type or "", record.http_charset
    is_page = content_type in _HTML_TYPES
    if not is_page and not content_type.startswith("text/plain"):
        return None
    try:
        content = record.reader.read(MAX_PAGE_BYTES + 1)
    except OSError as error:
        return Unreadable(place, f"its content is damaged: {error}")
    if len(content) < min(record.content_length, MAX_PAGE_BYTES):
        return Unreadable(place, "its content is cut off")
    try:
        if headers:
            content = payload(
                content, headers.get("Transfer-Encoding"), headers.get("Content-Encoding")
            )
        if len(content) > MAX_PAGE_BYTES:
            return Unreadable(place, f"a page of more than {MAX_PAGE_BYTES // 1_000_000} MB")
        return _document(record, source, number, _text(content, charset, is_page=is_page))
    except (UndecodableError, UnreadablePage, DamagedStream) as error:
        return Unreadable(place, str(error))


def _text(content: bytes, charset: str | None, *, is_page: bool) -> tuple[str, dict[str, Any]]:
    """Return the text, and what else the content tells of itself."""
    if is_page:
        page_text, encoding = decode_page(content, charset)
        page = extract_page(page_text)
        text, meta = page.text, {"title": page.title} if page.title else {}
    else:
        text, encoding = decode_page(content, charset) if charset else decode(content)
        meta = {}
    return text, {**meta, "encoding": encoding.codec} if encoding.guessed else meta


def _document(
    record: Any, source: str, number: int, content: tuple[str, dict[str, Any]]
) -> Document:
    text, told = content
    meta: dict[str, Any] = {}
    if url := record.headers.get("WARC-Target-URI"):
        meta["url"] = url.strip("<>")
    if date := record.headers.get("WARC-Date"):
        meta["date"] = date
    identifier = (record.headers.get("WARC-Record-ID") or "").strip("<>")
    return Document(
        identifier or f"{source}:{number}", source, UNKNOWN_LANGUAGE, text, {**meta, **told}
    )
