"""checkpoint: what is written is read back bit for bit, or refused."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections import namedtuple
from itertools import count

import pytest
import safetensors.torch
import torch

from llmctl.core.artifacts.checkpoint import (
    POSITION_NAME,
    TENSORS_NAME,
    checkpoint_path,
    read_checkpoint,
    write_checkpoint,
)
from llmctl.core.artifacts.run_directory import checkpoint_steps
from llmctl.core.errors import DataError, MissingInputError, StorageError
from llmctl.core.manifest import Identity, read_manifest, write_manifest

POSITION = {"step": 500, "best_loss": 2.5, "最后": [1, 2]}


def some_tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    stack = torch.randn(2, 3, 4, generator=generator)
    return {
        "model.weight": torch.randn(3, 4, generator=generator),
        "model.turned": torch.randn(4, 3, generator=generator).T,
        "momentum.a": stack[0],
        "momentum.b": stack[1],
        "num_steps": torch.tensor(500),
        "half": torch.ones(2, dtype=torch.bfloat16) / 3,
        "learned": torch.nn.Parameter(torch.ones(2)),
    }


@pytest.fixture
def saved(tmp_path):
    path = checkpoint_path(tmp_path, 500)
    write_checkpoint(path, some_tensors(), POSITION, training_key="ab" * 32)
    return path


def test_is_read_back_bit_for_bit(saved):
    tensors, position = read_checkpoint(saved)

    assert position == POSITION
    assert sorted(tensors) == sorted(some_tensors())
    for name, tensor in some_tensors().items():
        assert tensors[name].dtype == tensor.dtype
        assert torch.equal(tensors[name], tensor)


def test_is_an_artifact_of_its_training_in_open_formats(saved):
    manifest = read_manifest(saved)

    assert saved.name == "step-00000500"
    assert manifest is not None
    assert (manifest.kind, manifest.parents) == ("checkpoint", {"training": "ab" * 32})
    assert sorted(manifest.files) == [POSITION_NAME, TENSORS_NAME]
    assert sorted(path.name for path in saved.parent.iterdir()) == [saved.name]
    assert json.loads((saved / POSITION_NAME).read_text("utf-8"))["step"] == 500


def test_the_same_state_gives_the_same_bytes(saved, tmp_path):
    path = checkpoint_path(tmp_path / "other", 500)
    path.parent.mkdir()
    write_checkpoint(path, some_tensors(), POSITION, training_key="cd")

    assert (path / TENSORS_NAME).read_bytes() == (saved / TENSORS_NAME).read_bytes()


def test_killed_after_any_operation_the_checkpoint_before_is_whole(tmp_path, killed_after):
    states = []
    for num_operations in count(1):
        training = tmp_path / str(num_operations)
        training.mkdir()
        tensors = {"a": torch.ones(1)}
        write_checkpoint(checkpoint_path(training, 1), tensors, {"step": 1}, training_key="k")

        def act(training=training, tensors=tensors):
            write_checkpoint(checkpoint_path(training, 2), tensors, {"step": 2}, training_key="k")

        if not killed_after(num_operations, act):
            break
        states.append(checkpoint_steps(training))
        for step in states[-1]:
            assert read_checkpoint(checkpoint_path(training, step))[1] == {"step": step}
        act()
        assert checkpoint_steps(training) == [1, 2]

    assert sorted(map(tuple, states)) == list(map(tuple, states))
    assert {tuple(state) for state in states} == {(1,), (1, 2)}


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        pytest.param(lambda path: shutil.rmtree(path), MissingInputError, "no finished", id="gone"),
        pytest.param(
            lambda path: (path / TENSORS_NAME).unlink(), MissingInputError, "missing", id="half"
        ),
        pytest.param(
            lambda path: (path / TENSORS_NAME).write_bytes(b"x"), DataError, "damaged", id="cut off"
        ),
    ],
)
def test_what_is_not_whole_is_refused(saved, damage, error, message):
    damage(saved)

    with pytest.raises(error, match=message):
        read_checkpoint(saved)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        pytest.param(TENSORS_NAME, b"no tensors", id="tensors"),
        pytest.param(POSITION_NAME, b"{", id="position"),
        pytest.param(POSITION_NAME, b"\xff", id="position that is no text"),
    ],
)
def test_files_of_another_format_are_refused(tmp_path, name, content):
    (tmp_path / TENSORS_NAME).write_bytes(safetensors.torch.save({"a": torch.ones(1)}))
    (tmp_path / POSITION_NAME).write_text("{}")
    (tmp_path / name).write_bytes(content)
    write_manifest(tmp_path, Identity("checkpoint", {}), {})

    with pytest.raises(DataError, match="cannot be read: "):
        read_checkpoint(tmp_path)


def test_space_is_asked_for_before_anything_is_written(saved, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(10**9, 0, 100))

    with pytest.raises(StorageError, match=r"are needed and .* are free"):
        write_checkpoint(
            checkpoint_path(saved.parent, 501), some_tensors(), {"step": 501}, training_key="k"
        )

    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_a_full_disk_keeps_the_checkpoint_before(saved, monkeypatch):
    def refuse(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(StorageError, match="free some space"):
            write_checkpoint(
                checkpoint_path(saved.parent, 501), some_tensors(), {"step": 501}, training_key="k"
            )

    assert checkpoint_steps(saved.parent) == [500]
    assert read_checkpoint(saved)[1] == POSITION
