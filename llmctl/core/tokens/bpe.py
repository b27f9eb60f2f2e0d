"""Byte pair encoding over UTF-8: learning which neighbours to merge.

Source: Sennrich et al. 2016, Neural Machine Translation of Rare Words with Subword Units,
arXiv:1508.07909; over bytes as in Radford et al. 2019 (GPT-2).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from llmctl.core.tokens import pretokenizer

END_OF_TEXT = "<|endoftext|>"
NUM_BYTES = 256
_BATCH_TEXTS = 256


def train_bpe(texts: Iterable[str], vocab_size: int, min_frequency: int) -> Tokenizer:
    """Learn a tokenizer from texts: END_OF_TEXT is id 0, the 256 bytes follow, then the merges.

    The most frequent pair of neighbouring tokens is merged first; of equally frequent ones,
    that of the lower ids. The result depends on the texts alone, neither on their order nor
    on the number of threads.

    Args:
        texts: What to learn from.
        vocab_size: Entries wanted; fewer come where the texts have no more pairs.
        min_frequency: A pair seen less often is not merged.

    Raises:
        ValueError: The vocabulary cannot hold the bytes and END_OF_TEXT.
    """
    if vocab_size < NUM_BYTES + 1:
        raise ValueError(f"expected at least {NUM_BYTES + 1} entries, got {vocab_size}")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pretokenizer.pre_tokenizer()
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_batches(texts), trainer)
    return tokenizer


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    # Given one by one, each text would cost a change of hands between Rust and Python.
    iterator = iter(texts)
    while batch := list(islice(iterator, _BATCH_TEXTS)):
        yield batch
