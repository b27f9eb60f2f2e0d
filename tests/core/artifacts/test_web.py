"""Pages and archives: main text and title, encodings, limits, and damage that costs itself."""

from __future__ import annotations

import gzip
import importlib
import io
import sys
import zlib

import brotli
import pytest

from llmctl.core.artifacts import http_payloads, text_files, web_archives, web_pages
from llmctl.core.artifacts.document_files import read_documents
from llmctl.core.artifacts.documents import Document, Unreadable
from llmctl.core.artifacts.http_payloads import payload
from llmctl.core.artifacts.page_extraction import LENGTH
from llmctl.core.artifacts.sources import resolve_sources
from llmctl.core.artifacts.streams import DamagedStream
from llmctl.core.artifacts.stretches import Stretch, read_stretch, stretches
from llmctl.core.artifacts.web_pages import PageExtractor, UnreadablePage, extract_page
from llmctl.core.errors import MissingInputError

PARAGRAPHS = [
    "春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。这首诗写的是春天早晨的景色，作者是唐代诗人孟浩然。",
    "他早年隐居鹿门山，后来到长安应试，没有考中，便漫游各地，写下许多描绘山水田园的诗篇，流传至今。",
]
PAGE = (
    "<html><head><title> 春晓 -\n 诗 </title></head><body><nav><a href=/>首页</a></nav><article>"
    + "".join(f"<p>{paragraph}</p>" for paragraph in PARAGRAPHS)
    + "<table><tr><td>朝代</td><td>唐</td></tr></table></article>"
    "<div class=comments id=comments><p>写得真好，谢谢分享！</p></div></body></html>"
)


def read(content, kind="html", **options):
    return list(read_documents(io.BytesIO(content), "in", kind, **options))


def test_main_text_and_title():
    page = extract_page(PAGE)

    assert page.title == "春晓 - 诗"
    assert all(paragraph in page.text for paragraph in PARAGRAPHS)
    assert "唐" in page.text
    assert "首页" not in page.text
    assert "写得真好" not in page.text


def test_the_same_page_again_is_the_same():
    assert extract_page(PAGE) == extract_page(PAGE)


def test_an_html_file():
    content = PAGE.replace("<head>", "<head><meta charset=gb2312>").encode("gbk")

    [found] = read(content)

    assert (found.id, found.meta) == ("in", {"title": "春晓 - 诗", "encoding": "gb18030"})
    assert PARAGRAPHS[0] in found.text
    assert read(gzip.compress(content, mtime=0), compression=".gz") == [found]
    assert read(PAGE.encode("gbk"), charset="gbk") == [found]
    assert read(b"") == []


@pytest.mark.parametrize("content", [b"<html></html>", b"<p>", b"x", "<div>" * 10_000])
def test_a_page_without_main_text_is_an_empty_document(content):
    content = content.encode() if isinstance(content, str) else content

    assert [item.text for item in read(content)] == [""]


def test_pages_that_cannot_be_read(monkeypatch):
    monkeypatch.setattr(text_files, "MAX_PAGE_BYTES", 20)

    assert read(b"x" * 21) == [Unreadable("in", "a page of more than 0 MB")]
    assert read(b"<p>\xff\xfd\xff") == [Unreadable("in", "in no encoding that can be told")]
    assert read(gzip.compress(PAGE.encode(), mtime=0)[:-9][:50], compression=".gz")[0].reason == (
        "the .gz data is cut off"
    )


def test_a_page_that_takes_too_long_costs_itself():
    extractor = PageExtractor(limit_seconds=0.001)

    with pytest.raises(UnreadablePage, match=r"could not be extracted within 0\.001 s"):
        extractor.extract(PAGE * 20)
    child = extractor._child
    with pytest.raises(UnreadablePage):
        extractor.extract(PAGE * 20)
    assert extractor._child is child
    extractor.close()


def test_a_child_that_does_not_answer_is_ended_and_replaced():
    extractor = PageExtractor(hard_seconds=0.01)

    with pytest.raises(UnreadablePage, match=r"could not be extracted within 0\.01 s"):
        extractor.extract(PAGE)
    assert extractor._child is None
    extractor._hard = 60
    assert extractor.extract(PAGE).title == "春晓 - 诗"
    extractor._child.kill()
    with pytest.raises(UnreadablePage, match="ended the process that did it"):
        extractor.extract(PAGE)
    assert extractor.extract(PAGE).title == "春晓 - 诗"
    extractor.close()


@pytest.mark.usefixtures("broken_pipe_ends")
def test_a_dead_child_costs_the_page_alone():
    extractor = PageExtractor()
    extractor.extract(PAGE)
    extractor._child.kill()
    extractor._child.wait()

    with pytest.raises(UnreadablePage, match="ended the process that did it"):
        extractor.extract(PAGE)

    assert extractor.extract(PAGE).title == "春晓 - 诗"
    extractor.close()


def test_what_goes_wrong_in_the_child_is_the_reason():
    from llmctl.core.artifacts.page_extraction import _answer

    class Broken:
        @staticmethod
        def load_html(_page):
            raise RuntimeError("x")

    assert _answer(Broken, b"a", 5) == {
        "reason": "its text could not be extracted: RuntimeError: x"
    }
    assert LENGTH.size == 8


def test_the_limit_reaches_a_library_that_catches_every_exception():
    from llmctl.core.artifacts import page_extraction

    class Stubborn:
        @staticmethod
        def load_html(_page):
            while True:
                try:
                    sum(range(1000))
                except Exception:  # as trafilatura does
                    continue

    import signal

    former = signal.signal(signal.SIGPROF, page_extraction._give_up)
    try:
        answer = page_extraction._answer(Stubborn, b"a", 0.02)
    finally:
        signal.signal(signal.SIGPROF, former)
    assert answer == {"reason": "its text could not be extracted within 0.02 s"}


@pytest.mark.parametrize(
    ("module", "kind", "extra"),
    [("trafilatura", "html", r"llmctl-toolkit\[html\]"), ("fastwarc", "warc", r"\[html,warc\]")],
)
def test_without_the_extra_the_error_names_it(module, kind, extra, monkeypatch):
    monkeypatch.setattr(web_pages, "_extractor", PageExtractor())
    if kind == "html":
        monkeypatch.setattr(web_pages.importlib.util, "find_spec", lambda _: None)
    else:
        monkeypatch.setitem(sys.modules, "fastwarc.warc", None)

    with pytest.raises(MissingInputError, match=f"{module}, which is not installed: .*{extra}"):
        read(b"<p>a", kind)


def record(kind, body, number, content_type="application/http; msgtype=response"):
    return (
        f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: http://a.cn/{number}\r\n"
        f"WARC-Date: 2026-01-02T03:04:05Z\r\nWARC-Record-ID: <urn:uuid:{number}>\r\n"
        f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body + b"\r\n\r\n"  # fmt: skip


def response(body, content_type="text/html", status="200 OK", **headers):
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {content_type}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


SMALL = "<html><body><p>你好 hello</p></body></html>"
RECORDS = [
    record("warcinfo", b"x: y\r\n", 0, "application/warc-fields"),
    record("request", b"GET / HTTP/1.1\r\n\r\n", 1, "application/http; msgtype=request"),
    record("response", response(PAGE.encode("gbk"), "text/html; charset=gb2312"), 2),
    record("response", response(b"\x89PNG", "image/png"), 3),
    record("response", response(SMALL.encode(), status="404 Not Found"), 4),
    record("conversion", "天地玄黄\n".encode(), 5, "text/plain"),
    record(
        "response", response(gzip.compress(SMALL.encode(), mtime=0), Content_Encoding="gzip"), 6
    ),
    record("response", response(b"zz", Transfer_Encoding="c"), 7),
    record("response", b"\xff no HTTP at all", 8),
    record("response", response("天地".encode("gbk"), "text/plain; charset=gbk"), 9),
    record("resource", SMALL.encode(), 10, "text/html"),
]
TEXTS = {2: None, 5: "天地玄黄\n", 6: "你好 hello", 7: "", 9: "天地", 10: "你好 hello"}


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("compression", ["", ".xz"])
def test_archives(pack, compression):
    if compression == ".xz" and pack is gzip.compress:
        pytest.skip("packed once is enough")
    content = b"".join(map(pack, RECORDS))
    if compression:
        content = importlib.import_module("lzma").compress(content)
    kind_packed = compression or (".gz" if pack is gzip.compress else "")

    found = read(content, "warc", compression=kind_packed)

    assert [item.id for item in found] == [f"urn:uuid:{number}" for number in TEXTS]
    page, conversion, *_ = found
    assert PARAGRAPHS[0] in page.text
    about = {"url": "http://a.cn/2", "date": "2026-01-02T03:04:05Z"}
    assert page.meta == {**about, "title": "春晓 - 诗", "encoding": "gb18030"}
    assert conversion == Document(
        "urn:uuid:5", "in", "und", "天地玄黄\n", {**about, "url": "http://a.cn/5"}
    )
    assert [item.text for item in found[1:]] == list(TEXTS.values())[1:]


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("max_bytes", [1, 500, 1500, 10**6])
def test_stretches_of_an_archive_are_the_whole(tmp_path, pack, max_bytes):
    path = tmp_path / ("a.warc.gz" if pack is gzip.compress else "a.warc")
    path.write_bytes(b"".join(map(pack, RECORDS)))
    [source] = resolve_sources([path.name], tmp_path)

    parts = stretches(source, 0, max_bytes)
    found = [item for part in parts for item in read_stretch(source, part, lambda _: None)]

    with source.open() as reader:
        assert found == list(reader)
        assert len(reader.digest()) == 64
    assert len(parts) == {1: 11, 10**6: 1}.get(max_bytes, len(parts))


@pytest.mark.parametrize("max_bytes", [1, 10**6])
def test_an_archive_that_is_cut_off_keeps_what_came_before(tmp_path, max_bytes):
    content = b"".join(map(gzip.compress, RECORDS))
    (tmp_path / "a.warc.gz").write_bytes(content[:-150])
    [source] = resolve_sources(["a.warc.gz"], tmp_path)

    parts = stretches(source, 0, max_bytes)
    found = [item for part in parts for item in read_stretch(source, part, lambda _: None)]

    assert [item.id for item in found if isinstance(item, Document)] == [
        f"urn:uuid:{number}" for number in list(TEXTS)[:-1]
    ]
    assert isinstance(found[-1], Unreadable)
    with source.open() as reader:
        assert found == list(reader)


@pytest.mark.parametrize(("pack", "compression"), [(bytes, ""), (gzip.compress, ".gz")])
def test_no_cut_is_passed_over(pack, compression):
    before, last = b"".join(map(pack, RECORDS[4:6])), pack(RECORDS[9])
    for cut in range(1, len(last)):
        found = read(before + last[:cut], "warc", compression=compression)

        assert found[0].id == "urn:uuid:5"
        assert isinstance(found[-1], Unreadable) or found[-1].text == TEXTS[9], cut


def test_an_archive_gzipped_as_a_whole_is_one_stretch(tmp_path):
    (tmp_path / "a.warc.gz").write_bytes(gzip.compress(b"".join(RECORDS), mtime=0))
    [source] = resolve_sources(["a.warc.gz"], tmp_path)

    assert stretches(source, 0, 1) == [Stretch(0, 0, None, 1)]
    with source.open() as reader:
        assert [item.id for item in reader] == [f"urn:uuid:{number}" for number in TEXTS]


def test_what_is_no_archive():
    [found] = read(b"WARC/1.0 but then nothing of the kind\n" * 5, "warc")

    assert found.place == "in:1"
    assert found.reason.startswith("the archive is damaged: ")


def test_a_page_of_an_archive_may_be_too_large(monkeypatch):
    monkeypatch.setattr(web_archives, "MAX_PAGE_BYTES", 1000)
    monkeypatch.setattr(http_payloads, "MAX_PAGE_BYTES", 1000)
    packed = gzip.compress(bytes(100_000), mtime=0)
    content = record("response", response(packed, Content_Encoding="gzip"), 1)
    content += record("conversion", b"x" * 1001, 2, "text/plain") + RECORDS[10]

    found = read(content, "warc")

    assert found[:2] == [Unreadable(f"in:{n}", "a page of more than 0 MB") for n in (1, 2)]
    assert found[2].text == "你好 hello"


def test_a_panic_of_the_archive_reader_is_damage(monkeypatch):
    class PanicException(BaseException):
        pass

    def panic(*_arguments, **_options):
        raise PanicException("called unwrap")

    monkeypatch.setattr("fastwarc.warc.ArchiveIterator", panic)

    assert read(b"WARC/1.0", "warc") == [
        Unreadable("in:1", "the archive is damaged: called unwrap")
    ]


CONTENT = SMALL.encode()


@pytest.mark.parametrize(
    ("body", "transfer", "encoding"),
    [
        (CONTENT, None, None),
        (CONTENT, "chunked", "gzip"),  # headers of what was decoded already
        (gzip.compress(CONTENT, mtime=0), None, "gzip"),
        (gzip.compress(CONTENT, mtime=0), None, "GZIP"),
        (zlib.compress(CONTENT), None, "deflate"),
        (zlib.compress(CONTENT)[2:-4], None, "deflate"),
        (brotli.compress(CONTENT), None, "br"),
        (CONTENT, None, "br"),
        (brotli.compress(gzip.compress(CONTENT, mtime=0)), None, "gzip, br"),
        (
            b"5\r\n<html\r\n%x;a=b\r\n%b\r\n0\r\n\r\n" % (len(CONTENT) - 5, CONTENT[5:]),
            "chunked",
            None,
        ),
    ],
)
def test_bodies(body, transfer, encoding):
    assert payload(body, transfer, encoding) == CONTENT


def test_a_body_that_is_cut_off():
    with pytest.raises(DamagedStream, match=r"the \.gz data is cut off"):
        payload(gzip.compress(CONTENT, mtime=0)[:-9], None, "gzip")


def test_a_stretch_of_an_archive_begins_with_a_record(tmp_path):
    (tmp_path / "a.warc").write_bytes(b"".join(RECORDS))
    [source] = resolve_sources(["a.warc"], tmp_path)

    first, second = stretches(source, 0, 1)[:2]

    assert first == Stretch(0, 0, len(RECORDS[0]), 1)
    assert second == Stretch(0, len(RECORDS[0]), len(RECORDS[0] + RECORDS[1]), 2)
