"""Small tokenizers of English, code and Chinese, learnt in an instant: ours and public layouts."""

from __future__ import annotations

import json

import pytest
import tokenizers
from tokenizers import (
    AddedToken,
    Regex,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from llmctl.core.tokens.tokenizer import Tokenizer
from llmctl.core.tokens.tokenizer_training import TrainingRequest, train

TEXTS = [
    "The world is wide, and the words of the world are many.\n" * 4,
    "def world(the):\n    return the.word\n" * 4,
    "世界很大，世界上的词语很多。我们的世界。\n" * 4,
]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
CL100K = Regex(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@pytest.fixture(scope="session")
def small_tokenizer() -> Tokenizer:
    return Tokenizer(train(TEXTS, TrainingRequest(vocab_size=320)))


def byte_level(specials, *, normalizer=None, split=CL100K, **model):
    """GPT-2's bytes as characters; the later families cut by a pattern of their own first."""
    backend = tokenizers.Tokenizer(models.BPE(**model))
    if normalizer is not None:
        backend.normalizer = normalizer
    backend.pre_tokenizer = (
        pre_tokenizers.ByteLevel(add_prefix_space=False)
        if split is None
        else pre_tokenizers.Sequence(
            [
                split
                if isinstance(split, pre_tokenizers.PreTokenizer)
                else pre_tokenizers.Split(split, "isolated"),
                pre_tokenizers.ByteLevel(
                    add_prefix_space=False, use_regex=not isinstance(split, Regex)
                ),
            ]
        )
    )
    backend.decoder = decoders.ByteLevel()
    backend.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        min_frequency=2,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    backend.train_from_iterator(TEXTS, trainer)
    backend.add_special_tokens(specials)
    return backend


def begun_by(backend, token):
    return processors.TemplateProcessing(
        single=f"{token} $A",
        pair=f"{token} $A {token} $B",
        special_tokens=[(token, backend.token_to_id(token))],
    )


def gpt2():
    return byte_level(["<|endoftext|>"], split=None)


def llama3():
    backend = byte_level(["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"], ignore_merges=True)
    backend.post_processor = processors.Sequence(
        [processors.ByteLevel(trim_offsets=False), begun_by(backend, "<|begin_of_text|>")]
    )
    return backend


def qwen3():
    backend = byte_level(
        ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], normalizer=normalizers.NFC()
    )
    backend.add_tokens([AddedToken("<think>", normalized=False)])
    return backend


def olmo2():
    backend = byte_level(["<|endoftext|>", "<|pad|>"])
    backend.post_processor = processors.TemplateProcessing(single="$A", pair="$A $B")
    return backend


def smollm():
    return byte_level(
        ["<|endoftext|>", "<|im_start|>"], split=pre_tokenizers.Digits(individual_digits=True)
    )


def pieces(specials, *, normalizer, pre_tokenizer=None, strips=True):
    """SentencePiece's BPE as its converters write it: ▁ for the space, bytes as a way out."""
    backend = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    # Learnt word by word; what the file holds comes in afterwards.
    backend.normalizer = normalizers.Replace(" ", "▁")
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        min_frequency=2,
        show_progress=False,
        special_tokens=[*specials, *BYTES, "▁▁", "\n\n"],
    )
    backend.train_from_iterator(TEXTS, trainer)
    state = json.loads(backend.to_str())
    state["added_tokens"] = [
        token for token in state["added_tokens"] if token["id"] < len(specials)
    ]
    state["model"]["byte_fallback"] = True
    backend = tokenizers.Tokenizer.from_str(json.dumps(state))
    backend.normalizer = normalizer
    backend.pre_tokenizer = pre_tokenizer
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    backend.decoder = decoders.Sequence(steps + [decoders.Strip(" ", 1, 0)] * strips)
    return backend


def llama2():
    backend = pieces(
        ["<unk>", "<s>", "</s>"],
        normalizer=normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]),
    )
    backend.post_processor = begun_by(backend, "<s>")
    return backend


def phi3():
    backend = llama2()
    backend.add_special_tokens(
        [AddedToken(name, rstrip=True, normalized=False) for name in ("<|user|>", "<|end|>")]
    )
    backend.post_processor = processors.TemplateProcessing(single="$A", pair="$A $B")
    return backend


def mistral():
    backend = pieces(
        ["<unk>", "<s>", "</s>", "[INST]", "[/INST]"],
        normalizer=None,
        pre_tokenizer=pre_tokenizers.Metaspace(prepend_scheme="first", split=False),
    )
    backend.post_processor = begun_by(backend, "<s>")
    return backend


def gemma():
    backend = pieces(
        ["<pad>", "<eos>", "<bos>", "<unk>"],
        normalizer=normalizers.Replace(" ", "▁"),
        pre_tokenizer=pre_tokenizers.Split(" ", "merged_with_previous"),
        strips=False,
    )
    backend.add_tokens([AddedToken(name, normalized=False) for name in ("<unused0>", "▁▁", "\n\n")])
    backend.post_processor = begun_by(backend, "<bos>")
    return backend


def unigram(decoder, pre_tokenizer, normalizer):
    """The same with a Unigram model, as Llama's converter and T5's write it."""
    learnt = tokenizers.Tokenizer(models.Unigram())
    learnt.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=80, show_progress=False)
    learnt.train_from_iterator(TEXTS, trainer)
    entries = json.loads(learnt.to_str())["model"]["vocab"]
    specials = ["<unk>", "<s>", "</s>"]
    vocab = [(entry, 0.0) for entry in [*specials, *BYTES]] + [tuple(entry) for entry in entries]
    backend = tokenizers.Tokenizer(models.Unigram(vocab, unk_id=0, byte_fallback=True))
    backend.normalizer = normalizer
    backend.pre_tokenizer = pre_tokenizer
    backend.decoder = decoder
    backend.add_special_tokens(specials)
    backend.post_processor = begun_by(backend, "<s>")
    return backend


def unigram_llama():
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    return unigram(
        decoders.Sequence([*steps, decoders.Strip(" ", 1, 0)]),
        None,
        normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]),
    )


def unigram_metaspace():
    return unigram(
        decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()]),
        pre_tokenizers.Metaspace(),
        None,
    )


LAYOUTS = {
    made.__name__: made
    for made in (
        gpt2,
        llama3,
        qwen3,
        olmo2,
        smollm,
        llama2,
        phi3,
        mistral,
        gemma,
        unigram_llama,
        unigram_metaspace,
    )
}


@pytest.fixture(scope="session", params=LAYOUTS)
def public_file(request, tmp_path_factory):
    """The tokenizer.json of each family in turn; its folder bears the family's name."""
    # Made anew by each worker that comes back to it, in one place.
    path = tmp_path_factory.getbasetemp() / "public" / request.param / "tokenizer.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    LAYOUTS[request.param]().save(str(path))
    return path


@pytest.fixture
def gpt2_backend():
    return gpt2()


@pytest.fixture(scope="session")
def public_tokenizer(public_file):
    return Tokenizer.from_file(public_file)
