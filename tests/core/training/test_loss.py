"""loss: worked by hand, then equal to PyTorch's over all the logits, gradients too."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from llmctl.core.training import loss
from llmctl.core.training.loss import cross_entropy_sum


def factors(num_tokens: int, width: int = 5, vocab_size: int = 11):
    generator = torch.Generator().manual_seed(num_tokens)
    states_ND = torch.randn(num_tokens, width, generator=generator, dtype=torch.float64)
    weight_VD = torch.randn(vocab_size, width, generator=generator, dtype=torch.float64)
    targets_N = torch.randint(vocab_size, (num_tokens,), generator=generator)
    return states_ND.requires_grad_(), weight_VD.requires_grad_(), targets_N


def test_by_hand():
    """Logits (0, 0) give ln 2; logits (ln 3, 0) give ln 4/3 or ln 4."""
    states_ND = torch.tensor([[0.0], [math.log(3)], [math.log(3)]])
    weight_VD = torch.tensor([[1.0], [0.0]])

    total = cross_entropy_sum(states_ND, weight_VD, torch.tensor([0, 0, 1]))

    assert total.item() == pytest.approx(math.log(2) + math.log(4 / 3) + math.log(4))


@pytest.mark.parametrize(
    "num_tokens",
    [
        pytest.param(1, id="one token"),
        pytest.param(3, id="less than a chunk"),
        pytest.param(4, id="a chunk exactly"),
        pytest.param(9, id="two chunks and one token"),
    ],
)
def test_equals_cross_entropy_over_all_logits_gradients_too(num_tokens, monkeypatch):
    monkeypatch.setattr(loss, "CHUNK_TOKENS", 4)
    ours, theirs = factors(num_tokens), factors(num_tokens)

    total = cross_entropy_sum(*ours)
    (total * 0.25).backward()
    expected = functional.cross_entropy(theirs[0] @ theirs[1].T, theirs[2], reduction="sum")
    (expected * 0.25).backward()

    assert total.item() == pytest.approx(expected.item(), rel=1e-6)
    torch.testing.assert_close(ours[0].grad, theirs[0].grad, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(ours[1].grad, theirs[1].grad, rtol=1e-5, atol=1e-6)


def test_a_tied_matrix_gathers_both_of_its_gradients():
    def run(sum_of) -> torch.Tensor:
        _, weight_VD, targets_N = factors(6)
        sum_of(weight_VD[targets_N].tanh(), weight_VD, targets_N).backward()
        assert weight_VD.grad is not None
        return weight_VD.grad

    def whole(states_ND, weight_VD, targets_N):
        return functional.cross_entropy(states_ND @ weight_VD.T, targets_N, reduction="sum")

    torch.testing.assert_close(run(cross_entropy_sum), run(whole), rtol=1e-5, atol=1e-6)


def test_states_may_be_narrower_than_the_weights():
    states_ND, weight_VD, targets_N = factors(6)
    narrow_ND = states_ND.detach().bfloat16().requires_grad_()
    wide_VD = weight_VD.detach().float().requires_grad_()

    cross_entropy_sum(narrow_ND, wide_VD, targets_N).backward()
    functional.cross_entropy(states_ND @ weight_VD.T, targets_N, reduction="sum").backward()

    assert (narrow_ND.grad.dtype, wide_VD.grad.dtype) == (torch.bfloat16, torch.float32)
    torch.testing.assert_close(narrow_ND.grad.double(), states_ND.grad, rtol=0.05, atol=0.05)
    torch.testing.assert_close(wide_VD.grad.double(), weight_VD.grad, rtol=0.05, atol=0.05)


def test_large_logits_stay_finite():
    total = cross_entropy_sum(
        torch.tensor([[1000.0]]), torch.tensor([[1.0], [0.0]]), torch.tensor([1])
    )

    assert total.item() == pytest.approx(1000.0)


def test_without_gradients_it_is_the_same_number():
    states_ND, weight_VD, targets_N = factors(5)

    with torch.no_grad():
        silent = cross_entropy_sum(states_ND, weight_VD, targets_N)

    assert silent.item() == cross_entropy_sum(states_ND, weight_VD, targets_N).item()
    assert not silent.requires_grad
