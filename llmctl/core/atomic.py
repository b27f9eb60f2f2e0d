"""Files and directories that are either whole or not there, whenever the power goes.

Every write, fsync and rename that publishing depends on goes through this module and
is told to `observer` once done, so that a test can end the process after each of them.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from llmctl.core.errors import OutputError, StorageError

OLD_PREFIX = ".old-"

Observer = Callable[[str, Path], None]


def ignore(_operation: str, _path: Path) -> None:
    """Observe nothing."""


observer: Observer = ignore


def write_file(path: Path, data: bytes) -> None:
    """Write a whole file so that a reader sees the old content or the new, never a part.

    Raises:
        OutputError: It cannot be created here.
        StorageError: The disk is full or failing.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    with storage_errors(path):
        temporary.write_bytes(data)
        observer("write", temporary)
        sync_file(temporary)
        rename(temporary, path)
        sync_directory(path.parent)


def sync_file(path: Path) -> None:
    """Return once the file's content is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    observer("fsync", path)


def sync_directory(path: Path) -> None:
    """Return once the directory's entries are on the disk."""
    sync_file(path)


def rename(source: Path, target: Path) -> None:
    """Rename, replacing a file of the target's name."""
    os.replace(source, target)
    observer("rename", target)


def remove_tree(path: Path) -> None:
    """Delete a directory or a file, whether or not it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
    observer("remove", path)


def publish_directory(work: Path, target: Path, aside: Path | None = None) -> None:
    """Put the finished directory `work` in the place of `target`.

    The files of `work` must be on the disk. A former `target` is moved to `aside` and
    kept, or deleted where no `aside` is given. After a crash in between,
    `finish_swap` completes or undoes what was begun.
    """
    with storage_errors(target):
        sync_directory(work)
        former = aside or target.with_name(OLD_PREFIX + target.name)
        if target.exists():
            rename(target, former)
        rename(work, target)
        sync_directory(target.parent)
        if aside is None:
            remove_tree(former)


def finish_swap(target: Path) -> None:
    """Finish or undo a replacement of `target` that a crash cut in half."""
    former = target.with_name(OLD_PREFIX + target.name)
    if not former.exists():
        return
    if target.exists():
        remove_tree(former)
    else:
        rename(former, target)
        sync_directory(target.parent)


@contextmanager
def storage_errors(path: Path) -> Generator[None]:
    """Turn the system's refusals while writing `path` into errors with a way out.

    Raises:
        OutputError: No permission, a read-only place, a parent that is no directory.
        StorageError: No space, a quota or size limit, an input/output error.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise StorageError(
                f"{path}: {error.strerror}; free some space and run the same command again"
            ) from error
        if error.errno in (
            errno.EACCES,
            errno.EPERM,
            errno.EROFS,
            errno.ENOTDIR,
            errno.EEXIST,
            errno.EISDIR,
            errno.ENAMETOOLONG,
        ):
            raise OutputError(f"{path}: cannot be created: {error.strerror}") from error
        if error.errno == errno.EIO:
            raise StorageError(f"{path}: {error.strerror}; the disk may be failing") from error
        raise


def require_place(path: Path) -> None:
    """Refuse before any work a path at which no file can come to be.

    Raises:
        OutputError: It is a folder, or lies in none.
    """
    if path.is_dir():
        raise OutputError(f"{path}: cannot be created: it is a folder")
    if not path.parent.is_dir():
        raise OutputError(f"{path}: cannot be created: {path.parent} is no folder")


def require_space(directory: Path, num_bytes: int) -> None:
    """Refuse before writing what the disk cannot hold.

    Raises:
        StorageError: Fewer than `num_bytes` are free where `directory` lies.
    """
    free = shutil.disk_usage(directory).free
    if free < num_bytes:
        raise StorageError(
            f"{directory}: {_size(num_bytes)} are needed and {_size(free)} are free; "
            "free some space and run the same command again"
        )


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:,.0f} MB" if num_bytes >= 10_000_000 else f"{num_bytes / 1e3:,.0f} kB"
