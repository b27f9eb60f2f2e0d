"""Scores against a direct loop over log-softmax, and the windows by hand."""

import math

import numpy as np
import pytest
import torch

from llmctl.core.language_model import scoring
from llmctl.core.language_model.scoring import TextScore, rolling_windows


@pytest.mark.parametrize(
    ("num_tokens", "expected"),
    [
        pytest.param(0, [], id="no text"),
        pytest.param(3, [([9, 1, 2], [1, 2, 3])], id="shorter than the context"),
        pytest.param(4, [([9, 1, 2, 3], [1, 2, 3, 4])], id="exactly the context"),
        pytest.param(
            6,
            [([9, 1, 2, 3], [1, 2, 3, 4]), ([2, 3, 4, 5], [5, 6])],
            id="the last window reaches back",
        ),
    ],
)
def test_windows_by_hand(num_tokens, expected):
    ids = list(range(1, num_tokens + 1))

    windows = rolling_windows(ids, text=0, begin_id=9, context=4)

    assert [(window.input_ids, window.target_ids) for window in windows] == expected


def direct_nats(language_model, ids):
    """Each token given all that its window holds, one forward pass a window."""
    context = language_model.model.context_tokens
    stream = [language_model.tokenizer.end_of_text_id, *ids]
    nats = []
    for start in range(0, len(ids), context):
        stop = min(start + context, len(ids))
        with torch.no_grad():
            read = torch.tensor([stream[max(0, stop - context) : stop]])
            log_probabilities = language_model.model(read)[0].double().log_softmax(-1)
        scored = log_probabilities[-(stop - start) :]
        nats += [-float(scored[at, token]) for at, token in enumerate(ids[start:stop])]
    return nats


TEXTS = [
    "世界",
    "",
    "The world is all that is all the case 世界. " * 16,
    "a",
    "Naïve café — 你好, world!" * 3,
]


def test_equals_a_direct_loop(language_model, monkeypatch):
    monkeypatch.setattr(scoring, "BATCH_TOKENS", 100)  # several batches, and chunks within one
    monkeypatch.setattr(scoring, "CHUNK_TARGETS", 7)

    scores = language_model.score(TEXTS)

    lengths = [len(language_model.tokenizer.encode(text)) for text in TEXTS]
    assert max(lengths) > 2 * language_model.model.context_tokens, "no text needs windows"
    for text, score in zip(TEXTS, scores, strict=True):
        expected = direct_nats(language_model, language_model.tokenizer.encode(text))
        assert score.nats_N.dtype == np.float64
        np.testing.assert_allclose(score.nats_N, expected, rtol=1e-4, atol=1e-4)


def test_bytes_are_those_of_the_text(language_model):
    for text, score in zip(TEXTS, language_model.score(TEXTS), strict=True):
        assert score.byte_counts_N.sum() == len(text.encode())
        assert len(score.byte_counts_N) == len(score.nats_N)


def test_a_text_scores_alone_as_among_others(language_model):
    together = language_model.score(TEXTS)

    for text, score in zip(TEXTS, together, strict=True):
        np.testing.assert_allclose(
            language_model.score([text])[0].nats_N, score.nats_N, rtol=1e-4, atol=1e-4
        )


def test_no_batch_is_padded_beyond_its_size(language_model, monkeypatch):
    monkeypatch.setattr(scoring, "BATCH_TOKENS", 100)
    read = []
    hidden = language_model.model.hidden
    monkeypatch.setattr(
        language_model.model,
        "hidden",
        lambda tokens, lengths: read.append(tokens.shape) or hidden(tokens, lengths=lengths),
    )

    language_model.score(["a", "ab", TEXTS[2], "ab"])

    assert len(read) > 1
    assert all(rows * longest <= 100 for rows, longest in read)


def test_totals_by_hand():
    score = TextScore(np.array([math.log(2), math.log(8)]), np.array([1, 3]))

    assert score.total_nats == pytest.approx(math.log(16))
    assert score.bits_per_byte == pytest.approx(1.0)
    with pytest.raises(ValueError, match="an empty text has no bits per byte"):
        _ = TextScore(np.zeros(0), np.zeros(0, dtype=np.int64)).bits_per_byte
