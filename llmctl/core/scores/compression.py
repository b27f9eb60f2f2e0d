"""What a general compressor needs for a text: the baseline of every language model.

A model of b bits per byte compresses a text to b / 8 of its size, so the two compare. The
fair rival of a trained model is a compressor that has seen the training text too.
"""

from __future__ import annotations

import lzma
from collections.abc import Iterable, Iterator

PRESET = 9
# The window of preset 9. Text within it is in the compressor's reach, whole; the memory of
# a larger one grows tenfold with it.
WINDOW_BYTES = 1 << 26
# Between pieces a caller's iterable may show progress or end the work.
PIECE_BYTES = 1 << 20


def xz_bytes(pieces: Iterable[bytes]) -> int:
    """Return the length of the file that `xz -9` makes of the pieces laid end to end."""
    compressor = lzma.LZMACompressor(
        lzma.FORMAT_XZ,
        filters=[{"id": lzma.FILTER_LZMA2, "preset": PRESET, "dict_size": WINDOW_BYTES}],
    )
    return sum(len(compressor.compress(piece)) for piece in pieces) + len(compressor.flush())


def xz_bits_per_byte(text: Iterable[bytes]) -> float:
    """Return what `xz -9` needs for a text alone, in bits per byte, headers included.

    Raises:
        ValueError: There is no text.
    """
    counted = _Counted(text)
    return _bits_per_byte(xz_bytes(counted), counted.num_bytes)


def primed_xz_bits_per_byte(training_text: Iterable[bytes], text: Iterable[bytes]) -> float:
    """Return what `xz -9` needs for a text once it has seen the training text.

        8 * (len(xz(training text + text)) - len(xz(training text))) / len(text)

    Args:
        training_text: In pieces; read twice, so no iterator.
        text: In pieces. Together they should be at most `WINDOW_BYTES` long: the beginning
            of a longer training text is out of reach of the end of the text.

    Raises:
        ValueError: There is no text.
    """
    primed = xz_bytes(training_text)
    counted = _Counted(text)
    return _bits_per_byte(
        xz_bytes(piece for part in (training_text, counted) for piece in part) - primed,
        counted.num_bytes,
    )


def _bits_per_byte(num_compressed_bytes: int, num_bytes: int) -> float:
    if num_bytes == 0:
        raise ValueError("there is no text to compress")
    return 8 * num_compressed_bytes / num_bytes


class _Counted:
    def __init__(self, pieces: Iterable[bytes]) -> None:
        self.num_bytes = 0
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self.num_bytes += len(piece)
            yield piece
