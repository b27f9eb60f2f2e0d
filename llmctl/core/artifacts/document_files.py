"""Bytes of an input of any kind → documents.

Each kind yields what can be read and a mark for each thing that cannot, so that one bad
record costs one record. Content is streamed: no more than one record, one text file or a
few megabytes of a table are held at a time.

The id of a document is the record's own `id` where that is a string or an integer; else
`<source>:<number>`, where the number is the line on which a record of JSON Lines or CSV
begins, or how manieth record it is in an array, a table of parquet or a web archive, from 1;
and `<source>` for a file of text or HTML. It stays the same as long as the file does.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator

from llmctl.core.artifacts import parquet_tables, web_archives
from llmctl.core.artifacts.csv_tables import is_csv_table, read_csv_table
from llmctl.core.artifacts.documents import Document, Kind, Unreadable
from llmctl.core.artifacts.encodings import SAMPLE_BYTES, Encoding, detect
from llmctl.core.artifacts.json_files import is_json_lines, read_json_file
from llmctl.core.artifacts.json_lines import read_json_lines
from llmctl.core.artifacts.streams import (
    ByteStream,
    Compression,
    DamagedStream,
    chained,
    unpacked,
)
from llmctl.core.artifacts.text_files import read_html_file, read_text_file
from llmctl.core.artifacts.web_archives import read_web_archive

_JSON_OBJECT = re.compile(rb'\s*\{\s*["}]')
_JSON_ARRAY = re.compile(rb"\s*\[\s*[{\]]")
_HTML = re.compile(rb"\s*(?:<\?xml[^>]{0,200}>\s*)?<(?:!doctype\s+html|html)\b", re.IGNORECASE)


def read_documents(
    stream: ByteStream,
    source: str,
    kind: Kind | None,
    compression: Compression = "",
    *,
    text_field: str = "text",
    charset: str | None = None,
) -> Iterator[Document | Unreadable]:
    """Read the documents of one input, in order.

    Args:
        stream: The input's bytes, of any kind but parquet, which is not read in order.
        source: The input's name, for ids and places.
        kind: What it is; None: told by how it begins.
        compression: How the bytes are packed.
        text_field: The field of a record that holds the text; see `document_of`.
        charset: What a server said of the encoding; pages heed it.

    Yields:
        Documents whose language is not known yet, and marks for what cannot be read.

    Raises:
        MissingInputError: An extra that this kind needs is not installed.
    """
    if kind == "parquet":
        raise ValueError("parquet is read with read_parquet_table, from a file")
    beginning, chunks = sampled(unpacked(stream, compression))
    kind = kind or kind_of(beginning, text_field)
    if kind == "text":
        yield from read_text_file(chunks, source)
    elif kind == "html":
        yield from read_html_file(chunks, source, charset)
    elif kind == "warc":
        yield from read_web_archive(chunks, source)
    else:
        encoding = detect(beginning)
        lines = as_utf8(chunks, encoding)
        if kind in ("csv", "tsv"):
            delimiter = "\t" if kind == "tsv" else None
            yield from read_csv_table(lines, source, text_field, encoding, delimiter)
        elif kind == "jsonl" or is_json_lines(_in_utf8(beginning, encoding)):
            yield from read_json_lines(lines, source, text_field, encoding)
        else:
            yield from read_json_file(lines, source, text_field, encoding)


def kind_of(beginning: bytes, text_field: str) -> Kind:
    """Tell the kind of unpacked content by how it begins; text where it is no other."""
    if beginning.startswith(parquet_tables.MAGIC):
        return "parquet"
    if beginning.startswith(web_archives.MAGIC):
        return "warc"
    beginning = _in_utf8(beginning, detect(beginning))
    if _HTML.match(beginning):
        return "html"
    if _JSON_OBJECT.match(beginning):
        return "jsonl" if is_json_lines(beginning) else "json"
    if _JSON_ARRAY.match(beginning):
        return "json"
    return "csv" if is_csv_table(beginning, text_field) else "text"


def sampled(chunks: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """Return the beginning, for a look, and all of the content with its first chunk as long.

    Damage in the beginning is met when the content is read on.
    """
    pieces: list[bytes] = []
    size = 0
    rest = chunks
    try:
        for chunk in chunks:
            pieces.append(chunk)
            size += len(chunk)
            if size >= SAMPLE_BYTES:
                break
    except DamagedStream as damage:
        rest = _raised(damage)
    first = b"".join(pieces)
    return first[:SAMPLE_BYTES], chained(first, rest)


def _raised(damage: DamagedStream) -> Iterator[bytes]:
    yield b""
    raise damage


def as_utf8(chunks: Iterable[bytes], encoding: Encoding) -> Iterator[bytes]:
    """Turn UTF-16 and UTF-32 into UTF-8 and drop a mark; other encodings are left alone.

    The first chunk must hold the whole of a mark.

    Raises:
        DamagedStream: The content is not of that encoding from some place on.
    """
    if not encoding.is_wide:
        is_first = True
        for chunk in chunks:
            yield chunk.removeprefix(codecs.BOM_UTF8) if is_first else chunk
            is_first = False
        return
    # A lone surrogate passes here, so that it spoils its own record only.
    decoder = codecs.getincrementaldecoder(encoding.codec)("surrogatepass")
    try:
        for chunk in chunks:
            yield decoder.decode(chunk).encode("utf-8", "surrogatepass")
        yield decoder.decode(b"", final=True).encode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise DamagedStream(f"not {encoding.codec.upper()}: {error.reason}") from error


def _in_utf8(beginning: bytes, encoding: Encoding) -> bytes:
    """A beginning as UTF-8, for patterns of ASCII."""
    if not encoding.is_wide and not encoding.guessed:
        return beginning.removeprefix(codecs.BOM_UTF8)
    return beginning.decode(encoding.codec, "replace").encode()
