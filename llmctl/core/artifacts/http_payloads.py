"""The body of an HTTP response as an archive keeps it → the content that was meant.

Archives differ: some keep what came over the wire, some what it decodes to, and leave the
headers as they were. What does not look encoded is therefore taken as it is.
"""

from __future__ import annotations

import importlib
import io
import re
import zlib

from llmctl.core.artifacts.streams import sniff, unpacked
from llmctl.core.artifacts.web_pages import MAX_PAGE_BYTES

_CHUNK = re.compile(rb"\s*([0-9a-fA-F]{1,8})[^\r\n]{0,200}\r?\n")


def payload(body: bytes, transfer_encoding: str | None, content_encoding: str | None) -> bytes:
    """Return the content; at most a little more than a page may have.

    Raises:
        DamagedStream: It cannot be unpacked.
    """
    if "chunked" in (transfer_encoding or "").lower():
        body = _joined(body)
    names = [name.strip().lower() for name in (content_encoding or "").split(",")]
    for name in reversed(names):
        body = _unpacked(body, name)
    return body


def _joined(body: bytes) -> bytes:
    """Join chunks (RFC 9112, section 7.1), or return what is not in chunks."""
    pieces: list[bytes] = []
    position = 0
    while header := _CHUNK.match(body, position):
        size = int(header[1], 16)
        pieces.append(body[header.end() : header.end() + size])
        position = header.end() + size
        if size == 0:
            break
    return b"".join(pieces) if pieces and b"".join(pieces) else body


def _unpacked(body: bytes, name: str) -> bytes:
    if name in ("gzip", "x-gzip", "zstd") and sniff(body):
        pieces: list[bytes] = []
        size = 0
        for piece in unpacked(io.BytesIO(body), sniff(body)):
            pieces.append(piece)
            size += len(piece)
            if size > MAX_PAGE_BYTES:
                break
        return b"".join(pieces)
    if name == "deflate":
        for bits in (zlib.MAX_WBITS, -zlib.MAX_WBITS):  # with its header, as it should, or not
            try:
                return zlib.decompressobj(bits).decompress(body, MAX_PAGE_BYTES + 1)
            except zlib.error:
                continue
    if name == "br":
        brotli = importlib.import_module("brotli")
        try:
            return brotli.Decompressor().process(body, output_buffer_limit=MAX_PAGE_BYTES + 1)
        except brotli.error:
            pass
    return body
