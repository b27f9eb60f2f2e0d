"""How many bytes a token takes, counted by hand."""

from dataclasses import replace

import pytest
import torch

from llmctl.core.model import bandwidth
from llmctl.core.model.architecture import Architecture, Experts, Layer, Norm
from llmctl.core.model.bandwidth import bytes_per_token, read_bandwidth
from llmctl.core.model.transformer import Transformer

BARE = Architecture(
    vocab_size=10,
    width=4,
    num_heads=2,
    num_key_value_heads=1,
    head_width=2,
    mlp_width=3,
    context_tokens=100,
    layers=(Layer(1.0),) * 2,
    norm=Norm(1e-6),
    tie_embeddings=True,
)
# Two norms, queries, keys and values, their output; gate and up, down.
ATTENTION, MLP = 4 + 4 + (4 + 2 + 2) * 4 + 4 * 4, 2 * 3 * 4 + 4 * 3
OUTPUT = 4 + 10 * 4  # the last norm and the matrix
KEYS_VALUES = 2 * 2  # of a token before, in a layer
EXPERTS = Experts(num_experts=8, num_chosen=2, width=5, is_normalised=False)


def numbers_read(num_before=0, dtype=torch.float32, **changes):
    """How many numbers a token takes."""
    model = Transformer(replace(BARE, **changes)).to(dtype)
    return bytes_per_token(model, num_before) / dtype.itemsize


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="the embedding is the output"),
        pytest.param({"tie_embeddings": False}, id="of an embedding of its own, one row"),
        pytest.param({"has_position_table": True}, id="of learned positions, one row"),
        pytest.param({"context_tokens": 10**6}, id="not of the context"),
    ],
)
def test_weights_by_hand(changes):
    assert numbers_read(**changes) == 2 * (ATTENTION + MLP) + OUTPUT


def test_keys_and_values_by_hand():
    weights = numbers_read()

    assert numbers_read(num_before=7) == weights + 2 * 7 * KEYS_VALUES
    assert numbers_read(num_before=7.5) == weights + 2 * 7.5 * KEYS_VALUES
    assert numbers_read(num_before=7, dtype=torch.bfloat16) == weights + 2 * 7 * KEYS_VALUES


@pytest.mark.parametrize(("num_before", "in_window"), [(3, 3), (5, 5), (60, 5)])
def test_a_window_is_all_that_is_read(num_before, in_window):
    layers = (Layer(1.0, window=5), Layer(1.0))

    found = numbers_read(num_before, layers=layers) - numbers_read()

    assert found == (in_window + num_before) * KEYS_VALUES


def test_of_experts_those_chosen_are_read():
    layers = (Layer(1.0, experts=EXPERTS), Layer(1.0))
    one_expert = 3 * 5 * 4

    # The other layer keeps its one MLP.
    expected = 2 * ATTENTION + MLP + 8 * 4 + 2 * one_expert + OUTPUT

    assert numbers_read(layers=layers) == expected


def test_bandwidth_is_bytes_over_the_best_time(monkeypatch):
    clock = iter([0.0, 4.0, 10.0, 12.0, 20.0, 28.0, 30.0, 39.0, 40.0, 41.0])
    monkeypatch.setattr(bandwidth, "_NUM_BYTES", 4096)
    monkeypatch.setattr(bandwidth.time, "perf_counter", lambda: next(clock))

    assert read_bandwidth(torch.device("cpu")) == 4096 / 1.0
    assert next(clock, None) is None


def test_bandwidth_of_this_machine():
    found = read_bandwidth(torch.device("cpu"))

    assert 1e8 < found < 1e13
