"""Where the arithmetic runs and in which type: asked for by name, or by what is there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from llmctl.core.errors import DeviceError, UsageError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
DEVICE_NAMES = ("auto", "cpu", "cuda", "mps")


def resolve_device(name: str = "auto") -> torch.device:
    """Return the device of that name; "auto" is CUDA, else MPS, else the CPU.

    Raises:
        UsageError: An unknown name.
        DeviceError: This machine, or this PyTorch, has no such device.
    """
    if name not in DEVICE_NAMES:
        raise UsageError(f"unknown device {name!r}; expected one of {', '.join(DEVICE_NAMES)}")
    found = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": _has_mps()}
    if name == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if found[kind]))
    if not found[name]:
        present = ", ".join(kind for kind, is_there in found.items() if is_there)
        raise DeviceError(
            f"no {name} device: PyTorch {torch.__version__} finds only {present} here; "
            "use --device auto"
        )
    return torch.device(name)


def resolve_dtype(name: str, device: torch.device) -> str:
    """Return "float32", "bfloat16" or "float16"; "auto" is what the device computes fast.

    That is bfloat16 on CUDA with hardware for it and on a CPU with AVX512_BF16 or AMX;
    without them, bfloat16 products on a CPU are far slower than those in float32.

    Raises:
        UsageError: An unknown name.
    """
    if name == "auto":
        return "bfloat16" if _has_fast_bfloat16(device) else "float32"
    if name not in DTYPES:
        raise UsageError(f"unknown dtype {name!r}; expected auto, {', '.join(DTYPES)}")
    return name


def _has_mps() -> bool:
    return torch.backends.mps.is_available()


def _has_fast_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        # Before compute capability 8 bfloat16 is emulated, which this call also counts as support.
        return torch.cuda.get_device_capability(device)[0] >= 8 and torch.cuda.is_bf16_supported()
    if device.type == "cpu":
        return _cpu_has("_is_avx512_bf16_supported") or _cpu_has("_is_amx_tile_supported")
    return False


def _cpu_has(probe_name: str) -> bool:
    # Private to PyTorch, so a version without the probe means only that we do not know.
    probe: Callable[[], Any] | None = getattr(torch.cpu, probe_name, None)
    return probe is not None and bool(probe())
