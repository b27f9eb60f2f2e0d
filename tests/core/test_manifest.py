"""manifest: what enters a key, what stands in the file, what is noticed when it changes."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmctl.core import manifest
from llmctl.core.errors import DataError, MissingInputError
from llmctl.core.manifest import (
    DigestCache,
    Identity,
    check_files,
    differences,
    read_manifest,
    require_manifest,
    sha256_of,
    write_manifest,
)

IDENTITY = Identity(
    "corpus", {"min_characters": 20, "inputs": ["a"]}, {"shards": "ab"}, {"a.txt": "cd"}, 1
)
TWO_SECONDS = 2_000_000_000


def written(folder, identity=IDENTITY):
    (folder / "资料").mkdir(parents=True)
    (folder / "资料" / "a.bin").write_bytes(b"0123456789")
    (folder / "b.txt").write_bytes(b"")
    return write_manifest(folder, identity, {"documents": 7})


def test_the_key_is_the_sha256_of_canonical_json():
    text = (
        '{"behaviour":2,"inputs":{},"kind":"corpus","parents":{"a":"1"},"plan":{"x":0.5,"名":"值"}}'
    )
    identity = Identity("corpus", {"名": "值", "x": 0.5}, {"a": "1"}, behaviour=2)

    assert identity.key == hashlib.sha256(text.encode()).hexdigest()
    assert identity.short_key == identity.key[:8]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(replace(IDENTITY, kind="shards"), id="kind"),
        pytest.param(replace(IDENTITY, plan={"min_characters": 21, "inputs": ["a"]}), id="plan"),
        pytest.param(replace(IDENTITY, plan={"min_characters": 20}), id="a key of the plan less"),
        pytest.param(replace(IDENTITY, parents={"shards": "ac"}), id="a parent's key"),
        pytest.param(replace(IDENTITY, parents={}), id="a parent less"),
        pytest.param(replace(IDENTITY, inputs={"a.txt": "ce"}), id="an input's digest"),
        pytest.param(replace(IDENTITY, inputs={"b.txt": "cd"}), id="an input's name"),
        pytest.param(replace(IDENTITY, behaviour=2), id="the stage's behaviour"),
    ],
)
def test_whatever_decides_the_data_enters_the_key(other):
    assert other.key != IDENTITY.key


def test_a_key_says_nothing_of_who_made_it_where_and_when(tmp_path, monkeypatch):
    first = written(tmp_path / "a")
    monkeypatch.setattr(sys, "argv", ["llmctl", "otherwise"])
    monkeypatch.setattr(manifest, "versions", lambda: {"python": "9"})
    second = write_manifest(tmp_path / "a", IDENTITY, {"other": 1}, device="cuda")

    assert first.key == second.key == IDENTITY.key


@settings(max_examples=30, deadline=None)
@given(plan=st.dictionaries(st.text(), st.integers() | st.text() | st.booleans(), max_size=5))
def test_the_order_in_which_a_plan_is_written_does_not_matter(plan):
    turned = dict(reversed(plan.items()))

    assert Identity("corpus", plan).key == Identity("corpus", turned).key


@settings(max_examples=30, deadline=None)
@given(plan=st.dictionaries(st.text(max_size=4), st.lists(st.floats(allow_nan=False)), max_size=3))
def test_a_plan_read_back_from_json_has_the_same_key(plan):
    again = json.loads(json.dumps(plan))

    assert Identity("corpus", again).key == Identity("corpus", plan).key


def test_names_that_are_no_text_have_a_key_too():
    assert Identity("corpus", {"inputs": ["\udcc4"]}).key != Identity("corpus", {"inputs": []}).key


def test_a_manifest_describes_every_file_and_is_read_back(tmp_path):
    made = written(tmp_path / "a")

    found = read_manifest(tmp_path / "a")

    assert found == made
    assert {name: record.size for name, record in made.files.items()} == {
        "b.txt": 0,
        "资料/a.bin": 10,
    }
    assert made.files["资料/a.bin"].sha256 == hashlib.sha256(b"0123456789").hexdigest()
    assert made.identity == IDENTITY
    assert made.counts == {"documents": 7}
    assert (made.device, made.argv, made.versions["python"]) == (
        "cpu",
        sys.argv,
        "{}.{}.{}".format(*sys.version_info),
    )
    assert list(json.loads((tmp_path / "a" / "manifest.json").read_text("utf-8")))[:3] == [
        "kind",
        "schema_version",
        "key",
    ]


def test_arguments_that_are_no_text_are_written_in_hexadecimal(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["llmctl", "\udcc4\udce3.txt", "你.txt"])

    written(tmp_path / "a")

    found = read_manifest(tmp_path / "a")
    assert found is not None
    assert found.argv == ["llmctl", r"\xc4\xe3.txt", "你.txt"]


def test_where_nothing_is_finished_there_is_no_manifest(tmp_path):
    (tmp_path / "file").write_text("x")

    assert read_manifest(tmp_path) is None
    assert read_manifest(tmp_path / "absent") is None
    assert read_manifest(tmp_path / "file") is None
    with pytest.raises(MissingInputError, match=r"no finished corpus here \(manifest.json is miss"):
        require_manifest(tmp_path, "corpus")


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b'{"kind": "corpus"', id="cut off"),
        pytest.param(b'{"kind": "corpus"}', id="keys missing"),
        pytest.param(b"\xff\xfe", id="no text"),
    ],
)
def test_a_damaged_manifest_is_refused_with_a_way_out(tmp_path, content):
    (tmp_path / "manifest.json").write_bytes(content)

    with pytest.raises(DataError, match=r"manifest.json: damaged: .*; remove .* and run again"):
        read_manifest(tmp_path)


def test_a_newer_schema_is_refused(tmp_path):
    newer = written(tmp_path / "a").model_copy(update={"schema_version": 2})
    (tmp_path / "a" / "manifest.json").write_text(newer.model_dump_json(), encoding="utf-8")

    with pytest.raises(DataError, match="schema version 2 is newer than this llmctl's 1; upgrade"):
        read_manifest(tmp_path / "a")


def test_an_artifact_of_another_kind_is_refused(tmp_path):
    written(tmp_path / "a")

    assert require_manifest(tmp_path / "a", "corpus").kind == "corpus"
    with pytest.raises(DataError, match="expected shards, found corpus"):
        require_manifest(tmp_path / "a", "shards")


def flip_bit(path):
    content = bytearray(path.read_bytes())
    content[3] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "error", "exit_code", "message"),
    [
        pytest.param(flip_bit, DataError, 65, "damaged: 10 bytes", id="one flipped bit"),
        pytest.param(
            lambda path: path.write_bytes(b"012345678"),
            DataError,
            65,
            "damaged: 9 bytes .* expected 10 bytes",
            id="cut off",
        ),
        pytest.param(
            lambda path: path.unlink(),
            MissingInputError,
            66,
            "missing, though its manifest names it; put it back, or remove .* and run again",
            id="gone",
        ),
    ],
)
@pytest.mark.parametrize("cached", [False, True])
def test_every_file_is_compared_with_its_record(
    tmp_path, damage, error, exit_code, message, cached
):
    made = written(tmp_path / "a")
    cache = DigestCache(tmp_path / "cache") if cached else None
    check_files(tmp_path / "a", made, cache)
    damage(tmp_path / "a" / "资料" / "a.bin")

    with pytest.raises(error, match=f"资料/a.bin: {message}") as raised:
        check_files(tmp_path / "a", made, cache)

    assert raised.value.exit_code == exit_code


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "a/../../outside"])
def test_a_manifest_may_not_name_what_lies_outside(tmp_path, name):
    (tmp_path / "outside").write_bytes(b"")
    made = written(tmp_path / "a")
    record = made.files["b.txt"]

    with pytest.raises(DataError, match="names a file outside: "):
        check_files(tmp_path / "a", made.model_copy(update={"files": {name: record}}))


@pytest.fixture
def hashed(monkeypatch):
    """The files hashed so far."""
    found = []

    def hash_file(path):
        found.append(path.name)
        return sha256_of(path)

    monkeypatch.setattr(manifest, "sha256_of", hash_file)
    return found


@pytest.fixture
def later(monkeypatch):
    """A clock three seconds ahead, so that no file is fresh."""
    now = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now() + 3 * TWO_SECONDS // 2)


def test_a_digest_is_remembered_over_runs(tmp_path, hashed, later):
    (tmp_path / "a").write_bytes(b"a")
    first = DigestCache(tmp_path / "deep" / "cache")
    digests = [first.sha256(tmp_path / "a"), first.sha256(tmp_path / "a")]
    first.save()

    digests.append(DigestCache(tmp_path / "deep" / "cache").sha256(tmp_path / "a"))

    assert digests == [hashlib.sha256(b"a").hexdigest()] * 3
    assert hashed == ["a"]


def write_other(path):
    path.write_bytes(b"b")


def touch(path):
    os.utime(path, ns=(1, 1))


def write_other_keeping_the_time(path):
    before = path.stat()
    path.write_bytes(b"b")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def swap(path):
    other = path.with_name("other")
    other.write_bytes(b"b")
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    other.replace(path)


@pytest.mark.parametrize(
    ("change", "content"),
    [
        pytest.param(write_other, b"b", id="other content of one size"),
        pytest.param(touch, b"a", id="only the time touched"),
        pytest.param(write_other_keeping_the_time, b"b", id="content changed, time put back"),
        pytest.param(swap, b"b", id="another file of the same size and time in its place"),
    ],
)
def test_what_changed_is_hashed_again(tmp_path, hashed, later, change, content):
    path = tmp_path / "a"
    path.write_bytes(b"a")
    cache = DigestCache(tmp_path / "cache")
    cache.sha256(path)
    time.sleep(0.02)  # a tick of the file system's clock
    change(path)

    assert cache.sha256(path) == hashlib.sha256(content).hexdigest()
    assert hashed == ["a", "a"]


def test_what_changed_a_moment_ago_is_not_remembered(tmp_path, hashed):
    (tmp_path / "a").write_bytes(b"a")
    cache = DigestCache(tmp_path / "cache")
    cache.sha256(tmp_path / "a")
    cache.sha256(tmp_path / "a")
    cache.save()

    assert hashed == ["a", "a"]
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("", id="empty"),
        pytest.param('{"a": [', id="cut off"),
        pytest.param("[1, 2]", id="no mapping"),
        pytest.param('{"PATH": 5}', id="an entry that is none"),
        pytest.param('{"PATH": []}', id="an empty entry"),
        pytest.param("\udcff", id="no text"),
    ],
)
def test_a_damaged_cache_is_an_empty_one(tmp_path, hashed, later, content):
    path = tmp_path / "a"
    path.write_bytes(b"a")
    damaged = content.replace("PATH", str(path)).encode("utf-8", "surrogateescape")
    (tmp_path / "cache").write_bytes(damaged)

    cache = DigestCache(tmp_path / "cache")

    assert cache.sha256(path) == hashlib.sha256(b"a").hexdigest()
    assert hashed == ["a"]


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path, later):
    (tmp_path / "a").write_bytes(b"a")
    cache = DigestCache(tmp_path / "a" / "cache")
    cache.sha256(tmp_path / "a")

    cache.save()

    assert (tmp_path / "a").read_bytes() == b"a"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param({"a": 1}, {"a": 1}, [], id="nothing changed"),
        pytest.param(
            {"vocab_size": 4096}, {"vocab_size": 2048}, ["vocab_size: 4096 → 2048"], id="a value"
        ),
        pytest.param(
            {"train": {"steps": None, "seed": 1}},
            {"train": {"steps": 5, "seed": 1}},
            ["train.steps: null → 5"],
            id="a nested value by its path",
        ),
        pytest.param({}, {"a": True}, ["a: absent → true"], id="a new key"),
        pytest.param({"a": [1]}, {}, ["a: [1] → absent"], id="a key that went"),
        pytest.param({"名": "甲"}, {"名": "乙"}, ["名: 甲 → 乙"], id="Chinese as it is written"),
        pytest.param(
            {"a": "x" * 61}, {"a": "x" * 60}, [f"a: {'x' * 57}… → {'x' * 60}"], id="long values cut"
        ),
        pytest.param(
            {"b": 1, "a": 1}, {"a": 2, "b": 2}, ["b: 1 → 2", "a: 1 → 2"], id="in the old order"
        ),
    ],
)
def test_differences_are_said_in_a_line_each(old, new, expected):
    assert differences(old, new) == expected
