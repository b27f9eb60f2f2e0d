"""NumPy's .npy of float32 rows, written row by row and whole when it appears."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from llmctl.core import atomic


@contextmanager
def write_vectors(path: Path, width: int) -> Generator[Callable[[NDArray[np.float32]], None]]:
    """Give a function that appends rows (N, D); the file is there once the block ends well.

    A file of that name is replaced; if the block raises, it stays as it was.

    Args:
        path: The file.
        width: D.

    Raises:
        OutputError: It cannot be created there.
        StorageError: The disk is full or failing.
    """
    atomic.require_place(path)
    temporary = path.with_name(f".{path.name}.tmp")
    num_rows = 0
    with atomic.storage_errors(path):
        handle = temporary.open("wb")
    try:
        with handle:
            with atomic.storage_errors(path):
                _write_header(handle, 0, width)

            def append(rows_ND: NDArray[np.float32]) -> None:
                nonlocal num_rows
                num_rows += len(rows_ND)
                with atomic.storage_errors(path):
                    handle.write(np.ascontiguousarray(rows_ND, dtype="<f4").data)

            yield append
            with atomic.storage_errors(path):
                handle.seek(0)
                _write_header(handle, num_rows, width)
                handle.flush()
        atomic.observer("write", temporary)
        with atomic.storage_errors(path):
            atomic.sync_file(temporary)
            atomic.rename(temporary, path)
            atomic.sync_directory(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _write_header(handle: IO[bytes], num_rows: int, width: int) -> None:
    # NumPy pads it so that the number of rows may grow without moving what follows.
    header = {"descr": "<f4", "fortran_order": False, "shape": (num_rows, width)}
    np.lib.format.write_array_header_1_0(handle, header)
