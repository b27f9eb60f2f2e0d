"""Training a byte-level BPE tokenizer: lossless, since every byte is an entry.

Source: Sennrich et al. 2016, "Neural Machine Translation of Rare Words with Subword
Units", section 3.2; over bytes: Radford et al. 2019, "Language Models are Unsupervised
Multitask Learners", section 2.2.
"""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from llmctl.core.tokens.pretokenizer import pre_tokenizer

END_OF_TEXT = "<|endoftext|>"
NUM_BYTES = 256


def train_bpe(texts: Iterable[str], vocab_size: int, min_frequency: int) -> Tokenizer:
    """Learn merges from texts; the same texts in the same order give the same tokenizer.

    Args:
        texts: What to learn from.
        vocab_size: Entries at most: the special token, 256 bytes, merges.
        min_frequency: Pairs seen less often are not merged.

    Returns:
        The tokenizer; END_OF_TEXT has the id 0. It may have fewer entries than asked for.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer()
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer
