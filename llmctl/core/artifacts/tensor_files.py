"""The tensors of a model directory: one safetensors file, or several and their index.

Format: https://huggingface.co/docs/safetensors, 8 bytes of length, a JSON header, the
data in row-major order. An index maps each tensor's name to the file that holds it.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import torch
from torch import Tensor

from llmctl.core.artifacts.hub_layout import (
    CONFIG_NAME,
    INDEX_NAME,
    WEIGHTS_NAME,
    quoted,
    read_index,
)
from llmctl.core.errors import DataError, MissingInputError

Shape = tuple[int, ...]

DTYPES_READ: dict[str, torch.dtype] = {
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F64": torch.float64,
}
_LARGEST_HEADER_BYTES = 64 * 2**20
_LENGTH_BYTES = 8
# Mapped and converted at a time: larger pieces are hardly faster into a contiguous target, and
# into a transposed one a quarter as fast, since they leave the processor's cache.
_PIECE_BYTES = 2 * 2**20
_PICKLE_PATTERNS = ("*.bin", "*.bin.index.json", "*.pt", "*.pth", "*.ckpt", "*.pkl")


@dataclass(frozen=True)
class _Place:
    """Where a tensor's bytes lie."""

    path: Path
    offset: int


class TensorFiles:
    """The headers of a model directory's safetensors: names, shapes, types; no tensor read yet.

    Where there are both one whole file and an index, the whole file is read, as
    transformers does.

    Args:
        directory: The model directory.

    Attributes:
        path: The whole file, or the index.
        shapes: Of each tensor by name.
        dtypes: As safetensors spells them, e.g. BF16.

    Raises:
        MissingInputError: There are no weights, or a file that the index names is missing;
            pickled weights are no substitute.
        DataError: A file is damaged or cut short, or the index contradicts the files.
    """

    def __init__(self, directory: Path) -> None:
        self.shapes: dict[str, Shape] = {}
        self.dtypes: dict[str, str] = {}
        self._places: dict[str, _Place] = {}
        self.path = directory / WEIGHTS_NAME
        if self.path.is_file():
            self._add(self.path)
            return
        self.path = directory / INDEX_NAME
        if not self.path.is_file():
            raise MissingInputError(_why_no_weights(directory))
        file_names = read_index(self.path)
        for file_name in dict.fromkeys(file_names.values()):
            if not (directory / file_name).is_file():
                raise MissingInputError(
                    f"{directory / file_name}: not found, and {INDEX_NAME} names it; "
                    "the download may be incomplete"
                )
            self._add(directory / file_name, file_names)
        for name, file_name in file_names.items():
            if name not in self._places:
                raise DataError(
                    f"{self.path}: tensor {quoted(name)} should be in {file_name} and is not"
                )

    def _add(self, path: Path, file_names: Mapping[str, str] | None = None) -> None:
        for name, (dtype, shape, offset) in _read_header(path).items():
            if file_names is not None and file_names.get(name) != path.name:
                raise DataError(
                    f"{path}: holds tensor {quoted(name)}, and by {INDEX_NAME} it should not"
                )
            self.shapes[name], self.dtypes[name] = shape, dtype
            self._places[name] = _Place(path, offset)

    @property
    def files(self) -> list[Path]:
        """The files that hold the tensors, by name."""
        return sorted({place.path for place in self._places.values()})

    def require_name(self, name: str) -> None:
        """Check that there is a tensor of that name.

        Raises:
            DataError: It is missing.
        """
        if name not in self.shapes:
            raise DataError(f"{self.path}: tensor {name} is missing, which {CONFIG_NAME} calls for")

    def require(self, name: str, shape: Shape) -> None:
        """Check that a tensor is there as the config says.

        Raises:
            DataError: It is missing, or has another shape or a type that cannot be read.
        """
        self.require_name(name)
        if self.shapes[name] != shape:
            raise DataError(
                f"{self._places[name].path}: {name} has the shape {list(self.shapes[name])}, "
                f"and by {CONFIG_NAME} it should be {list(shape)}"
            )
        self._dtype(name)

    def refuse_others(self, known: frozenset[str]) -> None:
        """Refuse tensors that nothing would read: a model with them computes something else.

        Raises:
            DataError: There is one.
        """
        others = sorted(self.shapes.keys() - known)
        if others:
            raise DataError(
                f"{self.path}: {len(others)} tensors have no place in the model that "
                f"{CONFIG_NAME} describes, the first being {quoted(others[0])}"
            )

    def fill(self, targets: Mapping[str, Tensor]) -> None:
        """Copy tensors of the files into tensors of ours, converting their types.

        Beside the targets this takes a few megabytes, however large the tensors are.

        Args:
            targets: Name in the files → a tensor of the same shape, on any device, of any
                floating type and any strides: a transposed view, a slice of rows.

        Raises:
            DataError: A tensor is missing, has another shape or a type that cannot be
                read, or its file was damaged in the meantime.
        """
        for name, target in targets.items():
            self.require(name, tuple(target.shape))
        places = self._places
        # In the files' order, so that a disk reads ahead.
        for name in sorted(targets, key=lambda name: (places[name].path, places[name].offset)):
            self._copy(name, targets[name].detach())

    def read(self, names: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
        """Yield (name, tensor) of each name in turn, on the CPU, in the type of the file.

        Raises:
            DataError: As `fill`.
        """
        for name in names:
            self.require_name(name)
            tensor = torch.empty(self.shapes[name], dtype=self._dtype(name), device="cpu")
            self._copy(name, tensor)
            yield name, tensor

    def _dtype(self, name: str) -> torch.dtype:
        if self.dtypes[name] not in DTYPES_READ:
            raise DataError(
                f"{self._places[name].path}: {name} is of type {self.dtypes[name]}; "
                f"expected one of {', '.join(DTYPES_READ)}"
            )
        return DTYPES_READ[self.dtypes[name]]

    def _copy(self, name: str, target: Tensor) -> None:
        place, dtype = self._places[name], self._dtype(name)
        try:
            with place.path.open("rb") as handle:
                _copy_pieces(handle.fileno(), place.offset, dtype, target)
        # mmap raises ValueError where the file ends before the piece.
        except (OSError, ValueError) as error:
            raise DataError(
                f"{place.path}: damaged or cut short: {error}; fetch or write it again"
            ) from error


def _copy_pieces(descriptor: int, offset: int, dtype: torch.dtype, target: Tensor) -> None:
    """Copy row-major data at `offset` of a file into `target`, a few rows at a time."""
    num_bytes = target.numel() * dtype.itemsize
    if num_bytes == 0:
        return
    if num_bytes <= _PIECE_BYTES or target.ndim == 0:
        _copy_mapped(descriptor, offset, dtype, target)
        return
    row_bytes = num_bytes // len(target)
    if row_bytes > _PIECE_BYTES:
        for index, row in enumerate(target):
            _copy_pieces(descriptor, offset + index * row_bytes, dtype, row)
        return
    for index, rows in enumerate(pieces := target.split(_PIECE_BYTES // row_bytes)):
        start = index * len(pieces[0]) * row_bytes
        _copy_mapped(descriptor, offset + start, dtype, rows)


def _copy_mapped(descriptor: int, offset: int, dtype: torch.dtype, target: Tensor) -> None:
    # Mapped anew for each piece: closing a map is the one way, on every system, to give the
    # pages back that were read. Private and writable, or PyTorch warns; nothing writes.
    start = offset // mmap.ALLOCATIONGRANULARITY * mmap.ALLOCATIONGRANULARITY
    length = offset - start + target.numel() * dtype.itemsize
    with mmap.mmap(descriptor, length, offset=start, access=mmap.ACCESS_COPY) as mapped:
        # Not a variable: a map with a tensor on it cannot be closed.
        target.copy_(
            torch.frombuffer(mapped, dtype=dtype, count=target.numel(), offset=offset - start).view(
                target.shape
            )
        )


def _read_header(path: Path) -> dict[str, tuple[str, Shape, int]]:
    """Return name → (type, shape, offset in the file) of a safetensors file.

    Raises:
        DataError: It is damaged or cut short.
    """
    try:
        with path.open("rb") as handle:
            length = int.from_bytes(handle.read(_LENGTH_BYTES), "little")
            if length > _LARGEST_HEADER_BYTES:
                raise ValueError(
                    f"a header of {length:,} bytes, and at most {_LARGEST_HEADER_BYTES:,} are read"
                )
            # It refuses holes, overlaps, sizes that contradict the shapes, data that is not
            # there: what it lets pass can be read at the places that the header names.
            with safetensors.safe_open(path, framework="np"):
                header: dict[str, Any] = json.loads(handle.read(length))
    except (safetensors.SafetensorError, OSError, ValueError, RecursionError) as error:
        raise DataError(
            f"{path}: damaged or cut short: {error}; fetch or write it again"
        ) from error
    header.pop("__metadata__", None)
    begin = _LENGTH_BYTES + length
    return {
        name: (entry["dtype"], tuple(entry["shape"]), begin + entry["data_offsets"][0])
        for name, entry in header.items()
    }


def _why_no_weights(directory: Path) -> str:
    pickles = sorted(path.name for pattern in _PICKLE_PATTERNS for path in directory.glob(pattern))
    if pickles:
        return (
            f"{directory / WEIGHTS_NAME}: not found; {pickles[0]} may be a pickle, which can run "
            "code and is never opened; convert it to safetensors"
        )
    return f"{directory / WEIGHTS_NAME}: not found; is this a model directory?"
