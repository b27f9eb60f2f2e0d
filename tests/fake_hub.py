"""A Hugging Face Hub on this machine: as much of its interface as a download needs."""

from __future__ import annotations

import http.server
import json
import threading
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

COMMIT = "0123456789abcdef0123456789abcdef01234567"
INDEX = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "two.safetensors"}}
SHARDED = {
    "config.json": b"{}",
    "tokenizer.json": b'{"version": "1.0"}',
    "model.safetensors.index.json": json.dumps(INDEX).encode(),
    "model-00001-of-00002.safetensors": b"first" * 1000,
    "two.safetensors": b"second" * 1000,
}
WHOLE = {
    "config.json": b"{}",
    "vocab.json": b'{"a": 0}',
    "merges.txt": b"#version: 0.2\n",
    "model.safetensors": b"weights" * 1000,
}


@dataclass
class FakeHub:
    """What the Hub holds and what it has given away.

    Attributes:
        repositories: Id → name → content; a data set's id begins with "datasets/".
        refusals: Id → (status, the Hub's code of the error).
        fetched: Every file that was given away, in order.
    """

    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refusals: dict[str, tuple[int, str]] = field(default_factory=dict)
    fetched: list[str] = field(default_factory=list)
    commit: str = COMMIT

    def answer(self, path):
        """(status, headers, body) of a path."""
        if path.startswith(("/api/models/", "/api/datasets/")):
            hub_id, _, revision = path.removeprefix("/api/").partition("/revision/")
            hub_id = hub_id.removeprefix("models/")
            if hub_id in self.refusals or hub_id not in self.repositories:
                status, code = self.refusals.get(hub_id, (404, "RepoNotFound"))
                return status, {"X-Error-Code": code, "X-Error-Message": "no\x1b[2J"}, b""
            if revision not in ("main", "v1", self.commit):
                return 404, {"X-Error-Code": "RevisionNotFound"}, b""
            files = self.repositories[hub_id]
            siblings = [{"rfilename": name, "size": len(files[name])} for name in files]
            info = {"id": hub_id, "sha": self.commit, "siblings": siblings, "tags": []}
            return 200, {"Content-Type": "application/json"}, json.dumps(info).encode()
        hub_id, _, rest = path[1:].partition("/resolve/")
        name = rest.partition("/")[2]
        files = self.repositories.get(hub_id, {})
        if name not in files:
            return 404, {"X-Error-Code": "EntryNotFound"}, b""
        headers = {"ETag": f'"{zlib.crc32(files[name]):x}"', "X-Repo-Commit": self.commit}
        return 200, headers, files[name]


@contextmanager
def serving(hub: FakeHub) -> Generator[str]:
    """The address under which a Hub answers."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.give(body=False)

        def do_GET(self):
            self.give(body=True)

        def give(self, *, body):
            path = self.path.partition("?")[0]
            status, headers, content = hub.answer(path)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            if body and "/resolve/" in path:
                hub.fetched.append(path.rpartition("/")[2])
            if body:
                self.wfile.write(content)

        def log_message(self, *_arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
