"""How others turn documents into ids on disk: `PEER INPUTS TOKENIZER OUT PROCESSES`.

INPUTS holds JSON Lines, one file a process. TOKENIZER is a folder: tokenizer.json, and the same
for tiktoken as ranks.tiktoken and pattern.txt. What is written to OUT/*.bin or *.ds is uint16.

`nanoGPT` is its data/openwebtext/prepare.py on other documents. The two `datasets` are what was
found fastest: tables of Arrow to and from the function, in which no id becomes an object of
Arrow by way of Python's lists twice, and few stretches to be written. `datatrove` is as it
ships, `datatrove, unshuffled` without the second copy and with a thread a process.

`train` is `tokenizers` alone, learning from INPUTS with the pre-tokenizer of TOKENIZER or, where
there is none, GPT-2's; it writes OUT/tokenizer.json.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

END_OF_TEXT = "<|endoftext|>"
VOCAB_SIZE = 16_384
NANOGPT_STRETCHES = 1024
STRETCHES = 64
# Of its split; see prepare.py.
HELD_OUT_SHARE, SPLIT_SEED = 0.0005, 2357


def _dataset(inputs: Path, processes: int) -> Any:
    from datasets import load_dataset

    files = sorted(map(str, inputs.glob("*.jsonl")))
    return load_dataset("json", data_files=files, split="train", num_proc=processes)


def _tiktoken(folder: Path) -> Any:
    import tiktoken
    from tiktoken.load import load_tiktoken_bpe

    return tiktoken.Encoding(
        "made",
        pat_str=(folder / "pattern.txt").read_text(encoding="utf-8"),
        mergeable_ranks=load_tiktoken_bpe(str(folder / "ranks.tiktoken")),
        special_tokens={END_OF_TEXT: _tokenizer(folder).token_to_id(END_OF_TEXT)},
    )


def _tokenizer(folder: Path) -> Any:
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def nanogpt(inputs: Path, tokenizer: Path, out: Path, processes: int) -> None:
    """Write train.bin and val.bin, a document at a time."""
    import numpy as np

    encoding = _tiktoken(tokenizer)

    def process(example: dict[str, Any]) -> dict[str, Any]:
        ids = encoding.encode_ordinary(example["text"])
        ids.append(encoding.eot_token)
        return {"ids": ids, "len": len(ids)}

    whole = _dataset(inputs, processes)
    splits = whole.train_test_split(test_size=HELD_OUT_SHARE, seed=SPLIT_SEED, shuffle=True)
    for name, split in splits.items():
        encoded = split.map(process, remove_columns=split.column_names, num_proc=processes)
        length = np.sum(encoded["len"][:], dtype=np.uint64)
        written = np.memmap(out / f"{name}.bin", dtype=np.uint16, mode="w+", shape=(int(length),))
        position = 0
        # The original asks for 1024 even of fewer documents, which `datasets` refuses.
        stretches = min(NANOGPT_STRETCHES, len(encoded))
        for index in range(stretches):
            batch = encoded.shard(num_shards=stretches, index=index, contiguous=True)
            ids = np.concatenate(batch.with_format("numpy")[:]["ids"])
            written[position : position + len(ids)] = ids
            position += len(ids)
        written.flush()


def datasets_tokenizers(inputs: Path, tokenizer: Path, out: Path, processes: int) -> None:
    """Write train.bin from batches of `encode_batch_fast`."""
    import numpy as np

    backend = _tokenizer(tokenizer)
    end = backend.token_to_id(END_OF_TEXT)

    def encode(texts: Sequence[str]) -> tuple[list[int], Any]:
        encodings = backend.encode_batch_fast(texts, add_special_tokens=False)
        ids = [encoding.ids for encoding in encodings]
        lengths = [len(each) + 1 for each in ids]
        flat = chain.from_iterable(chain(each, (end,)) for each in ids)
        return lengths, np.fromiter(flat, dtype=np.uint16, count=sum(lengths))

    _by_tables(inputs, out, processes, encode)


def datasets_tiktoken(inputs: Path, tokenizer: Path, out: Path, processes: int) -> None:
    """Write train.bin from tiktoken's arrays."""
    import numpy as np

    encoding = _tiktoken(tokenizer)
    end = np.array([encoding.eot_token], dtype=np.uint32)

    def encode(texts: Sequence[str]) -> tuple[list[int], Any]:
        ids = [encoding.encode_to_numpy(text, disallowed_special=()) for text in texts]
        flat = np.concatenate([part for each in ids for part in (each, end)])
        return [len(each) + 1 for each in ids], flat.astype(np.uint16)

    _by_tables(inputs, out, processes, encode)


def _by_tables(
    inputs: Path,
    out: Path,
    processes: int,
    encode: Callable[[Sequence[str]], tuple[list[int], Any]],
) -> None:
    import numpy as np
    import pyarrow as pa

    def process(table: Any) -> Any:
        lengths, flat = encode(table["text"].to_pylist())
        offsets = pa.array([0, *np.cumsum(lengths).tolist()], type=pa.int32())
        ids = pa.ListArray.from_arrays(offsets, pa.array(flat))
        return pa.table({"ids": ids, "len": pa.array(lengths)})

    whole = _dataset(inputs, processes).with_format("arrow")
    encoded = whole.map(
        process, batched=True, remove_columns=whole.column_names, num_proc=processes
    )
    length = int(np.sum(encoded.with_format("numpy")["len"][:]))
    written = np.memmap(out / "train.bin", dtype=np.uint16, mode="w+", shape=(length,))
    position, stretches = 0, min(STRETCHES, len(encoded))
    for index in range(stretches):
        batch = encoded.shard(num_shards=stretches, index=index, contiguous=True)
        for chunk in batch.with_format("arrow")[:]["ids"].chunks:
            ids = chunk.flatten().to_numpy()
            written[position : position + len(ids)] = ids
            position += len(ids)
    written.flush()


def datatrove(inputs: Path, tokenizer: Path, out: Path, processes: int) -> None:
    """Write a shuffled .ds file a process, as it ships."""
    _datatrove(inputs, tokenizer, out, processes)


def datatrove_unshuffled(inputs: Path, tokenizer: Path, out: Path, processes: int) -> None:
    """Write a .ds file a process in the order of the documents."""
    os.environ["RAYON_NUM_THREADS"] = "1"
    _datatrove(
        inputs, tokenizer, out, processes, shuffle_documents=False, save_final_metadata=False
    )


def _datatrove(inputs: Path, tokenizer: Path, out: Path, processes: int, **settings: Any) -> None:
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.tokens import DocumentTokenizer

    path = str(tokenizer / "tokenizer.json")
    writer = DocumentTokenizer(str(out), path, eos_token=END_OF_TEXT, seed=1, **settings)
    LocalPipelineExecutor(
        pipeline=[JsonlReader(str(inputs)), writer],
        tasks=processes,
        workers=processes,
        logging_dir=str(out / "logs"),
        skip_completed=False,
    ).run()


def train(inputs: Path, tokenizer: Path, out: Path, processes: int) -> None:
    """Learn byte pairs from all documents."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    os.environ["RAYON_NUM_THREADS"] = str(processes)
    learnt = Tokenizer(models.BPE())
    is_given = (tokenizer / "tokenizer.json").exists()
    learnt.pre_tokenizer = (
        _tokenizer(tokenizer).pre_tokenizer
        if is_given
        else pre_tokenizers.ByteLevel(add_prefix_space=False)
    )
    learnt.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        min_frequency=2,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    learnt.train_from_iterator(_texts(inputs), trainer)
    learnt.save(str(out / "tokenizer.json"))


def _texts(inputs: Path) -> Iterator[str]:
    for path in sorted(inputs.glob("*.jsonl")):
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)["text"]


PEERS: dict[str, Callable[[Path, Path, Path, int], None]] = {
    "datasets, tokenizers": datasets_tokenizers,
    "nanoGPT": nanogpt,
    "datasets, tiktoken": datasets_tiktoken,
    "datatrove": datatrove,
    "datatrove, unshuffled": datatrove_unshuffled,
}


def main() -> None:
    """Run the peer that is named."""
    name, inputs, tokenizer, out, processes = sys.argv[1:]
    Path(out).mkdir(parents=True)
    # All of it is done anew, so that no earlier run's cache serves this one.
    os.environ["HF_HOME"] = str(Path(out) / "cache")
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"
    if name.startswith("datasets"):
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
    program = train if name == "train" else PEERS[name]
    program(Path(inputs), Path(tokenizer), Path(out), int(processes))


if __name__ == "__main__":
    main()
