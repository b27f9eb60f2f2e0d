"""A small tokenizer of English, code and Chinese, learnt in an instant."""

from __future__ import annotations

import pytest

from llmctl.core.tokens.bpe import train_bpe
from llmctl.core.tokens.tokenizer import Tokenizer

TEXTS = [
    "The world is wide, and the words of the world are many.\n" * 4,
    "def world(the):\n    return the.word\n" * 4,
    "世界很大，世界上的词语很多。我们的世界。\n" * 4,
]


@pytest.fixture(scope="session")
def small_tokenizer() -> Tokenizer:
    return Tokenizer(train_bpe(TEXTS, vocab_size=320, min_frequency=2))
