"""Workspace: killed after any operation, an artifact is the old or the new one, whole."""

from __future__ import annotations

import errno
import json
import os
import shutil
from itertools import count
from pathlib import Path

import pytest

from llmctl.core import atomic, manifest
from llmctl.core.errors import DataError, OutputError, StorageError
from llmctl.core.manifest import Identity, check_files, read_manifest, write_manifest
from llmctl.core.workspace import Workspace, aside_path, bring_back, settle

A, B = Identity("model", {"名字": "甲"}), Identity("model", {"名字": "乙"})


def make(target: Path, identity: Identity, *, keep_former: bool = False) -> list[str]:
    """Bring the target up to date as a stage does; returns the units that had to be made."""
    settle(target, keep_former=keep_former)
    found = read_manifest(target)
    if found is not None and found.key == identity.key:
        return []
    space = Workspace(target, identity, keep_former=keep_former)
    made = []
    for name in ("first", "second"):
        if not (space.units / name).exists():
            made.append(name)
            atomic.write_file(space.units / name, f"{name} of {identity.key}".encode())
    (space.result / "deep").mkdir()
    for name in ("first", "second"):
        shutil.copy(space.units / name, space.result / "deep" / name)
    space.publish({"num_units": 2})
    return made


def data_of(target: Path) -> dict[str, bytes] | None:
    """The files of a whole artifact, checked by content; None where there is none."""
    found = read_manifest(target)
    if found is None:
        assert not target.exists()
        return None
    check_files(target, found)
    return {name: (target / name).read_bytes() for name in found.files}


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    """Hundreds of artifacts are made here: spare the disk, and asking for versions."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)
    monkeypatch.setattr(manifest, "versions", dict)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The data of an artifact that nothing disturbed, by key."""
    folder = tmp_path_factory.mktemp("undisturbed")
    for identity in (A, B):
        make(folder / identity.key, identity)
    return {identity.key: data_of(folder / identity.key) for identity in (A, B)}


def test_an_artifact_holds_the_result_and_its_manifest(tmp_path):
    made = make(tmp_path / "语料", A)

    found = read_manifest(tmp_path / "语料")
    assert made == ["first", "second"]
    assert found is not None
    assert (found.key, found.counts) == (A.key, {"num_units": 2})
    assert sorted(found.files) == ["deep/first", "deep/second"]
    assert [path.name for path in tmp_path.iterdir()] == ["语料"]


def test_everything_is_on_the_disk_before_the_manifest_and_the_rename(tmp_path, operations):
    space = Workspace(tmp_path / "out", A)
    (space.result / "deep").mkdir()
    (space.result / "deep" / "x").write_bytes(b"x")
    operations.clear()

    space.publish({})

    work = f".work-out-{A.short_key}"
    names = [(name, path.relative_to(tmp_path).as_posix()) for name, path in operations]
    assert names == [
        ("fsync", f"{work}/result/deep/x"),
        ("fsync", f"{work}/result/deep"),
        ("write", f"{work}/result/.manifest.json.tmp"),
        ("fsync", f"{work}/result/.manifest.json.tmp"),
        ("rename", f"{work}/result/manifest.json"),
        ("fsync", f"{work}/result"),
        ("fsync", f"{work}/result"),
        ("rename", "out"),
        ("fsync", "."),
        ("remove", ".old-out"),
        ("remove", work),
    ]


@pytest.mark.parametrize("keep_former", [False, True])
@pytest.mark.parametrize("former", [None, A], ids=["nothing before", "another key before"])
def test_killed_after_any_operation_old_or_new_stands_whole(
    tmp_path, killed_after, data, former, keep_former
):
    states = set()
    for num_operations in count(1):
        target = tmp_path / str(num_operations) / "model"
        if former is not None:
            make(target, former, keep_former=keep_former)

        def act(target=target):
            make(target, B, keep_former=keep_former)

        if not killed_after(num_operations, act):
            break
        if target.parent.exists():
            settle(target, keep_former=keep_former)
        found = data_of(target)
        states.add(None if found is None else found == data[B.key])
        assert found in ([None] if former is None else [data[A.key]]) + [data[B.key]]
        if former is not None and keep_former and found == data[B.key]:
            assert data_of(aside_path(target, A.key)) == data[A.key]

        make(target, B, keep_former=keep_former)

        assert data_of(target) == data[B.key]
        kept = {aside_path(target, A.key).name} if former and keep_former else set()
        assert {path.name for path in target.parent.iterdir()} == {"model"} | kept

    assert states == {None if former is None else False, True}
    assert num_operations > 20


@pytest.mark.parametrize("keep_former", [False, True])
def test_killed_again_while_settling_it_still_converges(
    tmp_path, operations, killed_after, data, keep_former
):
    make(tmp_path / "model", A, keep_former=keep_former)
    operations.clear()
    make(tmp_path / "model", B, keep_former=keep_former)
    publishing = range(len(operations) - 8, len(operations) + 1)
    num_second_kills = 0
    for first, second in ((first, second) for first in publishing for second in range(1, 6)):
        target = tmp_path / f"{first}-{second}" / "model"
        make(target, A, keep_former=keep_former)
        killed_after(first, lambda target=target: make(target, B, keep_former=keep_former))
        num_second_kills += killed_after(
            second, lambda target=target: settle(target, keep_former=keep_former)
        )

        settle(target, keep_former=keep_former)

        assert data_of(target) in (data[A.key], data[B.key])
        if keep_former and data_of(target) == data[B.key]:
            assert data_of(aside_path(target, A.key)) == data[A.key]
    assert num_second_kills > 3


def test_finished_units_are_taken_up_after_a_crash(tmp_path, killed_after):
    made = []
    for num_operations in count(1):
        target = tmp_path / str(num_operations) / "model"
        if not killed_after(num_operations, lambda target=target: make(target, A)):
            break
        made.append(make(target, A))

    assert made == sorted(made, key=len, reverse=True)
    assert [made[0], made[4], made[9]] == [["first", "second"], ["second"], []]


def test_a_new_start_begins_with_an_empty_result_and_the_units_kept(tmp_path):
    space = Workspace(tmp_path / "out", A)
    (space.units / "unit").write_bytes(b"done")
    (space.result / "half").write_bytes(b"ha")

    again = Workspace(tmp_path / "out", A)

    assert [path.name for path in again.units.iterdir()] == ["unit"]
    assert list(again.result.iterdir()) == []


def test_what_other_keys_left_is_removed(tmp_path):
    foreign = Workspace(tmp_path / "out", A)
    (foreign.units / "unit").write_bytes(b"x")

    space = Workspace(tmp_path / "out", B)

    assert not foreign.path.exists()
    assert list(space.units.iterdir()) == []


@pytest.mark.parametrize(
    ("target", "neighbour"),
    [
        pytest.param("corpus", "corpus-2", id="a name that begins alike"),
        pytest.param("corpus", "corpus-12345678", id="a name that looks like a key"),
        pytest.param("a[bc]", "ab", id="brackets are no pattern"),
        pytest.param("模型", "模型-二", id="Chinese names"),
    ],
)
def test_the_work_of_a_neighbour_is_left_alone(tmp_path, target, neighbour):
    other = Workspace(tmp_path / neighbour, B)
    (other.units / "unit").write_bytes(b"x")
    (other.result / "x").write_bytes(b"x")
    write_manifest(other.result, B, {})

    make(tmp_path / target, A)

    assert (other.units / "unit").read_bytes() == b"x"
    assert read_manifest(other.result) is not None
    assert data_of(tmp_path / neighbour) is None


def test_leftovers_are_found_beside_a_name_with_brackets(tmp_path):
    foreign = Workspace(tmp_path / "a[bc]", A)

    Workspace(tmp_path / "a[bc]", B)

    assert not foreign.path.exists()


def test_without_keeping_the_former_artifact_is_gone(tmp_path, data):
    make(tmp_path / "out", A)
    make(tmp_path / "out", B)

    assert data_of(tmp_path / "out") == data[B.key]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_former_of_the_same_key_is_replaced_and_not_kept(tmp_path):
    make(tmp_path / "model", A, keep_former=True)
    space = Workspace(tmp_path / "model", A, keep_former=True)
    (space.result / "again").write_bytes(b"again")

    space.publish({})

    assert list(data_of(tmp_path / "model") or {}) == ["again"]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_models_step_aside_and_are_brought_back(tmp_path, data):
    target = tmp_path / "model"
    make(target, A, keep_former=True)
    make(target, B, keep_former=True)

    assert bring_back(target, A.key)

    assert data_of(target) == data[A.key]
    assert data_of(aside_path(target, B.key)) == data[B.key]
    assert {path.name for path in tmp_path.iterdir()} == {"model", f"model-{B.short_key}"}


def test_bringing_back_killed_at_any_operation_loses_no_model(tmp_path, killed_after, data):
    for num_operations in count(1):
        target = tmp_path / str(num_operations) / "model"
        make(target, A, keep_former=True)
        make(target, B, keep_former=True)
        was_killed = killed_after(num_operations, lambda target=target: bring_back(target, A.key))
        settle(target, keep_former=True)
        found = [data_of(path) for path in sorted(target.parent.iterdir())]
        assert len(found) == 2
        assert data[A.key] in found
        assert data[B.key] in found
        if not was_killed:
            break

        if read_manifest(target) is None or data_of(target) == data[B.key]:
            assert bring_back(target, A.key)

        assert data_of(target) == data[A.key]
    assert num_operations > 3


@pytest.mark.parametrize(
    "prepare",
    [
        pytest.param(lambda path: None, id="none stepped aside"),
        pytest.param(lambda path: make(path, B), id="one whose key only begins alike"),
    ],
)
def test_what_never_was_is_not_brought_back(tmp_path, prepare, data):
    make(tmp_path / "model", B)
    prepare(aside_path(tmp_path / "model", A.key))

    assert not bring_back(tmp_path / "model", A.key)

    assert data_of(tmp_path / "model") == data[B.key]


def test_a_model_whose_manifest_is_damaged_is_not_thrown_away(tmp_path):
    make(tmp_path / "model", A)
    (tmp_path / "model" / "manifest.json").write_text("{", encoding="utf-8")
    space = Workspace(tmp_path / "model", B, keep_former=True)

    with pytest.raises(DataError, match="damaged"):
        space.publish({})

    assert (tmp_path / "model" / "deep" / "first").exists()


def test_publishing_over_a_workspace_that_was_tidied_half_leaves_nothing(tmp_path):
    """A kill while the work is being deleted: the next start removes the rest."""
    make(tmp_path / "out", A)
    leftover = tmp_path / f".work-out-{A.short_key}" / "units"
    leftover.mkdir(parents=True)

    settle(tmp_path / "out")

    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_opening_a_workspace_publishes_what_another_had_finished(tmp_path):
    """Killed between manifest and rename: the artifact is whole and is not thrown away."""
    space = Workspace(tmp_path / "model", A, keep_former=True)
    write_manifest(space.result, A, {})

    Workspace(tmp_path / "model", B, keep_former=True)

    found = read_manifest(tmp_path / "model")
    assert found is not None
    assert found.key == A.key
    assert not space.path.exists()


def test_a_model_steps_aside_over_its_own_twin(tmp_path, data):
    target = tmp_path / "model"
    for identity in (A, B, A, B):  # the second A is made anew beside the one that stepped aside
        make(target, identity, keep_former=True)

    assert data_of(target) == data[B.key]
    assert data_of(aside_path(target, A.key)) == data[A.key]


def test_settling_where_nothing_is_does_nothing(tmp_path):
    settle(tmp_path / "absent" / "out")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("parent", "content"),
    [pytest.param("file", "x", id="the parent is a file")],
)
def test_a_place_that_cannot_be_is_refused(tmp_path, parent, content):
    (tmp_path / parent).write_text(content)

    with pytest.raises(OutputError, match="cannot be created"):
        Workspace(tmp_path / parent / "out", A)


def test_a_full_disk_while_publishing_keeps_the_former(tmp_path, monkeypatch, data):
    make(tmp_path / "out", A)
    space = Workspace(tmp_path / "out", B)
    (space.result / "x").write_bytes(b"x")

    def refuse(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StorageError, match="free some space"):
        space.publish({})

    assert data_of(tmp_path / "out") == data[A.key]


def test_the_manifest_tells_what_was_made(tmp_path):
    space = Workspace(tmp_path / "out", A)

    space.publish({"documents": 3}, device="cuda")

    written = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))
    assert written["plan"] == {"名字": "甲"}
    assert (written["device"], written["counts"]) == ("cuda", {"documents": 3})
