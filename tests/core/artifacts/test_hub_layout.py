"""is_whole: a config, all weights and a tokenizer, or not."""

from __future__ import annotations

import pytest
from fake_hub import SHARDED, WHOLE

from llmctl.core.artifacts.hub_layout import is_whole


def write(directory, files):
    for name, content in files.items():
        (directory / name).write_bytes(content)


@pytest.mark.parametrize("files", [WHOLE, SHARDED], ids=["one file", "shards"])
def test_every_file_counts(files, tmp_path):
    write(tmp_path, files)
    assert is_whole(tmp_path)

    for name in files:
        (tmp_path / name).rename(tmp_path / "aside")
        assert not is_whole(tmp_path), name
        (tmp_path / name).symlink_to("nowhere")
        assert not is_whole(tmp_path), name
        (tmp_path / name).unlink()
        (tmp_path / "aside").rename(tmp_path / name)


def test_what_is_no_directory_is_not_whole(tmp_path):
    assert not is_whole(tmp_path / "absent")


def test_a_damaged_index_is_left_to_whoever_reads_it(tmp_path):
    write(tmp_path, {**SHARDED, "model.safetensors.index.json": b"{"})

    assert is_whole(tmp_path)


def test_one_whole_file_needs_no_index(tmp_path):
    write(tmp_path, {**WHOLE, "model.safetensors.index.json": b"{}"})

    assert is_whole(tmp_path)
