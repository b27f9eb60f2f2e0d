"""Mending what encodings, copying and old systems did to a text, and nothing else.

Full-width punctuation, curly quotes and ligatures are what their authors wrote and stay.
Each step is safe for Chinese, Japanese and Korean: ftfy's width folding and NFKC, which
would turn ，！？ into ASCII, are not used. Each is looked for before it is done, since most
texts need none of them: ftfy alone takes 0.1 s for a megabyte of clean prose.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

import ftfy
from ftfy import fixes
from ftfy.badness import is_bad

_ENCODING_ONLY = ftfy.TextFixerConfig(
    unescape_html=False,
    fix_latin_ligatures=False,
    fix_character_width=False,
    uncurl_quotes=False,
    normalization=None,
)
# What every text has that `is_bad` calls bad, found twenty times as fast: a C1 control, Â, Ã, œ, or
# two neighbours among the signs and letters that bytes are mistaken for, dashes and quotation
# marks not counted as neighbours of each other (……, ——).
_MISTAKEN = "\xa0-\u05ff\u2010-\u25ff\uf8ff\ufb01\ufb02\ufffd"
_MARKS = "\u2013-\u2015\u2018-\u201a\u201c-\u201e\u2022\u2026"
_SUSPICIOUS = re.compile(
    f"[\x80-\x9f{_MISTAKEN}]"
    f"(?:(?<=[\x80-\x9fÂÃŒœ])|(?<=[{_MARKS}])(?![{_MARKS}])[{_MISTAKEN}]|(?<![{_MARKS}])[{_MISTAKEN}])"
)
# Beginnings of UTF-8 for Chinese and its punctuation, E2 to E9 and EF, read as GBK: 涓, 锛, 鈥.
_UTF_8_AS_GBK = re.compile(
    "["
    + "".join(
        bytes((lead, trail)).decode("gbk", "ignore")
        for lead in (*range(0xE2, 0xEA), 0xEF)
        for trail in range(0x80, 0xC0)
    )
    + "]"
)
_CHINESE_LINE = re.compile(
    "[\t -~\u2010-\u2027\u2030-\u205e\u3000-\u30ff\u4e00-\u9fff\uff01-\uff65\uffe0-\uffe6]*"
)
# Control and format characters that carry no text: C0 and C1 but for tab and newline, soft
# hyphens, zero-width spaces and joiners of words, marks of writing direction, the byte
# order mark, noncharacters.
_INVISIBLE_SET = (
    "\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u180e\u200b\u2060-\u2064\u202a-\u202e\u2066-\u206f"
    "\ufeff\ufdd0-\ufdef\ufff9-\ufffb\ufffe\uffff"
)
_LINE_END_SET = "\x0b\x0c\x85\u2028\u2029"
_SPACE_SET = "\u00a0\u1680\u2000-\u200a\u202f\u205f"
_SURROGATE_SET = "\ud800-\udfff"
_SPECIAL = re.compile(
    f"[\r\u200c\u200d{_INVISIBLE_SET}{_LINE_END_SET}{_SPACE_SET}{_SURROGATE_SET}]"
)
_INVISIBLE = re.compile(f"[{_INVISIBLE_SET}]")
_LINE_ENDS = re.compile(f"\r\n?|[{_LINE_END_SET}]")
_SPACES = re.compile(f"[{_SPACE_SET}]")
_SURROGATES = re.compile(f"[{_SURROGATE_SET}]")
_ASCII_CONTROLS = bytes((*range(9), *range(0x0B, 0x20), 0x7F))
# The zero-width joiner and non-joiner shape Arabic, Indic scripts and emoji, and are noise
# after anything else.
_STRAY_JOINERS = re.compile(
    "(?:\\A|(?<=[\\s\x00-\u058f\u2000-\u206f\u3000-\ua4cf\uac00-\ud7af\uff00-\uffef]))[\u200c\u200d]+"
)
# Longer than the gaps between the columns of any table that people read.
_MAX_BLANKS = 200
_LONG_BLANKS = re.compile(rf"(?<=\S)[ \t]{{{_MAX_BLANKS + 1},}}(?=\S)")
_BLANK_LINES = re.compile(r"\n{4,}")
# "Significantly beyond what is required for any linguistic usage": Unicode Standard Annex 15,
# section 13. To put them in order takes the square of their number.
_MAX_COMBINING = 30
_COMBINING = "".join(
    chr(code)
    # Of the plane of the living scripts.
    for code in (*range(0x300, 0xAC00), *range(0xFB1E, 0xFE30))
    if unicodedata.combining(chr(code))
)
_TOO_MANY_COMBINING = re.compile(f"[{_COMBINING}][{_COMBINING}]{{{_MAX_COMBINING},}}")
# A step may show what an earlier one mends; more than a few rounds are never seen.
_MAX_ROUNDS = 8


def repair(text: str) -> str:
    """Return the text mended: encoding, NFC, invisible characters, line ends, blanks.

    - Mojibake, line by line: UTF-8 read as Latin-1, Windows-1252 and their like, by ftfy;
      UTF-8 read as GBK (涓枃) where all of a line turns back into UTF-8.
    - Lone surrogates become U+FFFD; pairs become their character.
    - Terminal escapes, control and zero-width characters go; joiners stay where the script
      before them needs them.
    - Line ends become newlines, special spaces plain ones (not the ideographic space), runs
      of over two hundred blanks inside a line one; trailing blanks go.
    - At most two blank lines in a row, none at the beginning and the end.
    - Unicode normal form C; more than thirty marks on a letter go.

    To repair what is repaired changes nothing.
    """
    text = _blanks_mended(text)
    for _ in range(_MAX_ROUNDS):
        before = text
        text = _characters_mended(text)
        if text == before:
            break
        text = _blanks_mended(text)
    return text


def _blanks_mended(text: str) -> str:
    text = "\n".join([line.rstrip(" \t\u3000") for line in text.split("\n")])
    if " " * (_MAX_BLANKS + 1) in (text.replace("\t", " ") if "\t" in text else text):
        text = _LONG_BLANKS.sub(" ", text)
    if "\n\n\n\n" in text:
        text = _BLANK_LINES.sub("\n\n\n", text)
    return text.strip("\n")


def _characters_mended(text: str) -> str:
    if text.isascii():
        encoded = text.encode()
        clean = len(encoded.translate(None, _ASCII_CONTROLS)) == len(encoded)
        return text if clean else _without_specials(text)
    text = _without_specials(_decoded_again(text))
    text = _TOO_MANY_COMBINING.sub(lambda match: match[0][:_MAX_COMBINING], text)
    return unicodedata.normalize("NFC", text)


def _without_specials(text: str) -> str:
    if not _SPECIAL.search(text):
        return text
    if _SURROGATES.search(text):
        text = fixes.fix_surrogates(text)
    if "\x1b" in text:
        text = fixes.remove_terminal_escapes(text)
    text = _INVISIBLE.sub("", _LINE_ENDS.sub("\n", text))
    text = _SPACES.sub(" ", text)
    return _STRAY_JOINERS.sub("", text) if "\u200c" in text or "\u200d" in text else text


def _decoded_again(text: str) -> str:
    """Return the text with those lines decoded again that show a wrong encoding."""
    text = _lines_changed(text, _SUSPICIOUS, _decoded_by_ftfy)
    return _lines_changed(text, _UTF_8_AS_GBK, _decoded_from_gbk)


def _lines_changed(text: str, sign: re.Pattern[str], change: Callable[[str], str]) -> str:
    pieces: list[str] = []
    done = position = 0
    while (match := sign.search(text, position)) is not None:
        start = text.rfind("\n", 0, match.start()) + 1
        end = text.find("\n", match.start())
        position = end = end if end >= 0 else len(text)
        line = text[start:end]
        changed = change(line)
        if changed != line:
            pieces += (text[done:start], changed)
            done = end
    return "".join((*pieces, text[done:])) if pieces else text


def _decoded_by_ftfy(line: str) -> str:
    # ftfy passes over what it cannot encode; a lone surrogate is mended afterwards.
    return ftfy.fix_encoding(line, _ENCODING_ONLY) if is_bad(line) else line


def _decoded_from_gbk(line: str) -> str:
    """Return a line as UTF-8 where its bytes in GBK are that of Chinese, else as it is.

    Chinese as it is written is hardly ever so: of the lines of 78,656 poems and of a book,
    none. A line with a byte lost (a question mark, U+FFFD, 锟斤拷) cannot be turned back.
    """
    try:
        # Windows shows the lone byte 80 as a euro sign.
        decoded = b"\x80".join(part.encode("gb18030") for part in line.split("€")).decode()
    except UnicodeError:
        return line
    return decoded if _CHINESE_LINE.fullmatch(decoded) else line
