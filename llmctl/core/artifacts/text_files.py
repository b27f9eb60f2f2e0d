"""A text file → one document, and the same of a web page in a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from llmctl.core.artifacts import streams
from llmctl.core.artifacts.documents import UNKNOWN_LANGUAGE, Document, Unreadable
from llmctl.core.artifacts.encodings import UndecodableError, decode, decode_page
from llmctl.core.artifacts.streams import DamagedStream
from llmctl.core.artifacts.web_pages import MAX_PAGE_BYTES, UnreadablePage, extract_page


class _TooLarge(Exception):
    pass


def read_text_file(chunks: Iterable[bytes], source: str) -> Iterator[Document | Unreadable]:
    """Yield the document, or a mark for what cannot be read; nothing for an empty file.

    A file of UTF-8 that is damaged is unreadable as a whole, and the mark names the line:
    characters put in the place of what is lost would end up in a corpus unseen.
    """
    try:
        content = _content(chunks, streams.MAX_LINE_BYTES)
        if content:
            text, encoding = decode(content)
            meta: dict[str, Any] = {"encoding": encoding.codec} if encoding.guessed else {}
            yield Document(source, source, UNKNOWN_LANGUAGE, text, meta)
    except _TooLarge:
        yield Unreadable(
            source,
            f"one text of more than {streams.MAX_LINE_BYTES // 1_000_000} MB; split it, "
            "or make it JSON Lines with a document a line",
        )
    except DamagedStream as damage:
        yield Unreadable(source, str(damage))
    except UndecodableError as error:
        yield Unreadable(f"{source}:{error.line}" if error.line else source, str(error))


def read_html_file(
    chunks: Iterable[bytes], source: str, charset: str | None = None
) -> Iterator[Document | Unreadable]:
    """Yield the text of a page, its title in meta; nothing for an empty file.

    Args:
        chunks: The bytes as they lie there.
        source: The input's name.
        charset: What the server said of it.

    Raises:
        MissingInputError: The extra that extracts text from pages is not installed.
    """
    try:
        content = _content(chunks, MAX_PAGE_BYTES)
        if content:
            text, encoding = decode_page(content, charset)
            page = extract_page(text)
            meta: dict[str, Any] = {"title": page.title} if page.title else {}
            if encoding.guessed:
                meta["encoding"] = encoding.codec
            yield Document(source, source, UNKNOWN_LANGUAGE, page.text, meta)
    except _TooLarge:
        reason = f"a page of more than {MAX_PAGE_BYTES // 1_000_000} MB"
        yield Unreadable(source, reason)
    except (DamagedStream, UndecodableError, UnreadablePage) as error:
        yield Unreadable(source, str(error))


def _content(chunks: Iterable[bytes], max_bytes: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    for chunk in chunks:
        pieces.append(chunk)
        size += len(chunk)
        if size > max_bytes:
            raise _TooLarge
    return b"".join(pieces)
