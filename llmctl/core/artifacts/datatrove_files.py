"""datatrove's tokenized files: a folder for each split, for `DatatroveFolderDataset`.

    00000.ds            ids, little-endian uint16 or uint32, each document's with its end token
    00000.ds.index      where each document ends, in tokens; little-endian uint64
    00000.ds.loss       a byte for each token, 1 where it is learned; where there is a mask
    00000.ds.metadata   three lines: tokenizer|bytes of a token, tokens, tokens for people

Source: `TokenizedFile` in datatrove/pipeline/tokens/tokenizer.py.
"""

from __future__ import annotations

from llmctl.core.artifacts.shards import TOKENIZER_NAME, SplitName

TOKENS_SUFFIX = ".ds"
METADATA_SUFFIX = ".metadata"
_SUFFIXES = {
    ".bin": TOKENS_SUFFIX,
    ".ends": f"{TOKENS_SUFFIX}.index",
    ".mask": f"{TOKENS_SUFFIX}.loss",
}
_PREFIXES = ("", "k", "M", "G", "T", "P")


def target(split: SplitName, number: int, suffix: str) -> str:
    """Return the file that has the content of a file of shards.

    Args:
        split: Whose file it is.
        number: Its place in the split.
        suffix: .bin, .ends or .mask.
    """
    return f"{split}/{number:05d}{_SUFFIXES[suffix]}"


def metadata(num_tokens: int, token_bytes: int) -> bytes:
    """Return what stands in a file's `.metadata`.

    Args:
        num_tokens: In the file.
        token_bytes: 2 or 4.
    """
    return f"{TOKENIZER_NAME}|{token_bytes}\n{num_tokens}\n{_for_people(num_tokens)}".encode()


def _for_people(num_tokens: int) -> str:
    """Three digits and a prefix, as 12.3 MT."""
    thousands, tens = divmod(int(f"{num_tokens:.2e}".partition("e")[2]), 3)
    return f"{num_tokens / 1000**thousands:.{2 - tens}f} {_PREFIXES[thousands]}T"
