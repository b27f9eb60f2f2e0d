"""Where in a text personal data may be: stretches of digits and long tokens, by numpy.

A regular expression tried at every character of a text costs thirty times as much as these
few passes over its code points, and most texts hold nothing that is worth one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint8]
Positions = NDArray[np.intp]
Span = tuple[int, int]

# Full-width forms (U+FF01 to U+FF5E) and the ideographic space, as the ASCII they stand for.
_FULL_WIDTH, _NUM_FULL_WIDTH, _SHIFT = 0xFF01, 94, 0xFEE0
_NARROW = {code: code - _SHIFT for code in range(_FULL_WIDTH, _FULL_WIDTH + _NUM_FULL_WIDTH)}
_NARROW[0x3000] = 0x20
# A comma of Chinese prose never stands within a number.
del _NARROW[ord("，")]
_NOT_ASCII = 0x80
# What stands between the digits of one number: at most two of these.
_IS_SEPARATOR = np.isin(np.arange(_NOT_ASCII + 1), [ord(sign) for sign in " -.()/"])
_MAX_GAP = 3
_MIN_NUMBER_DIGITS = 7
_ENDS_TOKEN = bytes(
    not (code < _NOT_ASCII and (chr(code).isalnum() or chr(code) in "_-")) for code in range(256)
)
_MIN_TOKEN_CHARACTERS = 16
_DIGIT = re.compile("[0-9\uff10-\uff19]")


@dataclass(frozen=True, slots=True)
class Candidates:
    """Stretches of a text, as (start, end), that are worth a regular expression.

    Attributes:
        numbers: At least seven digits with only separators between them.
        dotted: At least four digits, and three dots between digits.
        colons: Where an IPv6 address of the Internet may begin: a 2, a colon four on.
        tokens: At least sixteen ASCII letters, digits, `_` and `-`, with a digit among them.
    """

    numbers: tuple[Span, ...] = ()
    dotted: tuple[Span, ...] = ()
    colons: tuple[int, ...] = ()
    tokens: tuple[Span, ...] = ()


def narrow(text: str) -> str:
    """Return the text with full-width ASCII but for commas made plain, each in its place."""
    return text if text.isascii() else text.translate(_NARROW)


def find_candidates(text: str, *, numbers: bool, addresses: bool, tokens: bool) -> Candidates:
    """Return the stretches of a text that may be numbers, IP addresses or tokens."""
    if not (numbers or addresses or tokens) or not _DIGIT.search(text):
        return Candidates()
    codes = _narrow_codes(text)
    # What is below the digit zero wraps round to a big number.
    digits = np.flatnonzero((codes - np.uint8(ord("0"))) < 10)
    firsts, lasts = _runs(codes, digits) if numbers or addresses else (digits[:0], digits[:0])
    return Candidates(
        numbers=_numbers(digits, firsts, lasts) if numbers else (),
        dotted=_dotted(codes, digits, firsts, lasts) if addresses else (),
        colons=_before_colons(codes, digits) if addresses else (),
        tokens=_tokens(codes, digits) if tokens else (),
    )


def _narrow_codes(text: str) -> Codes:
    """Return the text's characters as ASCII, full-width forms narrowed, 128 for all others."""
    if text.isascii():
        return np.frombuffer(text.encode(), np.uint8)
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    from_first = codes - np.uint32(_FULL_WIDTH)
    narrowed = np.where(
        from_first < _NUM_FULL_WIDTH, codes - np.uint32(_SHIFT), np.minimum(codes, _NOT_ASCII)
    )
    narrowed[codes == 0x3000] = ord(" ")
    return narrowed.astype(np.uint8)


def _runs(codes: Codes, digits: Positions) -> tuple[Positions, Positions]:
    """Return the first and the last digit of each stretch, as indices of `digits`."""
    gaps = np.diff(digits)
    joined = gaps == 1
    for gap in range(2, _MAX_GAP + 1):
        chosen = np.flatnonzero(gaps == gap)
        separated = np.ones(len(chosen), bool)
        for offset in range(1, gap):
            separated &= _IS_SEPARATOR[codes[digits[chosen] + offset]]
        joined[chosen] = separated
    breaks = np.flatnonzero(~joined)
    return np.concatenate(([0], breaks + 1)), np.concatenate((breaks, [len(digits) - 1]))


def _numbers(digits: Positions, firsts: Positions, lasts: Positions) -> tuple[Span, ...]:
    chosen = lasts - firsts + 1 >= _MIN_NUMBER_DIGITS
    return _spans(digits[firsts[chosen]], digits[lasts[chosen]])


def _dotted(
    codes: Codes, digits: Positions, firsts: Positions, lasts: Positions
) -> tuple[Span, ...]:
    long = lasts - firsts >= 3
    firsts, lasts = firsts[long], lasts[long]
    # How many digits before each one have a dot after them.
    dots = np.concatenate(([0], np.cumsum(codes[digits[:-1] + 1] == ord("."))))
    chosen = dots[lasts] - dots[firsts] >= 3
    return _spans(digits[firsts[chosen]], digits[lasts[chosen]])


def _before_colons(codes: Codes, digits: Positions) -> tuple[int, ...]:
    starts = digits[digits + 4 < len(codes)]
    chosen = (codes[starts] == ord("2")) & (codes[starts + 4] == ord(":"))
    return tuple(starts[chosen].tolist())


def _tokens(codes: Codes, digits: Positions) -> tuple[Span, ...]:
    # Twice as fast as an index into an array of truth values.
    ends_token = np.frombuffer(codes.tobytes().translate(_ENDS_TOKEN), np.bool_)
    bounds = np.concatenate(([-1], np.flatnonzero(ends_token), [len(codes)]))
    long = np.flatnonzero(np.diff(bounds) > _MIN_TOKEN_CHARACTERS)
    starts, ends = bounds[long] + 1, bounds[long + 1]
    with_digit = np.searchsorted(digits, starts) < np.searchsorted(digits, ends)
    return tuple(zip(starts[with_digit].tolist(), ends[with_digit].tolist(), strict=True))


def _spans(firsts: Positions, lasts: Positions) -> tuple[Span, ...]:
    return tuple(zip(firsts.tolist(), (lasts + 1).tolist(), strict=True))
