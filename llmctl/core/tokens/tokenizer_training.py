"""Learning a vocabulary: byte pairs, words, characters or bytes.

All four become one form of file, from which every text comes back: a byte-level BPE model.
A vocabulary of words or characters is one without merges, whose entries are looked up
whole; what is not among them is written in bytes.

Source: Sennrich et al. 2016, Neural Machine Translation of Rare Words with Subword Units,
arXiv:1508.07909; over bytes as in Radford et al. 2019 (GPT-2).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from llmctl.core.errors import RecipeError
from llmctl.core.tokens.pretokenizer import cutting, pieces, pre_tokenizer, segments
from llmctl.core.tokens.token_decoder import byte_characters

if TYPE_CHECKING:
    from llmctl.core.tokenize_plan import PretokenizerName, VocabularyKind

END_OF_TEXT = "<|endoftext|>"
NUM_BYTES = 256
ANY_CHARACTER = r"[\s\S]"
_SEGMENT_CHARACTERS = 100_000
_BATCH_CHARACTERS = 1_000_000
_BYTE_OF = {character: byte for byte, character in byte_characters().items()}


@dataclass(frozen=True, slots=True)
class TrainingRequest:
    """What is to be learnt.

    Args:
        vocab_size: Entries wanted; fewer come where the texts have no more.
        min_frequency: What is seen less often gets no entry.
        kind: Byte pairs, words, characters or bytes.
        pretokenizer: How text is cut before merging, or into words.
        special_tokens: Further ones; END_OF_TEXT among them changes nothing.

    Raises:
        RecipeError: A special token is empty, there twice, has white space around it, or may
            be the name of an entry that is learnt.
        ValueError: The vocabulary cannot hold the bytes and the special tokens.
    """

    vocab_size: int
    min_frequency: int = 2
    kind: VocabularyKind = "bpe"
    pretokenizer: PretokenizerName = "llmctl"
    special_tokens: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for token in self.special_tokens:
            fault = self._fault(token)
            if fault is not None:
                raise RecipeError(f"tokenize.special_tokens: {token!r} {fault}")
        least = NUM_BYTES + len(self.all_special_tokens)
        if self.vocab_size < least:
            raise ValueError(f"expected at least {least} entries, got {self.vocab_size}")

    @property
    def all_special_tokens(self) -> list[str]:
        """END_OF_TEXT, then the further ones: the place is the id."""
        return [END_OF_TEXT, *(token for token in self.special_tokens if token != END_OF_TEXT)]

    def _fault(self, token: str) -> str | None:
        if not token:
            return "is empty; leave it out"
        if token != token.strip():
            return "has white space around it; write it without"
        if self.special_tokens.count(token) > 1:
            return "stands there twice; leave one out"
        if self._may_be_learnt(token):
            return f"is what text is made of too, and could not be told from it: try <|{token}|>"
        return None

    def _may_be_learnt(self, token: str) -> bool:
        # An entry is named by a character a byte, such as Ġthe for " the".
        if not _BYTE_OF.keys() >= set(token):
            return False
        try:
            text = bytes(_BYTE_OF[character] for character in token).decode("utf-8")
        except UnicodeDecodeError:
            return True  # a part of a character
        return len(pieces(text, self.pretokenizer)) == 1


def train(texts: Iterable[str], request: TrainingRequest) -> Tokenizer:
    """Learn a tokenizer from texts: special tokens, then the 256 bytes, then what is learnt.

    Of byte pairs the most frequent is merged first, and of equally frequent ones that of the
    lower ids; of words and characters the most frequent come first, and equally frequent
    ones in the order of their names in the file. The result depends on the texts alone,
    neither on their order nor on the number of threads.

    Args:
        texts: What to learn from.
        request: What to learn.
    """
    if request.kind == "bpe":
        return _train_byte_pairs(texts, request)
    entries = [*request.all_special_tokens, *sorted(_BYTE_OF)]
    if request.kind != "byte":
        known = set(entries)
        learnt = _most_frequent(texts, request)
        entries += [entry for entry in learnt if entry not in known]
        entries = entries[: request.vocab_size]
    vocab = {entry: token for token, entry in enumerate(entries)}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[], ignore_merges=True))
    tokenizer.pre_tokenizer = _pre_tokenizer(request)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(request.all_special_tokens)
    return tokenizer


def cut(tokenizer: Tokenizer, vocab_size: int) -> Tokenizer:
    """Return the tokenizer that the same training gives at a smaller size.

    Args:
        tokenizer: From `train`.
        vocab_size: At least its special tokens and the 256 bytes.

    Raises:
        ValueError: The size is smaller than that.
    """
    state = json.loads(tokenizer.to_str())
    model = state["model"]
    least = NUM_BYTES + len(state["added_tokens"])
    if vocab_size < least:
        raise ValueError(f"expected at least {least} entries, got {vocab_size}")
    vocab = model["vocab"]
    if vocab_size >= len(vocab):
        return tokenizer
    # Each merge makes an entry: text between two edges is merged in one way wherever it stands.
    model["merges"] = model["merges"][: vocab_size - least]
    model["vocab"] = {entry: token for entry, token in vocab.items() if token < vocab_size}
    return Tokenizer.from_str(json.dumps(state))


def _train_byte_pairs(texts: Iterable[str], request: TrainingRequest) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = _pre_tokenizer(request)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=request.vocab_size,
        min_frequency=request.min_frequency,
        special_tokens=request.all_special_tokens,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_batches(texts, request), trainer)
    return tokenizer


def _most_frequent(texts: Iterable[str], request: TrainingRequest) -> list[str]:
    counter = Tokenizer(models.WordLevel())
    counter.pre_tokenizer = _pre_tokenizer(request)
    trainer = trainers.WordLevelTrainer(
        vocab_size=request.vocab_size,  # of which the bytes are no more than what they displace
        min_frequency=request.min_frequency,
        show_progress=False,
    )
    counter.train_from_iterator(_batches(texts, request), trainer)
    vocab = counter.get_vocab()
    return sorted(vocab, key=vocab.__getitem__)


def _pre_tokenizer(request: TrainingRequest) -> pre_tokenizers.PreTokenizer:
    if request.kind == "character":
        return cutting(ANY_CHARACTER)
    return pre_tokenizer(request.pretokenizer)


def _batches(texts: Iterable[str], request: TrainingRequest) -> Iterator[list[str]]:
    # Given one by one, each text would cost a change of hands between Rust and Python; a batch
    # takes some fifty times its bytes.
    batch: list[str] = []
    num_characters = 0
    for text in texts:
        for segment in segments(text, _SEGMENT_CHARACTERS, request.pretokenizer):
            batch.append(segment)
            num_characters += len(segment)
            if num_characters >= _BATCH_CHARACTERS:
                yield batch
                batch, num_characters = [], 0
    yield batch
