"""atomic: the operations worked by hand, a kill after each of them, refusals of the system."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections import namedtuple
from itertools import count
from pathlib import Path

import pytest

from llmctl.core import atomic
from llmctl.core.errors import OutputError, StorageError

OLD, NEW = {"a.txt": "旧"}, {"a.txt": "新", "b.txt": "more"}


def make_directory(path: Path, content: dict[str, str]) -> Path:
    path.mkdir(parents=True)
    for name, text in content.items():
        (path / name).write_text(text, encoding="utf-8")
    return path


def content_of(path: Path) -> dict[str, str] | None:
    if not path.exists():
        return None
    return {file.name: file.read_text(encoding="utf-8") for file in path.iterdir()}


def by_name(operations):
    return [(operation, path.name) for operation, path in operations]


def test_a_file_is_synced_before_its_rename_and_its_directory_after(tmp_path, operations):
    atomic.write_file(tmp_path / "a.bin", b"new")

    assert by_name(operations) == [
        ("write", ".a.bin.tmp"),
        ("fsync", ".a.bin.tmp"),
        ("rename", "a.bin"),
        ("fsync", tmp_path.name),
    ]
    assert (tmp_path / "a.bin").read_bytes() == b"new"


def test_every_fsync_told_of_is_one_of_the_system(tmp_path, operations, monkeypatch):
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))

    atomic.write_file(tmp_path / "a.bin", b"new")

    assert synced == [(tmp_path / "a.bin").stat().st_ino, tmp_path.stat().st_ino]
    assert [operation for operation, _ in operations].count("fsync") == 2


@pytest.mark.parametrize(
    ("former", "aside", "expected"),
    [
        pytest.param(
            False,
            None,
            [("fsync", "work"), ("rename", "out"), ("fsync", "here"), ("remove", ".old-out")],
            id="nothing there: renamed in between two fsyncs",
        ),
        pytest.param(
            True,
            None,
            [
                ("fsync", "work"),
                ("rename", ".old-out"),
                ("rename", "out"),
                ("fsync", "here"),
                ("remove", ".old-out"),
            ],
            id="the former one is deleted only once the new one is on the disk",
        ),
        pytest.param(
            True,
            "out-1",
            [("fsync", "work"), ("rename", "out-1"), ("rename", "out"), ("fsync", "here")],
            id="with an aside nothing is deleted",
        ),
    ],
)
def test_publishing_goes_in_this_order(tmp_path, operations, former, aside, expected):
    here = tmp_path / "here"
    work = make_directory(here / "work", NEW)
    if former:
        make_directory(here / "out", OLD)

    atomic.publish_directory(work, here / "out", here / aside if aside else None)

    assert by_name(operations) == expected
    assert content_of(here / "out") == NEW
    assert (content_of(here / aside) if aside else None) == (OLD if aside else None)


def test_a_file_killed_at_any_operation_is_old_or_new(tmp_path, killed_after):
    seen = []
    for num_operations in count(1):
        target = tmp_path / f"{num_operations}.txt"
        target.write_bytes(b"old")
        if not killed_after(num_operations, lambda target=target: atomic.write_file(target, b"+")):
            break
        seen.append(target.read_bytes())
        atomic.write_file(target, b"+")  # what the crash left is no hindrance
        assert target.read_bytes() == b"+"

    assert seen == [b"old", b"old", b"+", b"+"]


def test_a_swap_killed_at_any_operation_is_finished_or_undone(tmp_path, killed_after):
    seen = []
    for num_operations in count(1):
        here = tmp_path / str(num_operations)
        work, target = make_directory(here / "work", NEW), make_directory(here / "out", OLD)

        def publish(work=work, target=target):
            atomic.publish_directory(work, target)

        if not killed_after(num_operations, publish):
            break
        atomic.finish_swap(target)
        seen.append(content_of(target))
        assert not (here / ".old-out").exists()

    assert seen == [OLD, OLD, NEW, NEW, NEW]


def test_finishing_a_swap_that_never_was_changes_nothing(tmp_path, operations):
    target = make_directory(tmp_path / "out", OLD)

    atomic.finish_swap(target)

    assert (content_of(target), operations) == (OLD, [])


def test_an_undone_swap_is_put_on_the_disk(tmp_path, operations):
    make_directory(tmp_path / ".old-out", OLD)

    atomic.finish_swap(tmp_path / "out")

    assert by_name(operations) == [("rename", "out"), ("fsync", tmp_path.name)]


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda path: make_directory(path / "deep", OLD), id="a directory with files"),
        pytest.param(lambda path: path.write_text("x"), id="a file"),
        pytest.param(lambda path: path.symlink_to("nowhere"), id="a link to nothing"),
        pytest.param(lambda path: None, id="nothing"),
    ],
)
def test_removes_whatever_is_there(tmp_path, make):
    path = tmp_path / "x"
    make(path)

    atomic.remove_tree(path)

    assert not os.path.lexists(path)


def test_removing_a_link_leaves_what_it_points_at(tmp_path):
    kept = make_directory(tmp_path / "kept", OLD)
    (tmp_path / "link").symlink_to(kept)

    atomic.remove_tree(tmp_path / "link")

    assert content_of(kept) == OLD
    assert not os.path.lexists(tmp_path / "link")


@pytest.mark.parametrize(
    ("number", "kind", "exit_code", "message"),
    [
        pytest.param(errno.ENOSPC, StorageError, 74, "free some space", id="full disk"),
        pytest.param(errno.EDQUOT, StorageError, 74, "free some space", id="quota"),
        pytest.param(errno.EFBIG, StorageError, 74, "free some space", id="size limit"),
        pytest.param(errno.EIO, StorageError, 74, "the disk may be failing", id="failing disk"),
        pytest.param(errno.EACCES, OutputError, 73, "cannot be created", id="no permission"),
        pytest.param(errno.EPERM, OutputError, 73, "cannot be created", id="not permitted"),
        pytest.param(errno.EROFS, OutputError, 73, "cannot be created", id="read-only place"),
        pytest.param(errno.ENOTDIR, OutputError, 73, "cannot be created", id="below a file"),
        pytest.param(errno.EEXIST, OutputError, 73, "cannot be created", id="a file in the way"),
        pytest.param(errno.EISDIR, OutputError, 73, "cannot be created", id="directory in the way"),
        pytest.param(errno.ENAMETOOLONG, OutputError, 73, "cannot be created", id="long name"),
    ],
)
def test_the_systems_refusals_name_the_path_and_a_way_out(number, kind, exit_code, message):
    with (
        pytest.raises(OutputError, match=rf"^输出/a: .*{message}") as raised,
        atomic.storage_errors(Path("输出/a")),
    ):
        raise OSError(number, os.strerror(number))

    assert type(raised.value) is kind
    assert raised.value.exit_code == exit_code
    assert os.strerror(number) in str(raised.value)


def test_other_errors_pass_as_they_are():
    with pytest.raises(FileNotFoundError), atomic.storage_errors(Path("a")):
        raise FileNotFoundError(errno.ENOENT, "gone")


def test_a_directory_in_the_files_place_is_refused(tmp_path):
    make_directory(tmp_path / "a", OLD)

    with pytest.raises(OutputError, match="cannot be created"):
        atomic.write_file(tmp_path / "a", b"new")


@pytest.mark.parametrize("failing", ["write_bytes", "fsync"])
def test_a_full_disk_leaves_the_old_file_whole(tmp_path, monkeypatch, failing):
    def refuse(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "a").write_bytes(b"old")
    monkeypatch.setattr(*((Path, failing) if failing == "write_bytes" else (os, failing)), refuse)

    with pytest.raises(StorageError, match="free some space and run the same command again"):
        atomic.write_file(tmp_path / "a", b"new")

    assert (tmp_path / "a").read_bytes() == b"old"


def test_a_size_limit_of_the_system_leaves_the_old_file_whole(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    code = """
import resource, sys
from pathlib import Path
from llmctl.core import atomic
from llmctl.core.errors import StorageError
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    atomic.write_file(Path(sys.argv[1]), bytes(5000))
except StorageError as error:
    sys.exit(error.exit_code)
"""

    ended = subprocess.run([sys.executable, "-c", code, tmp_path / "a"], check=False)

    assert ended.returncode == 74
    assert (tmp_path / "a").read_bytes() == b"old"


def test_space_is_asked_for_before_writing(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(10**9, 0, 5_000_000))

    atomic.require_space(tmp_path, 5_000_000)
    with pytest.raises(StorageError, match="6,000 kB are needed and 5,000 kB are free; free some"):
        atomic.require_space(tmp_path, 6_000_000)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        pytest.param(".", "it is a folder", id="folder"),
        pytest.param("no/file", "no is no folder", id="folder that is not there"),
        pytest.param("file/below", "file is no folder", id="below a file"),
    ],
)
def test_refuses_a_place_for_no_file(tmp_path, place, message):
    (tmp_path / "file").write_bytes(b"")

    atomic.require_place(tmp_path / "file")
    with pytest.raises(OutputError, match=message):
        atomic.require_place(tmp_path / place)
