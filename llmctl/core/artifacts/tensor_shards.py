"""Writing tensors as safetensors: one file, or several and their index, a piece at a time.

Format: https://huggingface.co/docs/safetensors, 8 bytes of length, a JSON header, the
data in row-major order.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from llmctl.core import atomic
from llmctl.core.artifacts.hub_layout import INDEX_NAME, WEIGHTS_NAME
from llmctl.core.artifacts.tensor_files import DTYPES_READ, Shape
from llmctl.core.errors import DataError, UsageError

DTYPE_NAMES = {dtype: name for name, dtype in DTYPES_READ.items()}
_ALIGNMENT_BYTES = 8
_PIECE_BYTES = 2 * 2**20
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([KMGT]i?)?B?", re.ASCII | re.IGNORECASE)
_UNITS = {
    f"{letter}{binary}": base**power
    for power, letter in enumerate("kmgt", start=1)
    for binary, base in (("", 1000), ("i", 1024))
}


@dataclass(frozen=True)
class TensorEntry:
    """A tensor as a header describes it."""

    name: str
    shape: Shape
    dtype: torch.dtype

    @property
    def num_bytes(self) -> int:
        """The size of its data."""
        return math.prod(self.shape) * self.dtype.itemsize


def parse_size(text: str) -> int:
    """Return a size in bytes: "5GB" is 5 × 1000³, "5GiB" 5 × 1024³, "512" 512.

    Raises:
        UsageError: It is no size, or none at all.
    """
    match = _SIZE.fullmatch(text.strip())
    size = int(float(match[1]) * _UNITS.get((match[2] or "").lower(), 1)) if match else 0
    if size < 1:
        raise UsageError(f"unknown size {text!r}; expected one such as 5GB, 500MB or 2GiB")
    return size


def plan_shards(entries: Iterable[TensorEntry], max_bytes: int) -> dict[str, list[TensorEntry]]:
    """Return which tensors each file is to hold, in the order of the data.

    Files are filled one after the other; a tensor larger than `max_bytes` has one of its
    own. One file has the name of a whole model's weights.
    """
    shards: list[list[TensorEntry]] = []
    size = 0
    for entry in entries:
        if not shards or size + entry.num_bytes > max_bytes:
            shards.append([])
            size = 0
        shards[-1].append(entry)
        size += entry.num_bytes
    # Wider types first, so that each tensor begins at a multiple of its items' size.
    ordered = [sorted(shard, key=lambda entry: -entry.dtype.itemsize) for shard in shards]
    if len(ordered) == 1:
        return {WEIGHTS_NAME: ordered[0]}
    name = Path(WEIGHTS_NAME)
    return {
        f"{name.stem}-{number:05d}-of-{len(ordered):05d}{name.suffix}": shard
        for number, shard in enumerate(ordered, start=1)
    }


def write_tensors(
    path: Path, entries: Sequence[TensorEntry], read: Callable[[TensorEntry], Tensor]
) -> None:
    """Write one safetensors file, whole or not at all; the same arguments give the same bytes.

    Beside the tensor at hand this takes a few megabytes.

    Args:
        path: The file.
        entries: What it is to hold, in the order of the data.
        read: Returns an entry's tensor, of its shape, to be converted to its type; called
            for the next one when nothing holds the one before.

    Raises:
        DataError: A finite value is beyond the entry's type.
        OutputError: It cannot be created there.
        StorageError: The disk is full or failing.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    with atomic.storage_errors(path):
        with temporary.open("wb") as handle:
            handle.write(_header(entries))
            for entry in entries:
                _write_tensor(handle, entry, read(entry))
        atomic.observer("write", temporary)
        atomic.sync_file(temporary)
        atomic.rename(temporary, path)
        atomic.sync_directory(path.parent)


def write_index(directory: Path, shards: dict[str, list[TensorEntry]]) -> None:
    """Write the index that says which file holds which tensor.

    Raises:
        OutputError: It cannot be created there.
        StorageError: The disk is full or failing.
    """
    entries = [entry for shard in shards.values() for entry in shard]
    index = {
        "metadata": {"total_size": sum(entry.num_bytes for entry in entries)},
        "weight_map": {
            entry.name: name for name, shard in sorted(shards.items()) for entry in shard
        },
    }
    atomic.write_file(directory / INDEX_NAME, (json.dumps(index, indent=2) + "\n").encode())


def _header(entries: Sequence[TensorEntry]) -> bytes:
    # Readers that go by it take the data for PyTorch's; without it transformers 4 reads nothing.
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for entry in entries:
        header[entry.name] = {
            "dtype": DTYPE_NAMES[entry.dtype],
            "shape": list(entry.shape),
            "data_offsets": [offset, offset + entry.num_bytes],
        }
        offset += entry.num_bytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT_BYTES)
    return len(text).to_bytes(8, "little") + text


def _write_tensor(handle: BinaryIO, entry: TensorEntry, tensor: Tensor) -> None:
    if tuple(tensor.shape) != entry.shape:
        raise ValueError(f"{entry.name}: shape {tuple(tensor.shape)}, expected {entry.shape}")
    is_narrower = torch.finfo(entry.dtype).max < torch.finfo(tensor.dtype).max
    for piece in tensor.reshape(-1).split(_PIECE_BYTES // tensor.dtype.itemsize):
        converted = piece.to(entry.dtype)
        if is_narrower:
            _require_finite(entry, piece[converted.isinf() & piece.isfinite()])
        handle.write(converted.view(torch.uint8).numpy().data)


def _require_finite(entry: TensorEntry, lost: Tensor) -> None:
    if lost.numel():
        name, limit = str(entry.dtype).removeprefix("torch."), torch.finfo(entry.dtype).max
        raise DataError(
            f"{entry.name}: holds {lost[0].item():g}, and {name} ends at {limit:g}; choose "
            "another --dtype"
        )
