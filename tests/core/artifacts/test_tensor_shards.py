"""Safetensors written: by hand, by size, in other types; read back by the library."""

from __future__ import annotations

import json
import weakref

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from llmctl.core.artifacts.tensor_files import TensorFiles
from llmctl.core.artifacts.tensor_shards import (
    TensorEntry,
    parse_size,
    plan_shards,
    write_index,
    write_tensors,
)
from llmctl.core.errors import DataError, OutputError, UsageError

WHOLE = "model.safetensors"


def entry(name, num_items, dtype=torch.float32):
    return TensorEntry(name, (num_items,), dtype)


def write(path, tensors, dtype=None):
    """Write tensors by name; return their entries."""
    entries = [
        TensorEntry(name, tuple(tensor.shape), dtype or tensor.dtype)
        for name, tensor in tensors.items()
    ]
    write_tensors(path, entries, lambda entry: tensors[entry.name])
    return entries


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("512", 512),
        ("5GB", 5_000_000_000),
        ("5gb", 5_000_000_000),
        ("2 GiB", 2 * 1024**3),
        ("1.5MB", 1_500_000),
        ("3K", 3_000),
        ("1TiB", 1024**4),
        (" 7B ", 7),
    ],
)
def test_a_size_in_bytes(text, expected):
    assert parse_size(text) == expected


@pytest.mark.parametrize(
    "text", ["", "GB", "-5GB", "5 bananas", "0", "0.0001", "5GBB", "nan", "٥GB"]
)
def test_refuses_what_is_no_size(text):
    with pytest.raises(UsageError, match=r"unknown size .*; expected one such as 5GB, 500MB or 2G"):
        parse_size(text)


def test_the_bytes_are_those_of_the_format(tmp_path):
    write(tmp_path / WHOLE, {"甲": torch.tensor([[1.5, -2.0]]), "b": torch.tensor(1.5).bfloat16()})

    data = (tmp_path / WHOLE).read_bytes()
    length = int.from_bytes(data[:8], "little")
    assert length % 8 == 0  # so that what follows is aligned
    assert json.loads(data[8 : 8 + length]) == {
        "__metadata__": {"format": "pt"},
        "甲": {"dtype": "F32", "shape": [1, 2], "data_offsets": [0, 8]},
        "b": {"dtype": "BF16", "shape": [], "data_offsets": [8, 10]},
    }
    # 1.5 is 0x3fc00000 in float32 and 0x3fc0 in bfloat16; -2 is 0xc0000000.
    assert data[8 + length :] == bytes.fromhex("0000c03f 000000c0 c03f")
    assert [path.name for path in tmp_path.iterdir()] == [WHOLE]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_the_library_reads_them_converted(dtype, tmp_path):
    tensors = {
        "long": torch.randn(3, 700_000),  # of several pieces, the last of them short
        "turned": torch.randn(5, 7).T,
        "empty": torch.zeros(0, 4),
        "infinite": torch.tensor([float("inf"), float("nan")]),
    }
    write(tmp_path / WHOLE, tensors, dtype)

    found = safetensors.torch.load_file(tmp_path / WHOLE)

    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == dtype
        assert torch.equal(found[name].nan_to_num(7), tensor.to(dtype).nan_to_num(7)), name


@pytest.mark.parametrize(
    ("max_bytes", "expected"),
    [
        pytest.param(24, [["a", "b", "c"]], id="all in one"),
        pytest.param(23, [["a", "b"], ["c"]], id="one byte too few"),
        pytest.param(16, [["a", "b"], ["c"]], id="full to the last byte"),
        pytest.param(12, [["a"], ["b"], ["c"]], id="the next one does not fit"),
        pytest.param(1, [["a"], ["b"], ["c"]], id="larger than any: alone"),
    ],
)
def test_files_are_filled_one_after_the_other(max_bytes, expected):
    shards = plan_shards([entry("a", 1), entry("b", 3), entry("c", 2)], max_bytes)

    assert [[each.name for each in shard] for shard in shards.values()] == expected
    count = len(expected)
    names = [f"model-{number:05d}-of-{count:05d}.safetensors" for number in range(1, count + 1)]
    assert list(shards) == ([WHOLE] if count == 1 else names)


@given(
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from([torch.float32, torch.float16]))),
    st.integers(1, 60),
)
def test_every_tensor_is_in_one_file_aligned_and_no_file_too_large(sizes, max_bytes):
    entries = [entry(str(number), *size) for number, size in enumerate(sizes)]

    shards = plan_shards(entries, max_bytes).values()

    placed = [each for shard in shards for each in shard]
    assert sorted(map(repr, placed)) == sorted(map(repr, entries))
    for shard in shards:
        filled = [each.num_bytes for each in shard if each.num_bytes]
        assert sum(filled) <= max_bytes or len(filled) == 1
        assert [each.dtype.itemsize for each in shard] == sorted(
            (each.dtype.itemsize for each in shard), reverse=True
        )


def test_shards_and_their_index_are_read_back(tmp_path):
    tensors = {"a": torch.arange(4.0), "甲": torch.arange(6.0).view(2, 3), "b": torch.ones(1)}
    shards = plan_shards([TensorEntry(n, tuple(t.shape), t.dtype) for n, t in tensors.items()], 20)
    for name, shard in shards.items():
        write_tensors(tmp_path / name, shard, lambda entry: tensors[entry.name])
    write_index(tmp_path, shards)

    index = json.loads((tmp_path / "model.safetensors.index.json").read_text(encoding="utf-8"))
    first, second, third = shards
    assert index == {
        "metadata": {"total_size": 44},
        "weight_map": {"a": first, "甲": second, "b": third},
    }
    assert all(
        torch.equal(found, tensors[name]) for name, found in TensorFiles(tmp_path).read(tensors)
    )


def test_one_tensor_is_in_memory_at_a_time(tmp_path):
    alive = weakref.WeakSet()

    def read(_entry):
        assert not alive, "the one before is still held"
        tensor = torch.ones(100)
        alive.add(tensor)
        return tensor

    write_tensors(tmp_path / WHOLE, [entry(str(number), 100) for number in range(3)], read)

    assert safetensors.torch.load_file(tmp_path / WHOLE).keys() == {"0", "1", "2"}


@pytest.mark.parametrize(
    ("value", "dtype", "message"),
    [
        (
            70_000.0,
            torch.float16,
            r"甲: holds 70000, and float16 ends at 65504; choose another --d",
        ),
        (3.4e38, torch.bfloat16, r"甲: holds 3.4e\+38, and bfloat16 ends at 3.38953e\+38"),
    ],
)
def test_refuses_a_type_that_the_values_are_beyond(value, dtype, message, tmp_path):
    with pytest.raises(DataError, match=message):
        write(tmp_path / WHOLE, {"甲": torch.tensor([float("inf"), 1.0, value])}, dtype)
    assert not (tmp_path / WHOLE).exists()


def test_refuses_a_tensor_of_another_shape(tmp_path):
    with pytest.raises(ValueError, match=r"a: shape \(2, 2\), expected \(4,\)"):
        write_tensors(tmp_path / WHOLE, [entry("a", 4)], lambda _entry: torch.ones(2, 2))


def test_a_place_that_is_no_folder_is_told(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")

    with pytest.raises(OutputError, match="cannot be created: Not a directory"):
        write(tmp_path / "file" / WHOLE, {"a": torch.ones(1)})
