"""How fast the weights could be read at best: the bound of writing one text at a time."""

from __future__ import annotations

import time

import torch

from llmctl.core.model.transformer import Transformer

_NUM_BYTES = 1 << 28  # far beyond any cache but the largest, read in some hundredths of a second
_NUM_READINGS = 5


@torch.inference_mode()
def read_bandwidth(device: torch.device) -> float:
    """Measure how many bytes a second the device reads, the best of a few times."""
    values = torch.ones(_NUM_BYTES // 4, device=device)
    best = float("inf")
    for _ in range(_NUM_READINGS):
        start = time.perf_counter()
        float(values.sum())  # waits for the device
        best = min(best, time.perf_counter() - start)
    return _NUM_BYTES / best


def bytes_per_token(model: Transformer, num_tokens_before: float) -> int:
    """Return how many bytes of weights, keys and values one more token of a text takes.

    Args:
        model: Tables of which only a row is read do not count; of experts, those chosen do.
        num_tokens_before: Whose keys and values are read, windows aside.
    """
    architecture = model.architecture
    num_bytes = 0.0
    for name, parameter in model.named_parameters():
        is_table = name in model.table_names and parameter is not model.output_weight
        if not is_table:
            num_bytes += parameter.numel() * parameter.element_size() * _share(model, name)
    width = architecture.num_key_value_heads * architecture.head_width
    size = 2 * width * model.output_weight.element_size()
    for layer in architecture.layers:
        num_bytes += size * min(num_tokens_before, layer.window or num_tokens_before)
    return int(num_bytes)


def _share(model: Transformer, name: str) -> float:
    if not name.endswith((".experts.gate_up", ".experts.down")):
        return 1.0
    experts = model.architecture.layers[int(name.split(".")[1])].experts
    return 1.0 if experts is None else experts.num_chosen / experts.num_experts
