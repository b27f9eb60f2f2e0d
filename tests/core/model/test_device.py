"""Devices and types by name, and what `auto` makes of the machine."""

import pytest
import torch

from llmctl.core.errors import DeviceError, UsageError
from llmctl.core.model.device import DTYPES, resolve_device, resolve_dtype

CPU = torch.device("cpu")


@pytest.fixture
def bare_machine(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


def test_auto_takes_what_is_there(monkeypatch, bare_machine):
    assert resolve_device("auto") == CPU
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert resolve_device("auto").type == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto").type == "cuda"


def test_an_absent_device_is_an_error_with_a_way_out(bare_machine):
    with pytest.raises(DeviceError, match=r"no cuda device: .* finds only cpu here; use --device"):
        resolve_device("cuda")
    with pytest.raises(DeviceError, match="no mps device"):
        resolve_device("mps")
    with pytest.raises(UsageError, match="unknown device 'tpu'; expected one of auto, cpu"):
        resolve_device("tpu")


@pytest.mark.parametrize(
    ("probes", "expected"),
    [
        pytest.param({}, "float32", id="probes that this PyTorch lacks"),
        pytest.param({"_is_avx512_bf16_supported": False}, "float32", id="AVX2"),
        pytest.param({"_is_avx512_bf16_supported": True}, "bfloat16", id="AVX512_BF16"),
        pytest.param({"_is_amx_tile_supported": True}, "bfloat16", id="AMX"),
    ],
)
def test_auto_dtype_on_a_cpu_is_what_it_computes_fast(monkeypatch, probes, expected):
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.delattr(torch.cpu, name, raising=False)
    for name, answer in probes.items():
        monkeypatch.setattr(torch.cpu, name, lambda answer=answer: answer, raising=False)

    assert resolve_dtype("auto", CPU) == expected


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), "float32"), ((9, 0), "bfloat16")])
def test_auto_dtype_on_cuda_needs_hardware(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)

    assert resolve_dtype("auto", torch.device("cuda")) == expected


def test_a_named_dtype_is_taken_at_its_word():
    assert [resolve_dtype(name, CPU) for name in DTYPES] == list(DTYPES)
    assert resolve_dtype("auto", torch.device("mps")) == "float32"
    with pytest.raises(UsageError, match="unknown dtype 'int8'; expected auto, float32"):
        resolve_dtype("int8", CPU)
