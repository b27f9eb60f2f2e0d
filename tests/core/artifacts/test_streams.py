"""read_lines: our own files, whole or refused; sniff: compressions by their first bytes."""

import gzip
import io
import lzma

import pytest
import zstandard

from llmctl.core.artifacts import streams
from llmctl.core.artifacts.streams import lines, read_lines, sniff, unpacked
from llmctl.core.errors import DataError


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_lines_do_not_depend_on_the_chunks(size):
    content = b"one\n\ntwo\nthree"
    chunks = [content[start : start + size] for start in range(0, len(content), size)]

    assert list(lines(chunks)) == [b"one", b"", b"two", b"three"]


@pytest.mark.parametrize(
    ("compression", "compress"),
    [(".gz", gzip.compress), (".zst", zstandard.compress), (".xz", lzma.compress)],
)
def test_what_unfolds_to_much_comes_a_little_at_a_time(compression, compress):
    content = bytes(5_000_000)

    chunks = list(unpacked(io.BytesIO(compress(content)), compression))

    assert b"".join(chunks) == content
    assert max(map(len, chunks)) <= 1 << 20


def test_reads_what_was_written(tmp_path):
    path = tmp_path / "a.zst"
    path.write_bytes(zstandard.compress("一\n二\n".encode()))

    assert [line.decode() for line in read_lines(path)] == ["一", "二"]


@pytest.mark.parametrize("content", [zstandard.compress(b"x" * 100)[:-3], b"nothing of the kind"])
def test_damage_is_refused(tmp_path, content):
    path = tmp_path / "a.zst"
    path.write_bytes(content)

    with pytest.raises(DataError, match=r"a\.zst: damaged: the \.zst data is"):
        list(read_lines(path))


def test_a_flipped_bit_is_refused(tmp_path):
    path = tmp_path / "a.zst"
    compressor = zstandard.ZstdCompressor(write_checksum=True)
    content = bytearray(compressor.compress(bytes(range(200))))
    content[50] ^= 1
    path.write_bytes(content)

    with pytest.raises(DataError, match="damaged"):
        list(read_lines(path))


def test_a_line_over_the_limit_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "MAX_LINE_BYTES", 10)
    path = tmp_path / "a.zst"
    path.write_bytes(zstandard.compress(b"x" * 11))

    with pytest.raises(DataError, match="a line of more than 10 bytes"):
        list(read_lines(path))


def test_sniff():
    assert sniff(gzip.compress(b"a", mtime=0)[:4]) == ".gz"
    assert sniff(zstandard.compress(b"a")[:4]) == ".zst"
    assert sniff(lzma.compress(b"a")[:6]) == ".xz"
    assert sniff(b"text") == ""
    assert sniff(b"") == ""
