"""One saved moment of a training: `step-00000500/` with tensors, a little JSON, a manifest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from llmctl.core import atomic
from llmctl.core.errors import DataError
from llmctl.core.manifest import Identity, check_files, require_manifest, write_manifest

TENSORS_NAME = "state.safetensors"
POSITION_NAME = "position.json"
KIND = "checkpoint"


def checkpoint_path(training: Path, step: int) -> Path:
    """Where the checkpoint after `step` finished steps lies."""
    return training / f"step-{step:08d}"


def write_checkpoint(
    path: Path,
    tensors: Mapping[str, Tensor],
    position: Mapping[str, Any],
    *,
    training_key: str,
) -> None:
    """Publish a checkpoint as a whole, or leave nothing behind that looks like one.

    Raises:
        StorageError: The disk is full; the checkpoints before stay as they are.
    """
    work = path.with_name(f".work-{path.name}")
    with atomic.storage_errors(path):
        atomic.require_space(path.parent, sum(tensor.nbytes for tensor in tensors.values()))
        atomic.remove_tree(work)
        work.mkdir(parents=True)
        contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        data = safetensors.torch.save(contiguous)
        (work / TENSORS_NAME).write_bytes(data)
        atomic.observer("write", work / TENSORS_NAME)
        (work / POSITION_NAME).write_text(json.dumps(position), encoding="utf-8")
        atomic.observer("write", work / POSITION_NAME)
        identity = Identity(KIND, {"step": position["step"]}, {"training": training_key})
        write_manifest(work, identity, {"step": position["step"]})
        atomic.publish_directory(work, path)


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors (on the CPU) and the position of a checkpoint, checked by content.

    Raises:
        MissingInputError: It is not whole.
        DataError: A file differs from its manifest, or cannot be read.
    """
    manifest = require_manifest(path, KIND)
    check_files(path, manifest)
    try:
        tensors = safetensors.torch.load((path / TENSORS_NAME).read_bytes())
        position = json.loads((path / POSITION_NAME).read_text(encoding="utf-8"))
    except (ValueError, safetensors.SafetensorError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    return tensors, position
