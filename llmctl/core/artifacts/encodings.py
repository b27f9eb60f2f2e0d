"""Bytes → text: which encoding they are in, told by their content and never by hope.

In this order: a byte order mark; UTF-8, where every byte fits; UTF-16 and UTF-32 without a
mark, by the zero bytes or the high bytes that they put at every second or fourth place;
UTF-8 that is damaged here and there, which is refused and not taken for another encoding;
Windows-1252, where a few bytes above ASCII stand inside words; and what chardet finds. What
none of these settles is refused: a wrong guess would be noise that nobody can trace.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from llmctl.core.artifacts.documents import not_utf8

SAMPLE_BYTES = 1 << 18
UTF8 = "utf-8"
WINDOWS_1252 = "cp1252"

# UTF-32 first: its little-endian mark begins with that of UTF-16.
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# What labels and chardet say → the superset that is meant in practice, as browsers have it
# (https://encoding.spec.whatwg.org/#names-and-labels).
_SUPERSETS = {
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "gb18030": "gb18030",
    "hz": "gb18030",
    "big5": "big5hkscs",
    "big5hkscs": "big5hkscs",
    "shift_jis": "cp932",
    "cp932": "cp932",
    "euc_jp": "euc_jp",
    "euc_kr": "cp949",
    "cp949": "cp949",
    "ascii": WINDOWS_1252,
    "iso8859-1": WINDOWS_1252,
    "cp1252": WINDOWS_1252,
    "utf-8": UTF8,
    "utf_8_sig": UTF8,
}
MULTIBYTE = frozenset(("gb18030", "big5hkscs", "cp932", "euc_jp", "cp949"))
# Central European, Baltic and other alphabets whose letters stand among those of ASCII, too.
_OTHER_LATIN = frozenset(
    ("cp1250", "cp1257", "cp1258", *(f"iso8859-{part}" for part in (2, 3, 4, 10, 13, 14, 16)))
)
# chardet's, of a family of one-byte encodings: for a few words a tenth, for a sentence a third.
_MIN_CONFIDENCE = 0.2

# Well-formed UTF-8 beyond ASCII (Unicode 16, table 3-7).
_SEQUENCES = re.compile(
    rb"[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]{2}"
    rb"|\xed[\x80-\x9f][\x80-\xbf]|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}"
    rb"|\xf4[\x80-\x8f][\x80-\xbf]{2}"
)
# What some programs write for half a surrogate pair: no UTF-8, and no other encoding either.
_SURROGATES = re.compile(rb"\xed[\xa0-\xbf][\x80-\xbf]")
_HIGH = re.compile(rb"[\x80-\xff]")
_CUT_OFF = re.compile(rb"(?:[\xc2-\xf4]|[\xe0-\xf4][\x80-\xbf]|[\xf0-\xf4][\x80-\xbf]{2})\Z")
_THREE_BYTES = re.compile(rb"[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
# A letter of Windows-1252 inside a word, or a quotation mark, dash, ellipsis, currency or
# other sign that its texts are full of.
_WESTERN = re.compile(
    rb"(?<=[A-Za-z])[\xc0-\xd6\xd8-\xf6\xf8-\xfe\x8a\x8c\x8e\x9a\x9c\x9e\x9f]"
    rb"|[\xc0-\xd6\xd8-\xf6\xf8-\xfe\x8a\x8c\x8e\x9a\x9c\x9e](?=[a-zA-Z])"
    rb"|[\x80\x82\x84\x85\x91-\x97\x99\xa0\xa3\xa7\xa9\xab\xae\xb0\xb7\xbb]"
)
_CONTROL = bytes(code for code in range(32) if code not in b"\t\n\v\f\r\x1b")
_FEW_HIGH_BYTES = 32
_FEW_ZEROS = 4
# Fewer damaged sequences to so many sound ones: UTF-8 all the same. Chinese text in GB18030
# holds one sound sequence to about six others.
_SOUND_TO_DAMAGED = 2
_MIN_ZERO_SHARE = 0.2
_MAX_CONTROL_SHARE = 0.02
_META_CHARSET = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([\w.:-]{1,40})""", re.I)
_META_BYTES = 4096
_BYTES_BEFORE = 64


@dataclass(frozen=True, slots=True)
class Encoding:
    """How bytes are to be read.

    Attributes:
        codec: Python's name of it.
        guessed: Neither UTF-8 nor told by a mark; it then stands in the document's meta.
    """

    codec: str
    guessed: bool = False

    @property
    def is_wide(self) -> bool:
        """Whether a line end is more than the one byte of ASCII."""
        return self.codec.startswith(("utf-16", "utf-32"))


class UndecodableError(Exception):
    """Bytes that are no text of any encoding that can be told.

    Attributes:
        line: Where, counted from 1; 0 where no line can be told.
    """

    def __init__(self, reason: str, line: int = 0) -> None:
        super().__init__(reason)
        self.line = line


def detect(sample: bytes) -> Encoding:
    """Tell the encoding of content by its beginning; UTF-8 where nothing else is certain."""
    for mark, codec in _BYTE_ORDER_MARKS:
        if sample.startswith(mark):
            return Encoding(codec)
    if sample.isascii() and b"\0" not in sample:
        return Encoding(UTF8)
    wide = _wide(sample)
    if wide:
        return Encoding(wide, guessed=True)
    guess = None if sample.isascii() or _is_utf8(sample) else _legacy(sample)
    return Encoding(guess, guessed=True) if guess else Encoding(UTF8)


def decode(content: bytes) -> tuple[str, Encoding]:
    """Return the text of a whole file and its encoding.

    Raises:
        UndecodableError: It is in none, or in one but for some bytes.
    """
    try:
        if b"\0" not in content[:SAMPLE_BYTES]:
            return content.decode("utf-8-sig"), Encoding(UTF8)
    except UnicodeDecodeError:
        pass
    encoding = detect(_sample(content))
    try:
        text = content.decode(encoding.codec)
    except UnicodeDecodeError as error:
        raise _undecodable(content, error, encoding) from None
    if text.count("\0") > max(_MAX_CONTROL_SHARE * len(text), _FEW_ZEROS):
        raise UndecodableError("binary data, no text")
    return text, encoding


def decode_line(line: bytes, encoding: Encoding) -> tuple[str, bool]:
    """Return a line's text, and whether the guessed encoding was needed for it.

    A line of sound UTF-8 is that, whatever its file is: the lines of a file may come from
    many places.

    Raises:
        UndecodableError: It is not of that encoding.
    """
    try:
        text = line.decode(UTF8)
    except UnicodeDecodeError as error:
        if not encoding.guessed:
            raise UndecodableError(not_utf8(error)) from None
        text = ""
    if not encoding.guessed or line.isascii():
        return text, False
    if text and (encoding.codec not in MULTIBYTE or _THREE_BYTES.search(line)):
        return text, False
    try:
        return line.decode(encoding.codec), True
    except UnicodeDecodeError as error:
        raise UndecodableError(f"not {encoding.codec}: {_byte(error)}") from None


def decode_page(content: bytes, charset: str | None) -> tuple[str, Encoding]:
    """Return a web page's text as a browser would, damaged bytes as U+FFFD.

    Args:
        content: The page.
        charset: What its HTTP header says, which goes before what the page says itself.

    Raises:
        UndecodableError: It names no encoding that fits, and none can be told.
    """
    declared = _META_CHARSET.search(content[:_META_BYTES])
    names = [charset, declared[1].decode("ascii", "replace") if declared else None]
    codec = next((codec for name in names if name and (codec := _codec(name))), None)
    if codec not in MULTIBYTE or _THREE_BYTES.search(content):
        try:
            return content.decode("utf-8-sig"), Encoding(UTF8)  # no chance hit, whatever it says
        except UnicodeDecodeError:
            pass
    marked = any(content.startswith(mark) for mark, _ in _BYTE_ORDER_MARKS)
    if codec is None or marked or (codec == UTF8 and not _is_utf8(content)):
        found = detect(_sample(content))
        if found.codec == UTF8 and not _is_utf8(content):
            raise UndecodableError("in no encoding that can be told")
        return content.decode(found.codec, "replace"), found
    return content.decode(codec, "replace"), Encoding(codec, guessed=codec != UTF8)


def _sample(content: bytes) -> bytes:
    """A beginning that shows what is above ASCII, wherever that first stands."""
    if len(content) <= SAMPLE_BYTES:
        return content
    first = _HIGH.search(content)
    start = max(first.start() - _BYTES_BEFORE, 0) if first else 0
    if b"\0" in content[:SAMPLE_BYTES] or any(
        content.startswith(mark) for mark, _ in _BYTE_ORDER_MARKS
    ):
        start = 0
    return content[start : start + SAMPLE_BYTES]


def _is_utf8(sample: bytes) -> bool:
    """Whether it is UTF-8, or would be but for a few bytes or a cut at its end."""
    rest = _SURROGATES.sub(b"", _SEQUENCES.sub(b"", sample))
    damaged = len(_HIGH.findall(_CUT_OFF.sub(b"", rest) if len(rest) != len(sample) else rest))
    sound = len(_SEQUENCES.findall(sample)) + len(_SURROGATES.findall(sample))
    if damaged == 0 or (sound == 0 and _CUT_OFF.search(sample) and damaged <= 3):
        return True
    return sound > _SOUND_TO_DAMAGED * damaged


def _wide(sample: bytes) -> str | None:
    size = len(sample) // 4 * 4
    if size == 0:
        return None
    for unit, codecs_of in ((4, ("utf-32-le", "utf-32-be")), (2, ("utf-16-le", "utf-16-be"))):
        for codec in codecs_of:
            if _fits_wide(sample[:size], unit, codec):
                return codec
    return None


def _fits_wide(sample: bytes, unit: int, codec: str) -> bool:
    """Whether the bytes that are the highest of their unit are those of text."""
    high = sample[unit - 1 :: unit] if codec.endswith("le") else sample[::unit]
    low = sample[::unit] if codec.endswith("le") else sample[unit - 1 :: unit]
    zeros, low_zeros = high.count(0) / len(high), low.count(0) / len(low)
    if unit == 4:
        likely = zeros == 1 and low_zeros < _MIN_ZERO_SHARE
    elif zeros >= _MIN_ZERO_SHARE * 2:
        likely = low_zeros < zeros / 8
    elif low_zeros >= _MIN_ZERO_SHARE * 2:
        likely = False  # letters of ASCII in the other byte order, which look like ideographs
    else:
        # East Asian text has few zeros, but in one byte of two little else than 0x30 and
        # 0x4E to 0x9F, 0xAC to 0xD7 or 0xFF, and any control character in the other.
        control = sum(map(low.count, _CONTROL)) / len(low)
        expected = sum(map(high.count, (0, 0x20, 0x30, 0xFF, *range(0x4E, 0xA0))))
        expected = max(expected, sum(map(high.count, (0, 0x20, 0x30, *range(0xAC, 0xD8)))))
        kana = high.count(0x30) / len(high)
        likely = control > _MAX_CONTROL_SHARE or kana > _MIN_ZERO_SHARE
        likely = likely and expected > 0.95 * len(high)
        likely = likely and sum(map(high.count, _CONTROL)) - high.count(0) < 0.01 * len(high)
    if not likely:
        return False
    try:
        text = codecs.getincrementaldecoder(codec)().decode(sample)
    except UnicodeDecodeError:
        return False
    return sum(character.isprintable() or character.isspace() for character in text) > 0.9 * len(
        text
    )


def _legacy(sample: bytes) -> str | None:
    """Tell an encoding of the time before Unicode; None where nothing is certain."""
    if sum(map(sample.count, _CONTROL)) > _MAX_CONTROL_SHARE * len(sample):
        return None
    num_high = len(_HIGH.findall(sample))
    is_western = len(_WESTERN.findall(sample)) > num_high / 2
    is_sparse = num_high < _FEW_HIGH_BYTES and num_high < len(sample) / 4
    if is_sparse and not is_western:
        return None
    import chardet

    eras = chardet.EncodingEra.MODERN_WEB | chardet.EncodingEra.LEGACY_ISO
    found = chardet.detect(sample, encoding_era=eras)
    codec = _codec(found["encoding"] or "")
    if codec in MULTIBYTE and not is_sparse:
        return codec if _decodes(sample, codec) else None
    if codec not in (None, UTF8, *MULTIBYTE) and found["confidence"] >= _MIN_CONFIDENCE:
        return codec
    return WINDOWS_1252 if is_western and (is_sparse or codec not in _OTHER_LATIN) else None


def _decodes(sample: bytes, codec: str) -> bool:
    # A sample may end inside a character, and a file may have a damaged one.
    return sample.decode(codec, "replace").count("\ufffd") <= 1 + len(sample) // 1000


def _codec(name: str) -> str | None:
    try:
        found = codecs.lookup(name).name
    except (LookupError, ValueError):
        return None
    if found not in _SUPERSETS and not codecs.lookup(found)._is_text_encoding:  # pyright: ignore
        return None
    return _SUPERSETS.get(found, found)


def _undecodable(content: bytes, error: UnicodeDecodeError, encoding: Encoding) -> UndecodableError:
    if encoding.is_wide:
        return UndecodableError(f"not {encoding.codec.upper()}: {error.reason}")
    if sum(map(content.count, _CONTROL)) > _MAX_CONTROL_SHARE * len(content):
        return UndecodableError("binary data, no text")
    line = content.count(b"\n", 0, error.start) + 1
    if encoding.guessed:
        return UndecodableError(f"not {encoding.codec}: {_byte(error)}", line)
    return UndecodableError(not_utf8(error), line)


def _byte(error: UnicodeDecodeError) -> str:
    return f"{error.reason} 0x{error.object[error.start]:02x}"


def decoded_chunks(chunks: Iterable[bytes], encoding: Encoding) -> Iterator[str]:
    """Yield text; a byte that does not fit becomes a lone surrogate, U+DC80 and up."""
    decoder = codecs.getincrementaldecoder(encoding.codec)("surrogateescape")
    for chunk in chunks:
        yield decoder.decode(chunk)
    yield decoder.decode(b"", final=True)
