"""Mending what encodings, copying and old systems did to a text, and nothing else.

Full-width punctuation, curly quotes and ligatures are what their authors wrote and stay.
Each step is safe for Chinese, Japanese and Korean: ftfy's width folding and NFKC, which
would turn ，！？ into ASCII, are not used.
"""

from __future__ import annotations

import re
import unicodedata

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
_LINE_ENDS = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_SURROGATES = re.compile("[\ud800-\udfff]")
# Control and format characters that carry no text: C0 and C1 but for tab and newline, soft
# hyphens, zero-width spaces and joiners of words, marks of writing direction, the byte
# order mark, noncharacters.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x9f\u00ad\u180e\u200b\u2060-\u2064\u202a-\u202e\u2066-\u206f"
    "\ufeff\ufdd0-\ufdef\ufff9-\ufffb\ufffe\uffff]"
)
# The zero-width joiner and non-joiner shape Arabic, Indic scripts and emoji, and are noise
# after anything else.
_STRAY_JOINERS = re.compile(
    "(?:\\A|(?<=[\\s\x00-\u058f\u2000-\u206f\u3000-\ua4cf\uac00-\ud7af\uff00-\uffef]))[\u200c\u200d]+"
)
_SPACES = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f]")
# Longer than the gaps between the columns of any table that people read.
_LONG_BLANKS = re.compile(r"(?<=\S)[ \t]{201,}(?=\S)")
_BLANK_LINES = re.compile(r"\n{4,}")


def repair(text: str) -> str:
    """Return the text mended: encoding, NFC, invisible characters, line ends, blanks.

    - Mojibake (UTF-8 read as Latin-1, Windows-1252 and their like) by ftfy, line by line.
    - Lone surrogates become U+FFFD; pairs become their character.
    - Terminal escapes, control and zero-width characters go; joiners stay where the script
      before them needs them.
    - Line ends become newlines, special spaces plain ones (not the ideographic space), runs
      of over two hundred blanks inside a line one; trailing blanks go.
    - At most two blank lines in a row, none at the beginning and the end.
    - Unicode normal form C.
    """
    if not text.isascii():
        if _SURROGATES.search(text):
            text = fixes.fix_surrogates(text)
        if is_bad(text):
            text = "\n".join(map(_decoded_again, text.split("\n")))
    if not text.isprintable():
        if "\x1b" in text:
            text = fixes.remove_terminal_escapes(text)
        text = _INVISIBLE.sub("", _LINE_ENDS.sub("\n", text))
    if not text.isascii():
        text = _SPACES.sub(" ", _STRAY_JOINERS.sub("", text))
        text = unicodedata.normalize("NFC", text)
    text = _LONG_BLANKS.sub(" ", "\n".join([line.rstrip() for line in text.split("\n")]))
    return _BLANK_LINES.sub("\n\n\n", text).strip("\n")


def _decoded_again(line: str) -> str:
    if line.isascii() or not is_bad(line):
        return line
    return ftfy.fix_encoding(line, _ENCODING_ONLY)
