"""Bytes of an input → unpacked chunks → UTF-8 lines, a little at a time."""

from __future__ import annotations

import codecs
import lzma
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, Protocol

import zstandard

from llmctl.core.errors import DataError

Compression = Literal["", ".gz", ".zst", ".xz"]
COMPRESSIONS: tuple[Compression, ...] = (".gz", ".zst", ".xz")
MAX_LINE_BYTES = 256_000_000

_READ_BYTES = 1 << 18
# A kilobyte packed can unfold into 33 megabytes, all of it at once.
_PACKED_READ_BYTES = 1 << 10
_CHUNK_BYTES = 1 << 20
# What unpacking .xz may hold; its highest preset needs 65 MB.
_XZ_MEMORY_BYTES = 1 << 29
MAGIC_BYTES = 6
_MAGIC: dict[Compression, bytes] = {
    ".gz": b"\x1f\x8b",
    ".zst": b"\x28\xb5\x2f\xfd",
    ".xz": b"\xfd7zXZ\0",
}
# UTF-32 first: its little-endian mark begins with that of UTF-16.
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class ByteStream(Protocol):
    """What is needed of an open file."""

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes, none at the end."""
        ...


class DamagedStream(Exception):
    """The rest of a stream cannot be had; what came before it is sound."""


def sniff(beginning: bytes) -> Compression:
    """Tell the compression by a stream's first bytes, where there is no name."""
    for name, magic in _MAGIC.items():
        if beginning.startswith(magic):
            return name
    return ""


def read_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a .zst file that llmctl wrote.

    Raises:
        DataError: It is damaged.
    """
    with path.open("rb") as handle:
        try:
            for line in lines(unpacked(handle, ".zst")):
                if line is None:
                    raise DamagedStream(f"a line of more than {MAX_LINE_BYTES} bytes")
                yield line
        except DamagedStream as damage:
            raise DataError(f"{path}: damaged: {damage}; remove it and run again") from damage


def unpacked(stream: ByteStream, compression: Compression) -> Iterator[bytes]:
    """Yield the content, unpacked, of one or several gzip members, zstd frames or xz streams.

    Raises:
        DamagedStream: It is cut off or not of that compression.
    """
    if not compression:
        while chunk := stream.read(_READ_BYTES):
            yield chunk
        return
    part: _Decompressor | None = None
    waiting = b""
    padding = b""
    while packed := waiting or stream.read(_PACKED_READ_BYTES):
        waiting = b""
        if part is None and not (packed := packed.lstrip(padding)):
            continue
        part = part or _decompressor(compression)
        try:
            chunk = part.decompress(packed)
        except (zlib.error, zstandard.ZstdError, lzma.LZMAError) as error:
            raise DamagedStream(f"the {compression} data is damaged: {error}") from error
        waiting = part.unused_data
        if part.eof:
            part = None
            # Tapes and some tools pad with it.
            padding = b"" if compression == ".zst" else b"\0"
        # Lines of a few bytes take ten times as much once they are apart.
        for start in range(0, len(chunk), _CHUNK_BYTES):
            yield chunk[start : start + _CHUNK_BYTES]
    if part is not None:
        raise DamagedStream(f"the {compression} data is cut off")


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


def _decompressor(compression: Compression) -> _Decompressor:
    if compression == ".gz":
        return zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)  # 16: with gzip's header
    if compression == ".xz":
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY_BYTES)
    return zstandard.ZstdDecompressor().decompressobj()


def utf8(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Turn UTF-16 and UTF-32 with a byte order mark into UTF-8, and drop the mark of UTF-8.

    Other bytes are left alone, whatever they are.

    Raises:
        DamagedStream: What the mark promises ends too early.
    """
    beginning = b""
    for chunk in chunks:
        beginning += chunk
        if len(beginning) >= len(codecs.BOM_UTF32_LE):
            break
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS if beginning.startswith(mark)), None)
    if encoding is None:
        yield beginning.removeprefix(codecs.BOM_UTF8)
        yield from chunks
        return
    # A lone surrogate passes here, so that it spoils its own record only.
    decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")
    try:
        for chunk in chained(beginning, chunks):
            yield decoder.decode(chunk).encode("utf-8", "surrogatepass")
        yield decoder.decode(b"", final=True).encode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise DamagedStream(f"not {encoding.upper()}: {error.reason}") from error


def chained(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    """Put a chunk back before the rest."""
    yield first
    yield from rest


def lines(chunks: Iterable[bytes]) -> Iterator[bytes | None]:
    """Yield lines without their ends, and None for each that is over `MAX_LINE_BYTES`."""
    pending: list[bytes] = []
    size = 0
    for chunk in chunks:
        first, *others = chunk.split(b"\n")
        pending.append(first)
        size += len(first)
        if size > MAX_LINE_BYTES:
            pending.clear()
        for other in others:
            yield b"".join(pending) if size <= MAX_LINE_BYTES else None
            pending = [other]
            size = len(other)
    if size:
        yield b"".join(pending) if size <= MAX_LINE_BYTES else None
