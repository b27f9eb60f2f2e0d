"""What is known of each character of a text, looked up by arrays instead of one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

CodePoints = NDArray[np.uint32]

_Number = TypeVar("_Number", np.uint8, np.uint32)
_PAGE_BITS = 8


class CodePointTable(Generic[_Number]):
    """A number for each character, worked out for 256 of them when one is first met.

    So a script that does not occur costs nothing.

    Args:
        number_of: Returns a character's number, below the highest that `dtype` holds.
        dtype: Of the numbers.
    """

    def __init__(self, number_of: Callable[[str], int], dtype: type[_Number]) -> None:
        self._number_of = number_of
        self._unknown = np.iinfo(dtype).max
        self._numbers = np.full(0x110000, self._unknown, dtype=dtype)

    def of(self, points: NDArray[np.unsignedinteger]) -> NDArray[_Number]:
        """Return the number of each code point."""
        found = self._numbers[points]
        if len(found) and found.max() == self._unknown:
            for page in np.unique(points[found == self._unknown] >> _PAGE_BITS).tolist():
                first = page << _PAGE_BITS
                self._numbers[first : first + (1 << _PAGE_BITS)] = [
                    self._number_of(chr(point)) for point in range(first, first + (1 << _PAGE_BITS))
                ]
            found = self._numbers[points]
        return found


def code_points(text: str) -> CodePoints:
    """Return the code point of each character; half a surrogate pair is one too."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
