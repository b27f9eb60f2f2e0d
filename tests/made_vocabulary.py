"""A vocabulary made by hand, in which every count can be worked out on paper."""

from __future__ import annotations

from functools import cache

import numpy as np
import tokenizers
from tokenizers import AddedToken, decoders, models, pre_tokenizers

from llmctl.core.tokenizing.token_facts import TokenFacts
from llmctl.core.tokenizing.token_tally import EncodedTexts
from llmctl.core.tokens.special_literals import SpecialLiterals
from llmctl.core.tokens.token_decoder import byte_characters
from llmctl.core.tokens.tokenizer import Tokenizer
from llmctl.core.tokens.tokenizer_training import END_OF_TEXT

BYTES_OF_SHI = ("世".encode()[:2], "世".encode()[2:])
BYTES_OF_JIE = ("界".encode()[:2], "界".encode()[2:])
MERGES = [
    (BYTES_OF_SHI[0][:1], BYTES_OF_SHI[0][1:]),  # 257: 世, 不 and others begin so
    BYTES_OF_SHI,  # 258: 世
    (BYTES_OF_JIE[0][:1], BYTES_OF_JIE[0][1:]),  # 259
    BYTES_OF_JIE,  # 260: 界
    ("世".encode(), "界".encode()),  # 261
    (b"a", "世".encode()),  # 262
    (b" ", b" "),  # 263
    (b" ", b"h"),  # 264
    (b"1", b"2"),  # 265
    (b"!", b"!"),  # 266
    (b"a", b"1"),  # 267
]
PART, SHI, WORLD, MIXED = 257, 258, 261, 262


def byte(value):
    """The id of a single byte."""
    return value + 1


@cache
def made_tokenizer():
    characters = byte_characters()

    def entry(content):
        return "".join(characters[value] for value in content)

    contents = [*(bytes([value]) for value in range(256)), *(a + b for a, b in MERGES)]
    vocab = {END_OF_TEXT: 0} | {entry(content): id_ for id_, content in enumerate(contents, 1)}
    backend = tokenizers.Tokenizer(models.BPE(vocab, [(entry(a), entry(b)) for a, b in MERGES]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([END_OF_TEXT, AddedToken("<|im_start|>", normalized=False)])
    return Tokenizer(backend)


@cache
def made_facts():
    return TokenFacts(made_tokenizer())


def encoded_by(tokenizer, documents):
    """Encode (text, source, language) rows."""
    ids = tokenizer.encode_batch([text for text, _, _ in documents])
    return EncodedTexts(
        texts=[text for text, _, _ in documents],
        sources=[source for _, source, _ in documents],
        languages=[language for _, _, language in documents],
        lengths_D=np.array([len(found) for found in ids], dtype=np.int64),
        ids_N=np.array([token for found in ids for token in found], dtype=np.uint32),
        literals=SpecialLiterals(tokenizer).count(text for text, _, _ in documents),
    )
