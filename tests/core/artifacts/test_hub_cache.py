"""hub_cache: what is an id of the Hub, and where its snapshots lie."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_hub import COMMIT, WHOLE

from llmctl.core.artifacts.hub_cache import HubReference, cache_directory, parse_reference


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gpt2", HubReference("gpt2", "main")),
        ("Qwen/Qwen3-0.6B", HubReference("Qwen/Qwen3-0.6B", "main")),
        ("a/b_c.d@v1.0", HubReference("a/b_c.d", "v1.0")),
        ("a/b@refs/pr/7", HubReference("a/b", "refs/pr/7")),
        (f"a/b@{COMMIT}", HubReference("a/b", COMMIT)),
        ("runs/first/model", None),
        ("./model", None),
        ("../model", None),
        ("/model", None),
        ("~/model", None),
        ("model/", None),
        ("a..b", None),
        ("a--b", None),
        ("a.git", None),
        ("-a", None),
        ("a b", None),
        ("跑", None),
        ("", None),
        ("a@", None),
        ("a@../../x", None),
        ("a@/x", None),
        ("a\n", None),
        pytest.param("a" * 97, None, id="97 letters"),
    ],
)
def test_an_id_is_told_from_a_path(text, expected):
    assert parse_reference(text) == expected


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "~/.cache/huggingface/hub"),
        ({"XDG_CACHE_HOME": "/x"}, "/x/huggingface/hub"),
        ({"HF_HOME": "~/h", "XDG_CACHE_HOME": "/x"}, "~/h/hub"),
        ({"HF_HUB_CACHE": "$HOME/c", "HF_HOME": "/h"}, "~/c"),
        ({"HF_HUB_CACHE": "", "HF_HOME": "/h"}, "/h/hub"),
    ],
)
def test_the_cache_lies_where_huggingface_hub_keeps_it(variables, expected, monkeypatch):
    for name in ("HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert cache_directory() == Path(expected).expanduser()


@pytest.mark.parametrize("revision", ["main", "v1", "refs/pr/7"])
def test_a_revision_leads_to_its_snapshot(revision, fill_cache):
    other = fill_cache("a/b", {}, "other", "f" * 40)
    snapshot = fill_cache("a/b", WHOLE, revision)

    assert HubReference("a/b", revision).cached() == snapshot
    assert HubReference("a/b", COMMIT).cached() == snapshot
    assert HubReference("a/b", "other").cached() == other


@pytest.mark.parametrize("content", ["", "..", "../..", "e" * 40, b"\xff" * 40, COMMIT[:7]])
def test_a_ref_that_leads_nowhere_finds_nothing(content, fill_cache, hub_cache):
    fill_cache("a/b", WHOLE)
    ref = hub_cache / "models--a--b" / "refs" / "main"
    ref.write_bytes(content if isinstance(content, bytes) else content.encode())

    assert HubReference("a/b").cached() is None
    assert HubReference("a/other").cached() is None
