"""Models for the benchmarks: public shapes, weights drawn by seed.

Nothing is downloaded.
"""

from __future__ import annotations

import itertools
import multiprocessing
from pathlib import Path
from typing import Any

SEED = 1
# Twice the usual spread: a greedy text then varies, where it would soon repeat one token.
SPREAD = 0.04

CONFIGS: dict[str, dict[str, Any]] = {
    "GPT-2 124M": {"model_type": "gpt2"},
    "Llama 1.1B": {
        "model_type": "llama",
        "vocab_size": 32_000,
        "hidden_size": 2048,
        "intermediate_size": 5632,
        "num_hidden_layers": 22,
        "num_attention_heads": 32,
        "num_key_value_heads": 4,
        "max_position_embeddings": 2048,
    },
}
SMALL = {"gpt2": {"n_layer": 2}, "llama": {"num_hidden_layers": 1}}


def make(name: str, folder: Path, *, small: bool = False) -> Path:
    """Return a model directory in Hugging Face's layout, in bfloat16; made if it is not there.

    Args:
        name: One of `CONFIGS`.
        folder: Of the model directories.
        small: With few layers, for a look at whether all runs.
    """
    directory = folder / f"{name.lower().replace(' ', '-')}{'-small' if small else ''}"
    if not (directory / "tokenizer.json").exists():
        # A process of its own, so that the one that measures the others stays small.
        process = multiprocessing.get_context("spawn").Process(
            target=_write, args=(CONFIGS[name], small, directory)
        )
        process.start()
        process.join()
        if process.exitcode:
            raise SystemExit(f"{directory}: could not be made")
    return directory


def _write(settings: dict[str, Any], small: bool, directory: Path) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    model_type = settings["model_type"]
    # No token ends a text: all write as many as they are asked for.
    ends = {"bos_token_id": None, "eos_token_id": None, "initializer_range": SPREAD}
    shape = settings | ends | (SMALL[model_type] if small else {})
    shape.pop("model_type")
    config = AutoConfig.for_model(model_type, **shape)
    torch.manual_seed(SEED)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(directory)
    _write_tokenizer(config.vocab_size, directory)


def _write_tokenizer(vocab_size: int, directory: Path) -> None:
    """Write a byte-level tokenizer with every id in use; beyond the bytes, pairs of them."""
    from tokenizers import Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    pairs = itertools.islice(itertools.product(letters, letters), vocab_size - len(letters))
    merges = list(pairs)
    tokens = [*letters, *(first + second for first, second in merges)]
    tokenizer = Tokenizer(BPE({token: place for place, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    # tokenizer.json is the last file to be written: where it is, the model is whole.
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(directory)
