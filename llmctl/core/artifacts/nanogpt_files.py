"""nanoGPT's data: `train.bin` and `val.bin`, the ids of all documents of a split in one file.

Little-endian uint16, each document followed by the token that ends it, as nanoGPT's
data/openwebtext/prepare.py writes them and as get_batch in its train.py maps them. No mask of the
loss, no borders of documents. Source: github.com/karpathy/nanoGPT.
"""

from __future__ import annotations

from llmctl.core.artifacts.shards import SplitName

MAX_VOCAB_SIZE = 1 << 16
# What train.py gives a model where no meta.pkl lies beside the data.
DEFAULT_VOCAB_SIZE = 50_304
_NAMES: dict[SplitName, str] = {"train": "train.bin", "validation": "val.bin"}


def target(split: SplitName, _number: int, suffix: str) -> str | None:
    """Return the file that ends with the content of a file of shards.

    Args:
        split: Whose file it is.
        _number: Its place in the split.
        suffix: .bin, .ends or .mask.

    Returns:
        The name; None for what nanoGPT does not read.
    """
    return _NAMES[split] if suffix == ".bin" else None
