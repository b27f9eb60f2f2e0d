"""Encodings: each told by its content, damaged UTF-8 refused, never a wrong guess."""

from __future__ import annotations

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmctl.core.artifacts.encodings import (
    SAMPLE_BYTES,
    UTF8,
    Encoding,
    UndecodableError,
    decode,
    decode_line,
    decode_page,
    decoded_chunks,
    detect,
)

POEM = "春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。\n"
FRENCH = "Voilà un été très chaud, où l'on préfère être à la plage : ça va, garçon !\n"
GERMAN = "Über die Größe der schönen Häuser läßt sich streiten; wir können das nicht ändern.\n"
# Letters whose codes are the first bytes of ideographs, and hardly anything else.
ENGLISH = "we went over the river to the town and nobody saw us there until we were home again\n"
CZECH = (
    "Všichni lidé rodí se svobodní a sobě rovní co do důstojnosti a práv. Jsou nadáni rozumem a "
    "svědomím a mají spolu jednat v duchu bratrství.\n"
)
RUSSIAN = "Все счастливые семьи похожи друг на друга, каждая несчастливая семья несчастлива.\n"
JAPANESE = "春はあけぼの。やうやう白くなりゆく山ぎは、すこしあかりて、紫だちたる雲。\n"
KOREAN = "대한민국은 민주공화국이다. 모든 권력은 국민으로부터 나온다.\n"
TRADITIONAL = "天地玄黃，宇宙洪荒。日月盈昃，辰宿列張。寒來暑往，秋收冬藏。\n"


@pytest.mark.parametrize(
    ("text", "encoding", "codec"),
    [
        pytest.param(POEM, "gb18030", "gb18030", id="Chinese, short"),
        pytest.param(POEM * 400, "gb18030", "gb18030", id="Chinese, long"),
        pytest.param("静夜思\n床前明月光", "gb2312", "gb18030", id="Chinese, a line"),
        pytest.param("𠮷野家和㐂寿" + POEM, "gb18030", "gb18030", id="Chinese, four bytes"),
        pytest.param(TRADITIONAL, "big5", "big5hkscs", id="traditional Chinese"),
        pytest.param(JAPANESE, "shift_jis", "cp932", id="Japanese, Shift_JIS"),
        pytest.param(JAPANESE, "euc_jp", "euc_jp", id="Japanese, EUC"),
        pytest.param(KOREAN, "euc_kr", "cp949", id="Korean"),
        pytest.param(FRENCH, "latin-1", "cp1252", id="French"),
        pytest.param(FRENCH * 100, "latin-1", "cp1252", id="French, long"),
        pytest.param("Le café est fermé.", "latin-1", "cp1252", id="French, two letters"),
        pytest.param("don’t – “quote” …", "cp1252", "cp1252", id="English quotation marks"),
        pytest.param(GERMAN * 3, "latin-1", "cp1252", id="German"),
        pytest.param(CZECH, "cp1250", "cp1250", id="Czech"),
        pytest.param(RUSSIAN, "cp1251", "cp1251", id="Russian"),
        pytest.param(RUSSIAN, "koi8-r", "koi8-r", id="Russian, KOI8"),
    ],
)
def test_encodings_from_before_unicode(text, encoding, codec):
    assert decode(text.encode(encoding)) == (text, Encoding(codec, guessed=True))


@pytest.mark.parametrize("text", [POEM, FRENCH, JAPANESE, KOREAN, ENGLISH, "plain\n", POEM * 5000])
@pytest.mark.parametrize("order", ["le", "be"])
@pytest.mark.parametrize("unit", ["utf-16", "utf-32"])
def test_wide_encodings_without_a_mark(text, unit, order):
    codec = f"{unit}-{order}"

    assert decode(text.encode(codec)) == (text, Encoding(codec, guessed=True))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_mark_is_no_guess(encoding):
    text, found = decode(POEM.encode(encoding))

    assert (text, found.guessed) == (POEM, False)


@pytest.mark.parametrize("mark", [codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE])
def test_big_endian_marks(mark):
    encoding = "utf-16-be" if mark == codecs.BOM_UTF16_BE else "utf-32-be"

    assert decode(mark + POEM.encode(encoding))[0] == POEM


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"plain",
        b"Bush hid the facts",
        POEM.encode(),
        f"{FRENCH}{POEM}😀".encode(),
        b"a\0b with a NUL " * 1,
        "é".encode(),
        b"x" * SAMPLE_BYTES + POEM.encode(),
    ],
)
def test_utf8_is_that(content):
    assert decode(content) == (content.decode(), Encoding(UTF8))


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\ufeff")))
def test_every_text_in_utf8_is_read_as_that(text):
    assert decode(text.encode()) == (text, Encoding(UTF8))


@pytest.mark.parametrize(
    ("content", "reason", "line"),
    [
        pytest.param((POEM * 6).encode() + b"\xff" + POEM.encode(), "0xff", 7, id="in Chinese"),
        pytest.param(
            FRENCH.encode() + b"a\xe9b\n" + FRENCH.encode(), "0xe9", 2, id="a Latin-1 line in UTF-8"
        ),
        pytest.param(b"plain\nplain \xff\n", "start byte 0xff", 2, id="in English"),
        pytest.param(POEM.encode()[:-3] * 9, "0xe3", 1, id="characters cut"),
        pytest.param(b"english " + "“".encode()[:2], "unexpected end of data 0xe2", 1, id="cut"),
        pytest.param(b"a\xed\xa0\x80b", "invalid continuation byte 0xed", 1, id="half a pair"),
        pytest.param(b"bad \xe4\n", "invalid continuation byte 0xe4", 1, id="too little to tell"),
    ],
)
def test_damaged_utf8_is_not_taken_for_another_encoding(content, reason, line):
    with pytest.raises(UndecodableError, match=reason) as caught:
        decode(content)

    assert str(caught.value).startswith("invalid UTF-8: ")
    assert caught.value.line == line


@pytest.mark.parametrize(
    "content", [bytes(range(256)) * 20, bytes(2000), b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\2\0\0\1"]
)
def test_binary_data_is_no_text(content):
    with pytest.raises(UndecodableError, match="binary data, no text"):
        decode(content)


def test_damage_in_another_encoding_is_refused_with_its_line():
    content = (POEM * 6000).encode("gb18030") + b"\n\xff\xff\n" + POEM.encode("gb18030")

    with pytest.raises(UndecodableError, match="not gb18030: ") as caught:
        decode(content)
    assert caught.value.line == 6002


def test_utf16_that_ends_early():
    with pytest.raises(UndecodableError, match="not UTF-16: truncated data"):
        decode(POEM.encode("utf-16")[:-1])


def test_what_is_above_ascii_may_begin_late():
    content = b"plain\n" * 100_000 + (POEM * 3).encode("gb18030")

    assert decode(content)[1].codec == "gb18030"


def test_a_sample_may_end_inside_a_character():
    content = (POEM * 10).encode()

    assert all(detect(content[:end]).codec == UTF8 for end in range(1, 80))
    content = (POEM * 10).encode("gb18030")
    assert all(detect(content[:end]).codec == "gb18030" for end in range(20, 90))


@pytest.mark.parametrize(
    ("found", "confidence", "expected"),
    [
        ("Windows-1250", 0.1, None),
        ("Windows-1250", 0.3, "cp1250"),
        ("Windows-1251", 0.1, "cp1252"),
        (None, 0.0, "cp1252"),
        ("GB18030", 0.1, None),
    ],
)
def test_what_is_not_certain_is_refused(found, confidence, expected, monkeypatch):
    told = {"encoding": found, "confidence": confidence}
    monkeypatch.setattr("chardet.detect", lambda *_, **__: told)
    content = (FRENCH * 5).encode("latin-1") + b"\xff\xff\xff\xff"

    assert detect(content) == (Encoding(expected, guessed=True) if expected else Encoding(UTF8))


def test_lines():
    gb18030 = Encoding("gb18030", guessed=True)

    assert decode_line("联通".encode("gb18030"), gb18030) == ("联通", True)
    assert decode_line("ξ".encode(), gb18030) == ("尉", True)
    assert decode_line("联通".encode(), gb18030) == ("联通", False)
    assert decode_line(b"plain", gb18030) == ("plain", False)
    assert decode_line("é".encode(), Encoding("cp1252", guessed=True)) == ("é", False)
    with pytest.raises(UndecodableError, match="not gb18030: illegal multibyte sequence 0xff"):
        decode_line(b"\xff\xff", gb18030)
    with pytest.raises(UndecodableError, match="invalid UTF-8: invalid start byte 0xff"):
        decode_line(b"\xff", Encoding(UTF8))


def test_chunks_may_end_inside_a_character():
    content = POEM.encode("gb18030") + b"\xff"
    chunks = [content[start : start + 3] for start in range(0, len(content), 3)]

    assert "".join(decoded_chunks(chunks, Encoding("gb18030"))) == POEM + "\udcff"


@pytest.mark.parametrize(
    ("content", "charset", "expected"),
    [
        ('<meta charset="gb2312">镕'.encode("gbk"), None, ("镕", "gb18030")),
        (
            '<META http-equiv=Content-Type content="text/html; charset=GBK">诗'.encode("gbk"),
            None,
            ("诗", "gb18030"),
        ),
        ("<p>诗".encode("gbk"), "gb2312", ("诗", "gb18030")),
        ('<meta charset="iso-8859-1">詩'.encode("big5"), "big5", ("詩", "big5hkscs")),
        ('<meta charset="gbk">诗'.encode(), None, ("诗", "utf-8")),
        ("<p>don’t".encode("cp1252"), "iso-8859-1", ("don’t", "cp1252")),
        (f"<p>{POEM}".encode("gbk"), "no-such-thing", (POEM, "gb18030")),
        (f'<meta charset="utf-8">{POEM * 9}'.encode("gbk"), None, (POEM, "gb18030")),
        ((f'<meta charset="utf-8">{POEM}'.encode() + b"\xff"), None, (POEM + "\ufffd", "utf-8")),
        (f"<p>{POEM}".encode("utf-16"), "gbk", (POEM, "utf-16")),
        ("<p>été</p>".encode("latin-1"), "base64", ("été</p>", "cp1252")),
    ],
)
def test_pages(content, charset, expected):
    text, codec = expected

    page, encoding = decode_page(content, charset)

    assert page.endswith(text)
    assert encoding.codec == codec


def test_a_page_of_no_encoding():
    with pytest.raises(UndecodableError, match="in no encoding that can be told"):
        decode_page(b"<p>\xff\xfd\xff", None)
