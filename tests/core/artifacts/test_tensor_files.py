"""TensorFiles: one file or several, copied into tensors of ours, damaged in every way."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmctl.core.artifacts import tensor_files
from llmctl.core.artifacts.tensor_files import TensorFiles
from llmctl.core.errors import DataError, MissingInputError

WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"
FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
DAMAGED = r"damaged or cut short: .*; fetch or write it again"


def write_by_hand(path, header, data=b"", length=None):
    """The format in three lines: eight bytes of length, the header, the data."""
    written = header if isinstance(header, bytes) else json.dumps(header).encode()
    size = len(written) if length is None else length
    path.write_bytes(size.to_bytes(8, "little") + written + data)


def entry(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


@pytest.fixture
def directory(tmp_path):
    """Two shards, 甲 in the second; to be changed at will."""
    safetensors.torch.save_file({"a": torch.arange(6.0).view(2, 3)}, tmp_path / FIRST)
    safetensors.torch.save_file(
        {"甲": torch.arange(4.0).bfloat16(), "one": torch.tensor(7.0)}, tmp_path / SECOND
    )
    write_index(tmp_path, {"a": FIRST, "甲": SECOND, "one": SECOND})
    return tmp_path


def write_index(directory, weight_map):
    content = {"metadata": {"total_size": 36}, "weight_map": weight_map}
    (directory / INDEX).write_text(json.dumps(content), encoding="utf-8")


def test_reads_a_file_written_by_hand(tmp_path):
    header = {
        "__metadata__": {"format": "pt"},
        "half": entry("BF16", [2], 0, 4),
        "x": entry("F32", [1, 2], 4, 12),
    }
    # 1.5 is 0x3fc0 in bfloat16 and 0x3fc00000 in float32.
    write_by_hand(
        tmp_path / WHOLE, header, bytes.fromhex("c03f 00c0") + bytes.fromhex("0000c03f 00000000")
    )

    files = TensorFiles(tmp_path)

    assert files.path == tmp_path / WHOLE
    assert files.shapes == {"half": (2,), "x": (1, 2)}
    assert files.dtypes == {"half": "BF16", "x": "F32"}
    found = dict(files.read(["x", "half"]))
    assert list(found) == ["x", "half"]
    assert found["x"].tolist() == [[1.5, 0.0]]
    assert found["half"].tolist() == [1.5, -2.0]
    assert (found["x"].dtype, found["half"].dtype) == (torch.float32, torch.bfloat16)


@pytest.mark.parametrize("padding", range(4), ids=lambda padding: f"data {padding} bytes off")
def test_data_may_lie_anywhere(padding, tmp_path):
    header = json.dumps({"x": entry("F32", [3], 0, 12)}).encode() + b" " * padding
    write_by_hand(tmp_path / WHOLE, header, torch.tensor([1.0, -2.0, 3.0]).numpy().tobytes())

    (_, tensor), *_ = TensorFiles(tmp_path).read(["x"])

    assert tensor.tolist() == [1.0, -2.0, 3.0]


def test_reads_shards_as_one(directory):
    files = TensorFiles(directory)

    assert files.path == directory / INDEX
    assert files.shapes == {"a": (2, 3), "甲": (4,), "one": ()}
    found = {name: tensor.tolist() for name, tensor in files.read(["one", "甲", "a"])}
    assert found == {"one": 7.0, "甲": [0, 1, 2, 3], "a": [[0, 1, 2], [3, 4, 5]]}


def test_the_whole_file_comes_before_the_index(directory):
    safetensors.torch.save_file({"whole": torch.ones(1)}, directory / WHOLE)

    assert TensorFiles(directory).shapes == {"whole": (1,)}


def test_a_shard_may_be_a_link_into_the_hubs_cache(directory):
    blobs = directory / "blobs"
    blobs.mkdir()
    (directory / FIRST).rename(blobs / "0123")
    (directory / FIRST).symlink_to("blobs/0123")

    assert dict(TensorFiles(directory).read(["a"]))["a"].sum() == 15


@pytest.mark.parametrize("stored", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("wanted", [torch.float32, torch.float16, torch.bfloat16])
def test_converts_as_torch_does(stored, wanted, tmp_path):
    values = torch.linspace(-3, 3, 12).view(3, 4).to(stored)
    safetensors.torch.save_file({"x": values}, tmp_path / WHOLE)
    target = torch.zeros(3, 4, dtype=wanted)

    TensorFiles(tmp_path).fill({"x": target})

    assert torch.equal(target, values.to(wanted))


def test_fills_views_of_a_parameter(tmp_path):
    tensors = {"q": torch.randn(2, 3), "kv": torch.randn(3, 4), "b": torch.randn(6)}
    safetensors.torch.save_file(tensors, tmp_path / WHOLE)
    fused = torch.nn.Parameter(torch.zeros(6, 3))
    bias = torch.nn.Parameter(torch.zeros(6))

    TensorFiles(tmp_path).fill({"q": fused[:2], "kv": fused[2:].t(), "b": bias})

    assert torch.equal(fused, torch.cat([tensors["q"], tensors["kv"].t()]))
    assert torch.equal(bias, tensors["b"])
    assert bias.requires_grad


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.lists(st.integers(0, 7), max_size=3),
    piece_bytes=st.integers(4, 100),
    transposed=st.booleans(),
)
def test_pieces_join_without_a_seam(shape, piece_bytes, transposed, tmp_path, monkeypatch):
    monkeypatch.setattr(tensor_files, "_PIECE_BYTES", piece_bytes)
    tensors = {"before": torch.randn(5), "x": torch.randn(shape)}
    safetensors.torch.save_file(tensors, tmp_path / WHOLE)
    target = torch.full(shape[::-1] if transposed else shape, torch.nan)
    target = target.permute(list(range(target.ndim))[::-1]) if transposed else target

    TensorFiles(tmp_path).fill({"x": target})

    assert torch.equal(target, tensors["x"])


MEASURED = """
import sys, torch
from pathlib import Path
from llmctl.core.artifacts import tensor_files

def status(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))

files = tensor_files.TensorFiles(Path(sys.argv[1]))
tensor_files._PIECE_BYTES = int(sys.argv[3]) or tensor_files._PIECE_BYTES
target = torch.ones(files.shapes["x"], dtype=getattr(torch, sys.argv[2]))
before = status("VmRSS")
files.fill({"x": target})
assert target.sum() == 0
print((status("VmHWM") - before) / target.nbytes)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("dtype", "piece_bytes", "is_bounded"),
    [
        pytest.param("float32", 0, True, id="converted"),
        pytest.param("bfloat16", 0, True, id="as stored"),
        pytest.param("bfloat16", 2**40, False, id="in one piece, to see that this can fail"),
    ],
)
def test_weights_are_in_memory_once(dtype, piece_bytes, is_bounded, tmp_path):
    rows, columns = 12_800, 8_192
    num_bytes = rows * columns * 2
    write_by_hand(tmp_path / WHOLE, {"x": entry("BF16", [rows, columns], 0, num_bytes)})
    with (tmp_path / WHOLE).open("r+b") as handle:
        handle.truncate(handle.seek(0, 2) + num_bytes)

    arguments = [str(tmp_path), dtype, str(piece_bytes)]
    finished = subprocess.run(
        [sys.executable, "-c", MEASURED, *arguments], capture_output=True, text=True, check=True
    )

    assert (float(finished.stdout) < 0.2) == is_bounded


@pytest.mark.parametrize("share", [0.999, 0.5, 0.01, 0])
def test_refuses_a_shard_cut_short(share, directory):
    data = (directory / SECOND).read_bytes()
    (directory / SECOND).write_bytes(data[: int(len(data) * share)])

    with pytest.raises(DataError, match=f"{SECOND}: {DAMAGED}"):
        TensorFiles(directory)


@pytest.mark.parametrize(
    ("header", "length"),
    [
        pytest.param(b"not JSON", None, id="no JSON"),
        pytest.param(b"[" * 100_000, None, id="nested without end"),
        pytest.param({"x": 1}, None, id="no description of a tensor"),
        pytest.param({"x": entry("F32", [3], 0, 8)}, None, id="size against shape"),
        pytest.param({"x": entry("F32", [-2], 0, 8)}, None, id="negative side"),
        pytest.param({"x": entry("F32", [2**62, 2**62], 0, 8)}, None, id="uncountable"),
        pytest.param({"x": entry("F32", [2], 8, 16)}, None, id="hole"),
        pytest.param(
            {"x": entry("F32", [2], 0, 8), "y": entry("F32", [2], 0, 8)}, None, id="overlap"
        ),
        pytest.param({"x": entry("F32", [2**40], 0, 2**42)}, None, id="data that is not there"),
        pytest.param({"x": entry("float", [2], 0, 8)}, None, id="unknown type"),
        pytest.param({}, 2**20, id="header longer than the file"),
    ],
)
def test_refuses_a_header(header, length, tmp_path):
    write_by_hand(tmp_path / WHOLE, header, bytes(8), length)

    with pytest.raises(DataError, match=f"{WHOLE}: {DAMAGED}"):
        TensorFiles(tmp_path)


@pytest.mark.parametrize("length", [2**26 + 1, 2**64 - 1])
def test_does_not_read_a_huge_header(length, tmp_path):
    write_by_hand(tmp_path / WHOLE, {}, length=length)

    with pytest.raises(DataError, match=f"a header of {length:,} bytes, and at most 67,108,864"):
        TensorFiles(tmp_path)


@pytest.mark.parametrize(
    "file_name",
    [
        "../x.safetensors",
        "/etc/passwd",
        "/etc/x.safetensors",
        "sub/x.safetensors",
        "..\\x.safetensors",
        "x.bin",
        pytest.param("a\0.safetensors", id="with a zero byte"),
        "..",
        "",
        7,
        None,
        pytest.param("x" * 10_000, id="long"),
    ],
)
def test_an_index_names_only_files_beside_it(file_name, directory):
    write_index(directory, {"a": file_name})

    with pytest.raises(DataError, match=f"{INDEX}: weight_map names .*; expected the plain name"):
        TensorFiles(directory)


def test_a_refusal_is_short_whatever_was_found(directory):
    write_index(directory, {"a": "x" * 10_000})

    with pytest.raises(DataError) as caught:
        TensorFiles(directory)
    assert len(str(caught.value)) < 300 + len(str(directory))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "not JSON"),
        (b"[1]", "expected a JSON object, found a list"),
        (b"{}", "expected a weight_map from tensors to files, found none"),
        (b'{"weight_map": ["a"]}', "expected a weight_map from tensors to files, found none"),
        (b'{"weight_map": {}}', "expected a weight_map from tensors to files, found none"),
    ],
)
def test_refuses_what_is_no_index(content, message, directory):
    (directory / INDEX).write_bytes(content)

    with pytest.raises(DataError, match=f"{INDEX}: {message}"):
        TensorFiles(directory)


def test_does_not_read_a_huge_index(directory):
    with (directory / INDEX).open("r+b") as handle:
        handle.truncate(64 * 2**20 + 1)

    with pytest.raises(DataError, match=f"{INDEX}: too large; at most 67,108,864 bytes are read"):
        TensorFiles(directory)


def test_says_which_shard_is_missing(directory):
    (directory / SECOND).unlink()

    with pytest.raises(MissingInputError, match=f"{SECOND}: not found, and {INDEX} names it"):
        TensorFiles(directory)


@pytest.mark.parametrize(
    ("weight_map", "message"),
    [
        ({"a": FIRST}, None),
        ({"a": FIRST, "甲": SECOND}, f"{SECOND}: holds tensor 'one', and by {INDEX} it should not"),
        ({"a": SECOND, "甲": SECOND, "one": FIRST}, "holds tensor '(one|甲)', and by"),
        (
            {"a": FIRST, "b": FIRST, "甲": SECOND, "one": SECOND},
            f"{INDEX}: tensor 'b' should be in {FIRST} and is not",
        ),
    ],
)
def test_index_and_shards_agree(weight_map, message, directory):
    write_index(directory, weight_map)
    if message is None:
        assert TensorFiles(directory).shapes.keys() == {"a"}
        return

    with pytest.raises(DataError, match=message):
        TensorFiles(directory)


@pytest.mark.parametrize(
    ("there", "message"),
    [
        (None, f"{WHOLE}: not found; is this a model directory?"),
        ("pytorch_model.bin", "pytorch_model.bin may be a pickle, .* never opened; convert it"),
        ("pytorch_model-00001-of-00002.bin", "may be a pickle"),
        ("pytorch_model.bin.index.json", "may be a pickle"),
    ],
)
def test_says_what_is_there_instead_of_weights(there, message, tmp_path):
    if there is not None:
        (tmp_path / there).write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")

    with pytest.raises(MissingInputError, match=message):
        TensorFiles(tmp_path)


def test_refuses_what_was_not_asked_for(directory):
    safetensors.torch.save_file(
        {"甲": torch.arange(4), "one": torch.tensor(7.0)}, directory / SECOND
    )
    files = TensorFiles(directory)

    files.require("a", (2, 3))
    files.refuse_others(frozenset(["a", "甲", "one"]))
    for refused, message in (
        (lambda: files.require_name("b"), f"{INDEX}: tensor b is missing, which config.json calls"),
        (lambda: files.require("a", (3, 2)), rf"{FIRST}: a has the shape \[2, 3\], .* be \[3, 2\]"),
        (lambda: files.require("甲", (4,)), f"{SECOND}: 甲 is of type I64; expected one of F32"),
        (lambda: files.refuse_others(frozenset(["a"])), "2 tensors have no place .* being 'one'"),
        (lambda: files.fill({"a": torch.zeros(3)}), r"a has the shape \[2, 3\]"),
        (lambda: files.fill({"b": torch.zeros(3)}), "tensor b is missing"),
        (lambda: list(files.read(["b"])), "tensor b is missing"),
        (lambda: list(files.read(["甲"])), "甲 is of type I64"),
    ):
        with pytest.raises(DataError, match=message):
            refused()


def test_a_refused_fill_changes_nothing(directory):
    target = torch.zeros(2, 3)

    with pytest.raises(DataError, match="tensor b is missing"):
        TensorFiles(directory).fill({"a": target, "b": torch.zeros(1)})
    assert not target.any()


@pytest.mark.parametrize("change", ["cut", "gone"])
def test_a_file_that_changes_under_it_is_told(change, directory):
    files = TensorFiles(directory)
    (directory / FIRST).unlink()
    if change == "cut":
        (directory / FIRST).write_bytes(bytes(20))

    with pytest.raises(DataError, match=f"{FIRST}: {DAMAGED}"):
        files.fill({"a": torch.zeros(2, 3)})


def test_what_fails_in_the_target_is_not_blamed_on_the_file(directory):
    with pytest.raises(RuntimeError, match="refers to a single memory location"):
        TensorFiles(directory).fill({"a": torch.zeros(1, 3).expand(2, 3)})
