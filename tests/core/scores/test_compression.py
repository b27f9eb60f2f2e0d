"""xz as a baseline: by hand on small bytes, then what priming must do."""

from __future__ import annotations

import lzma
import random

import pytest

from llmctl.core.scores.compression import (
    WINDOW_BYTES,
    primed_xz_bits_per_byte,
    xz_bits_per_byte,
    xz_bytes,
)

TEXT = "今天的天气非常好，我们一起去公园散步吧。The weather is fine.".encode()


def noise(num_bytes, seed=0):
    return random.Random(seed).randbytes(num_bytes)


def test_no_text_is_an_empty_file_of_xz():
    # Header 12, index 8, footer 12.
    assert xz_bytes([]) == 32


def test_a_byte_by_hand():
    # Header 12; block header 12, chunk 3 + 1, end 1, padded from 5 to 8, check 8; index 8;
    # footer 12.
    assert xz_bytes([b"a"]) == 60
    assert xz_bits_per_byte([b"a"]) == 480.0


@pytest.mark.parametrize("data", [TEXT, noise(5000), b"ab" * 4000], ids=["text", "noise", "ab"])
def test_equals_xz_9(data):
    assert xz_bytes([data]) == len(lzma.compress(data, lzma.FORMAT_XZ, preset=9))


def test_pieces_do_not_matter():
    data = noise(3000) + TEXT * 20

    assert xz_bytes([data[:7], b"", data[7:1500], data[1500:]]) == xz_bytes([data])


def test_noise_cannot_be_compressed_alone_but_is_known_once_seen():
    data = noise(20_000)

    assert xz_bits_per_byte([data]) == pytest.approx(8, abs=0.1)
    assert primed_xz_bits_per_byte([data], [data]) < 0.2
    assert primed_xz_bits_per_byte([noise(20_000, seed=1)], [data]) == pytest.approx(8, abs=0.1)


def test_primed_is_the_difference_of_lengths():
    training, text = TEXT * 30 + noise(500), TEXT[::-1] + TEXT
    both, alone = (len(lzma.compress(data, preset=9)) for data in (training + text, training))

    assert primed_xz_bits_per_byte([training], [text]) == 8 * (both - alone) / len(text)


def test_reaches_back_over_a_training_text_of_megabytes():
    data = noise(50_000)
    training = [data, TEXT * 30_000]

    assert 2_000_000 < sum(map(len, training)) < WINDOW_BYTES
    assert primed_xz_bits_per_byte(training, [data]) < 0.2


@pytest.mark.parametrize(
    "score", [xz_bits_per_byte, lambda text: primed_xz_bits_per_byte([TEXT], text)]
)
def test_refuses_no_text(score):
    with pytest.raises(ValueError, match="there is no text to compress"):
        score([b""])
