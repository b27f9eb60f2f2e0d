"""`https:` inputs: downloaded once, whole or not at all, and told how to get them by hand."""

from __future__ import annotations

import http.server
import json
import socket
import threading

import pytest

from llmctl.core.artifacts import downloads
from llmctl.core.artifacts.downloads import fetch
from llmctl.core.artifacts.sources import resolve_sources
from llmctl.core.errors import Interrupted, MissingInputError, OutputError
from llmctl.core.pipeline import Run, Settings
from llmctl.core.progress import Progress
from llmctl.core.recipe import load_recipe

FILES = {
    "/a.jsonl": b'{"text": "a"}\n',
    "/dir/%E8%AF%97%20(1).txt.gz?x=/y.pdf": b"packed",
    "/e.jsonl": b'{"text": "of an evaluation"}\n',
    "/": b'{"text": "of a page without a name"}\n',
    "/page": "<!DOCTYPE html><html><p>诗</p></html>".encode("gb18030"),
    "/short": b"0123456789",
}


class Server:
    def __init__(self):
        self.asked = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked.append(self.path)
                if self.path == "/moved":
                    self.send_response(302)
                    self.send_header("Location", "/a.jsonl")
                    self.end_headers()
                    return
                if self.path not in FILES:
                    self.send_error(404, "no\x1b[2J")
                    return
                content = FILES[self.path]
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=GBK")
                self.send_header("Content-Length", str(len(content) + 5 * (self.path == "/short")))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_arguments):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.setenv("LLMCTL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    served = Server()
    thread = threading.Thread(target=served.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield served
    served.server.shutdown()
    served.server.server_close()
    thread.join()


def test_is_downloaded_once(server, tmp_path):
    first = fetch(f"{server.url}/a.jsonl", Progress())

    assert first.path.read_bytes() == FILES["/a.jsonl"]
    assert first.charset == "gbk"
    assert fetch(f"{server.url}/a.jsonl", Progress()) == first
    assert server.asked == ["/a.jsonl"]
    about = json.loads((first.path.parent / "about.json").read_text())
    assert (about["url"], about["bytes"]) == (f"{server.url}/a.jsonl", 14)
    assert sorted(path.name for path in first.path.parent.iterdir()) == ["a.jsonl", "about.json"]


def test_what_was_cut_is_downloaded_again(server):
    path = fetch(f"{server.url}/a.jsonl", Progress()).path
    path.write_bytes(b"{")

    assert fetch(f"{server.url}/a.jsonl", Progress()).path.read_bytes() == FILES["/a.jsonl"]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/dir/%E8%AF%97%20(1).txt.gz?x=/y.pdf", "_1_.txt.gz"),
        ("/moved", "moved"),
        ("/", "file-"),
    ],
)
def test_file_has_the_name_of_its_address(server, path, name):
    assert fetch(server.url + path, Progress()).path.name == name


def test_no_name_leaves_the_cache():
    names = [downloads._file_name(f"http://a/{path}") for path in ("%2e%2e/..", "about.json", ".x")]

    assert names == ["file-", "file-about.json", "x"]


def test_an_address_is_an_input(server, tmp_path):
    addresses = [f"{server.url}/a.jsonl", f"{server.url}/", f"{server.url}/page"]
    with pytest.raises(MissingInputError, match=r"a\.jsonl: not downloaded yet"):
        resolve_sources(addresses, tmp_path)

    named, nameless, page = resolve_sources(addresses, tmp_path, progress=Progress())
    assert [source.path for source in resolve_sources(addresses, tmp_path)] == [
        named.path,
        nameless.path,
        page.path,
    ]

    with named.open() as reader:
        [document] = reader
    assert (document.id, document.text) == (f"{server.url}/a.jsonl:1", "a")
    assert nameless.format() == ("jsonl", "")
    assert (page.format(), page.charset) == (("html", ""), "gbk")


def test_progress_is_told_in_megabytes(server):
    told = []

    class Told(Progress):
        def begin(self, activity, total=None, unit=""):
            told.append((activity, total, unit))

        def advance(self, amount=1, **figures):
            told.append(amount)

    fetch(f"{server.url}/a.jsonl", Told())

    assert told == [(f"download {server.url}/a.jsonl", 14e-6, "MB"), 14e-6]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/absent.txt", r"cannot be downloaded: the server answers 404 'no.x1b\[2J'; download it"),
        ("/short", "it broke off after 10 of 15 bytes; download it where there is a network"),
    ],
)
def test_what_is_not_to_be_had_names_the_manual_way(server, path, message, tmp_path):
    with pytest.raises(MissingInputError, match=message) as caught:
        fetch(server.url + path, Progress())

    assert "`curl -L -O`, and name the file in place of its address" in str(caught.value)
    assert not [found for found in (tmp_path / "cache").rglob("*") if found.is_file()]


def test_nobody_there(monkeypatch, tmp_path):
    monkeypatch.setenv("LLMCTL_CACHE", str(tmp_path))
    monkeypatch.setenv("no_proxy", "*")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen

        with pytest.raises(MissingInputError, match="ConnectionRefusedError"):
            fetch(f"http://127.0.0.1:{taken.getsockname()[1]}/a.txt", Progress())
    with pytest.raises(MissingInputError, match="cannot be downloaded: "):
        fetch("https://[bad/a.txt", Progress())


def test_an_interrupt_leaves_nothing(server, tmp_path):
    class Stopped(Progress):
        def advance(self, amount=1, **figures):
            raise Interrupted(2)

    with pytest.raises(Interrupted):
        fetch(f"{server.url}/a.jsonl", Stopped())
    assert not [found for found in (tmp_path / "cache").rglob("*") if found.is_file()]


def test_a_cache_that_cannot_be_written(server, tmp_path):
    (tmp_path / "cache").write_text("a file")

    with pytest.raises(OutputError):
        fetch(f"{server.url}/a.jsonl", Progress())


def test_the_cache_is_in_the_users_directory(monkeypatch, tmp_path):
    monkeypatch.delenv("LLMCTL_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert downloads.cache_directory() == tmp_path / "llmctl"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert downloads.cache_directory() == tmp_path / "home" / ".cache" / "llmctl"


def test_status_downloads_nothing_and_a_run_shows_what_it_downloads(server, tmp_path):
    run = tmp_path / "run"
    recipe = tmp_path / "far.yaml"
    recipe.write_text(
        f"clean: {{inputs: ['{server.url}/a.jsonl'], rules: {{min_characters: 0}}, "
        f"decontaminate: {{files: ['{server.url}/e.jsonl']}}}}",
        encoding="utf-8",
    )
    settings = Settings(run_directory=run)
    loaded = load_recipe(recipe)

    clean = Run(loaded, settings).states()[0]

    assert (clean.status, clean.reasons) == (
        "unknown",
        (f"{server.url}/a.jsonl: not downloaded yet",),
    )
    assert server.asked == []
    assert not run.exists()
    progress = Seen()
    Run(loaded, settings, progress).bring_up_to_date("clean")
    assert progress.begun[:2] == [
        f"download {server.url}/a.jsonl",
        f"download {server.url}/e.jsonl",
    ]
    assert server.asked == ["/a.jsonl", "/e.jsonl"]
    assert Run(loaded, settings).states()[0].status == "up to date"


class Seen(Progress):
    def __init__(self):
        super().__init__()
        self.begun = []

    def begin(self, activity, *_more):
        self.begun.append(activity)
