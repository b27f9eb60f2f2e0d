"""Model → a model directory that other programs load."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from llmctl.core import atomic
from llmctl.core.artifacts import hub_files
from llmctl.core.artifacts.tensor_files import DTYPES_READ
from llmctl.core.artifacts.tensor_shards import (
    TensorEntry,
    parse_size,
    plan_shards,
    write_index,
    write_tensors,
)
from llmctl.core.errors import DataError, UsageError
from llmctl.core.language_model.exported_config import exported_config
from llmctl.core.language_model.exported_tokenizer import exported_tokenizer_config
from llmctl.core.language_model.language_model import (
    ModelFiles,
    open_model_files,
    read_generation_config,
    read_tokenizer,
    require_fit,
)
from llmctl.core.manifest import Manifest
from llmctl.core.model.device import DTYPES
from llmctl.core.progress import Progress
from llmctl.core.tokens.chat_template_files import SPECIAL_TOKENS_NAME, TEMPLATE_NAME
from llmctl.core.tokens.tokenizer import Tokenizer
from llmctl.core.workspace import Workspace

KIND = "export"
BEHAVIOUR = 1
# Of the last two, llama.cpp's converter reads vocabularies of SentencePiece.
_COPIED = (
    hub_files.CARD_NAME,
    hub_files.GENERATION_CONFIG_NAME,
    TEMPLATE_NAME,
    "metrics.jsonl",
    "tokenizer.model",
    "added_tokens.json",
)
_LICENCE = re.compile(
    r"(licen[cs]e|notice|copying|copyright|use_policy)([-.][\w.-]*)?", re.A | re.I
)
_HUB_FOLDER = re.compile(r"models--([\w.-]+?)--([\w.-]+)", re.A)


@dataclass(frozen=True)
class ExportPlan:
    """How a model is to be written.

    Attributes:
        dtype: float32, bfloat16 or float16; None for each tensor as it is.
        max_shard_bytes: Of a file of weights.
        base_model: The model's id on the Hub; None where it is not known.
    """

    dtype: str | None
    max_shard_bytes: int
    base_model: str | None = None

    @classmethod
    def from_words(cls, dtype: str | None, max_shard_size: str, source: Path) -> ExportPlan:
        """Read a plan from the words of a command line.

        Args:
            dtype: As the attribute.
            max_shard_size: Such as 5GB.
            source: The model's directory; one in the Hub's cache tells the model's id.

        Raises:
            UsageError: One of them is unknown.
        """
        if dtype is not None and dtype not in DTYPES:
            raise UsageError(f"unknown dtype {dtype!r}; expected one of {', '.join(DTYPES)}")
        folders = map(_HUB_FOLDER.fullmatch, source.absolute().parts)
        ids = ["/".join(match.groups()) for match in folders if match]
        return cls(dtype, parse_size(max_shard_size), ids[-1] if ids else None)

    def as_dict(self) -> dict[str, Any]:
        """Return the plan for a manifest."""
        return asdict(self)


@dataclass(frozen=True)
class ExportSource:
    """A model that was found to be one that llmctl loads.

    Attributes:
        files: Its config and tensors.
        tokenizer: Its tokenizer.
        copied: Files that are written as they are.
        paths: All files that decide what is written.
    """

    files: ModelFiles
    tokenizer: Tokenizer
    copied: tuple[Path, ...]
    paths: tuple[Path, ...]


def open_source(directory: Path) -> ExportSource:
    """Check a model directory as loading it would, without reading a tensor.

    Raises:
        MissingInputError: A file is not there.
        DataError: A file is damaged, or the files contradict one another, or ask for
            what llmctl does not compute or will not run.
    """
    files = open_model_files(directory)
    if files.family.is_half:
        raise DataError(
            f"{directory}: of a model that sees pictures only the text half is read, which makes "
            "no whole model to export; transformers can save its language_model"
        )
    tokenizer = read_tokenizer(directory)
    require_fit(tokenizer, files.architecture.vocab_size)
    read_generation_config(directory)
    copied = [directory / name for name in _COPIED]
    copied += [path for path in sorted(directory.iterdir()) if _LICENCE.fullmatch(path.name)]
    vocabulary = hub_files.tokenizer_pair(directory) or (hub_files.tokenizer_file(directory),)
    read = (hub_files.CONFIG_NAME, hub_files.TOKENIZER_CONFIG_NAME, SPECIAL_TOKENS_NAME)
    copied = [path for path in copied if path.is_file()]
    paths = [*(directory / name for name in read), *vocabulary, *files.tensors.files, *copied]
    return ExportSource(
        files, tokenizer, tuple(copied), tuple(path for path in paths if path.is_file())
    )


def export(
    plan: ExportPlan, source: ExportSource, workspace: Workspace, *, progress: Progress
) -> Manifest:
    """Write a model so that transformers and its like load it with the same logits.

    The tensors keep their family's names and shapes and pass through one at a time; nothing
    of the model is computed.

    Args:
        plan: How.
        source: What.
        workspace: Where; files of weights that are finished in it are taken up.
        progress: Told of every tensor.

    Raises:
        DataError: A file is damaged, or holds values beyond the plan's type.
        OutputError: The files cannot be created.
        StorageError: The disk is full or failing.
    """
    files = source.files
    names = files.tensor_names()
    entries = [
        TensorEntry(
            name,
            files.tensors.shapes[found],
            DTYPES_READ[files.tensors.dtypes[found]] if plan.dtype is None else DTYPES[plan.dtype],
        )
        for name, found in names.items()
    ]
    dtype = plan.dtype or _dtype_word(files.config, entries)
    num_parameters = sum(entry.num_bytes // entry.dtype.itemsize for entry in entries)
    shards = plan_shards(entries, plan.max_shard_bytes)
    with atomic.storage_errors(workspace.target):
        _write_weights(shards, names, source, workspace, progress)
        _write_json(
            workspace.result / hub_files.CONFIG_NAME,
            exported_config(files.config, files.family, files.architecture, dtype),
        )
        _write_tokenizer(source, workspace.result)
        for path in source.copied:
            shutil.copyfile(path, workspace.result / path.name)
            atomic.observer("write", workspace.result / path.name)
        card = workspace.result / hub_files.CARD_NAME
        if not card.exists():
            atomic.write_file(card, _card(plan, files, dtype, num_parameters).encode())
        counts = {
            "parameters": num_parameters,
            "tensors": len(entries),
            "weight_files": len(shards),
            "weight_bytes": sum(entry.num_bytes for entry in entries),
            "dtype": dtype,
        }
        return workspace.publish(counts)


def _dtype_word(config: Mapping[str, Any], entries: Iterable[TensorEntry]) -> str:
    """Return the type that the config names; where it names none, that of most bytes."""
    words = {str(dtype).removeprefix("torch."): dtype for dtype in DTYPES_READ.values()}
    stated = config.get("dtype") or config.get("torch_dtype")
    if isinstance(stated, str) and stated in words:
        return stated
    num_bytes = dict.fromkeys(words, 0)
    for entry in entries:
        num_bytes[str(entry.dtype).removeprefix("torch.")] += entry.num_bytes
    return max(num_bytes, key=num_bytes.__getitem__)


def _write_weights(
    shards: dict[str, list[TensorEntry]],
    names: Mapping[str, str],
    source: ExportSource,
    workspace: Workspace,
    progress: Progress,
) -> None:
    sizes = {name: sum(entry.num_bytes for entry in shard) for name, shard in shards.items()}
    missing = [name for name in shards if not (workspace.units / name).exists()]
    copied_bytes = sum(path.stat().st_size for path in source.copied)
    atomic.require_space(workspace.path, copied_bytes + sum(sizes[name] for name in missing))

    def read(entry: TensorEntry) -> Tensor:
        progress.check()
        progress.advance(entry.num_bytes)
        return next(source.files.tensors.read([names[entry.name]]))[1]

    progress.begin("export", sum(sizes.values()), "bytes")
    for name, shard in shards.items():
        if name in missing:
            write_tensors(workspace.units / name, shard, read)
        else:
            progress.advance(sizes[name])
    progress.end()
    for name in shards:
        atomic.rename(workspace.units / name, workspace.result / name)
    if len(shards) > 1:
        write_index(workspace.result, shards)


def _write_tokenizer(source: ExportSource, directory: Path) -> None:
    original = source.files.directory
    path = directory / hub_files.TOKENIZER_NAME
    if hub_files.tokenizer_pair(original) is None:
        shutil.copyfile(hub_files.tokenizer_file(original), path)
        atomic.observer("write", path)
    else:
        atomic.write_file(path, source.tokenizer.as_json().encode())
    config = exported_tokenizer_config(source.files, source.tokenizer)
    _write_json(directory / hub_files.TOKENIZER_CONFIG_NAME, config)


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    atomic.write_file(path, text.encode("utf-8", "surrogatepass"))


def _card(plan: ExportPlan, files: ModelFiles, dtype: str, num_parameters: int) -> str:
    """The model card of a model that came without one."""
    base_model = "" if plan.base_model is None else f"base_model: {plan.base_model}\n"
    return f"""---
library_name: transformers
pipeline_tag: text-generation
{base_model}---

# {plan.base_model or files.family.architecture}

A language model of {num_parameters:,} parameters ({files.family.architecture}), written in
{dtype} by `llmctl export`.

```python
from transformers import pipeline
print(pipeline("text-generation", model=".")("The world is")[0]["generated_text"])
```
"""
