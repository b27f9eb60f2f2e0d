"""batches: a pure function of seed and step that visits each window of an epoch once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from llmctl.core.errors import DataError
from llmctl.core.training import batches as batches_module
from llmctl.core.training.batches import UNLEARNED, Batches


@dataclass
class Split:
    """Tokens that count up from 0, so that a token is its own position."""

    num_tokens: int
    masks: np.ndarray | None = None

    @property
    def tokens(self) -> np.ndarray:
        return np.arange(self.num_tokens, dtype=np.uint16)


def starts_of(batches: Batches, first: int, num_steps: int) -> list[int]:
    return [
        int(row[0]) for step in range(first, first + num_steps) for row in batches.batch(step)[0]
    ]


def test_targets_that_are_not_learned(monkeypatch):
    """The windows by hand, as below; only odd tokens are learned."""
    monkeypatch.setattr(batches_module, "_draw_epoch", lambda *_: (1, np.array([1, 0])))
    masks = np.arange(11, dtype=np.uint8) % 2

    inputs_BT, targets_BT = Batches(Split(11, masks), 3, 2, seed=5).batch(0)

    assert inputs_BT.tolist() == [[4, 5, 6], [1, 2, 3]]
    assert targets_BT.tolist() == [[5, UNLEARNED, 7], [UNLEARNED, 3, UNLEARNED]]


def test_by_hand(monkeypatch):
    """11 tokens and a context of 3 give 2 windows; offset 1 and order (1, 0) were drawn."""
    monkeypatch.setattr(batches_module, "_draw_epoch", lambda *_: (1, np.array([1, 0])))

    batches = Batches(Split(11), 3, 2, seed=5)
    inputs_BT, targets_BT = batches.batch(0)

    assert batches.windows_per_epoch == 2
    assert inputs_BT.tolist() == [[4, 5, 6], [1, 2, 3]]
    assert targets_BT.tolist() == [[5, 6, 7], [2, 3, 4]]
    assert inputs_BT.dtype == targets_BT.dtype == torch.int64


@settings(max_examples=40, deadline=None)
@given(
    num_tokens=st.integers(9, 200),
    context=st.integers(1, 8),
    sequences=st.integers(1, 4),
    seed=st.integers(0, 2**63 - 1),
    epoch=st.integers(0, 3),
)
def test_an_epoch_visits_contiguous_windows_once_each(num_tokens, context, sequences, seed, epoch):
    if (num_tokens - 1) // context - 1 < sequences:
        return
    batches = Batches(Split(num_tokens), context, sequences, seed)
    windows = batches.windows_per_epoch
    first, last = epoch * windows // sequences, -(-(epoch + 1) * windows // sequences)

    skipped = epoch * windows - first * sequences
    starts = sorted(starts_of(batches, first, last - first)[skipped : skipped + windows])

    assert 0 <= starts[0] < context
    assert starts == list(range(starts[0], starts[0] + windows * context, context))
    assert starts[-1] + context < num_tokens
    assert num_tokens - windows * context <= 3 * context


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), steps=st.lists(st.integers(0, 50), min_size=1, max_size=5))
def test_a_step_is_the_same_whatever_was_asked_before(seed, steps):
    used, fresh = Batches(Split(60), 4, 3, seed), Batches(Split(60), 4, 3, seed)
    for step in steps:
        used.batch(step)
    batches_module._draw_epoch.cache_clear()

    for ours, theirs in zip(used.batch(7), fresh.batch(7), strict=True):
        assert torch.equal(ours, theirs)


def test_epochs_and_seeds_have_their_own_offsets_and_orders():
    def epochs(seed: int) -> list[tuple[int, ...]]:
        batches = Batches(Split(8 * 50), 8, 48, seed)
        return [tuple(starts_of(batches, epoch, 1)) for epoch in range(6)]

    assert len({min(epoch) for epoch in epochs(1)}) > 2
    assert len({tuple(start - min(epoch) for start in epoch) for epoch in epochs(1)}) == 6
    assert epochs(1) == epochs(1)
    assert epochs(1) != epochs(2)


def test_the_shortest_split_that_is_enough_and_one_token_less():
    assert Batches(Split(3 * 4 + 1), 4, 2, 0).windows_per_epoch == 2
    with pytest.raises(
        DataError,
        match=r"split has 12 tokens and one step of 2 x 4 needs at least 13; clean more text, or "
        r"lower train.tokens_per_step or model.context_tokens",
    ) as raised:
        Batches(Split(12), 4, 2, 0)

    assert raised.value.exit_code == 65
