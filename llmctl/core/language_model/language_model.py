"""A Transformer and its tokenizer as one thing: loaded, saved, asked to score and to write."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as shortened
from typing import Any

import torch
from torch import Tensor, nn

from llmctl.core.artifacts import hub_files
from llmctl.core.artifacts.hub_files import HubFiles
from llmctl.core.artifacts.tensor_files import TensorFiles
from llmctl.core.errors import DataError
from llmctl.core.language_model import scoring
from llmctl.core.language_model.completion import Completer, Completion, Prompt
from llmctl.core.language_model.embedding import Embedder, VectorPlan
from llmctl.core.language_model.families import FAMILIES
from llmctl.core.language_model.families.family import Family
from llmctl.core.language_model.generation_config import GenerationConfig, generation_config
from llmctl.core.language_model.scoring import TextScore
from llmctl.core.model.architecture import Architecture
from llmctl.core.model.device import DTYPES, resolve_device, resolve_dtype
from llmctl.core.model.transformer import OUTPUT_NAME, Transformer
from llmctl.core.recipe import GeneratePlan
from llmctl.core.tokens.tokenizer import END_OF_TEXT, Tokenizer

WRITTEN_FAMILY = FAMILIES["qwen3"]


@dataclass(frozen=True)
class ModelFiles:
    """A model directory whose config and tensors agree; no tensor is read yet.

    Attributes:
        directory: Where it lies.
        config: config.json as it stands.
        family: Of its `model_type`.
        architecture: What the config describes.
        tensors: The weights' headers.
    """

    directory: Path
    config: Mapping[str, Any]
    family: Family
    architecture: Architecture
    tensors: TensorFiles

    def tensor_names(self) -> dict[str, str]:
        """Return the family's name of each tensor of the model → its name in these files."""
        with torch.device("meta"):
            model = Transformer(self.architecture)
        full, found = (
            [name for name, _ in stored_tensors(files, self.family, model)]
            for files in (None, self.tensors)
        )
        return dict(zip(full, found, strict=True))


class LanguageModel:
    """Strings in, strings and numbers out.

    Args:
        model: Filled with weights.
        tokenizer: The one it was trained with.
        generation: Which tokens begin and end its texts, and how it likes to be asked; by
            default the tokenizer's end of a text does both.

    Raises:
        DataError: The tokenizer has more entries than the model.
    """

    def __init__(
        self,
        model: Transformer,
        tokenizer: Tokenizer,
        generation: GenerationConfig | None = None,
    ) -> None:
        require_fit(tokenizer, model.vocab_size)
        self.model = model
        self.tokenizer = tokenizer
        if generation is None:
            end_id = tokenizer.end_of_text_id
            ends = frozenset[int]() if end_id is None else frozenset({end_id})
            generation = GenerationConfig(end_id, ends)
        self.generation = generation.within(model.vocab_size)

    @classmethod
    def load(cls, path: Path, *, device: str = "auto", dtype: str = "auto") -> LanguageModel:
        """Read a model directory in Hugging Face's layout.

        Args:
            path: The directory.
            device: auto, cpu, cuda or mps.
            dtype: auto, float32, bfloat16 or float16, of the weights and the arithmetic.

        Raises:
            MissingInputError: The directory or a file of it is not there.
            DataError: A file is damaged, or the files contradict one another, or ask for
                what llmctl does not compute or will not run.
            DeviceError: The device is not there.
        """
        target = resolve_device(device)
        torch_dtype = DTYPES[resolve_dtype(dtype, target)]
        model = load_transformer(path, device=target, dtype=torch_dtype)
        tokenizer = read_tokenizer(path)
        return cls(model, tokenizer, read_generation_config(path))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.output_weight.device

    def score(self, texts: Sequence[str]) -> list[TextScore]:
        """Score every token of each text; see `scoring.score_texts`."""
        return scoring.score_texts(self.model, self.tokenizer, texts, self.generation.begin_id)

    @property
    def completer(self) -> Completer:
        """What continues prompts with this model, and knows what ends and begins a text."""
        generation = self.generation
        return Completer(self.model, self.tokenizer, generation.stop_ids, generation.begin_id)

    def complete(
        self, prompts: Sequence[str | Prompt], plan: GeneratePlan, *, seed: int
    ) -> Iterator[Completion]:
        """Yield the continuations of each prompt, in order; see `Completer.complete`."""
        return self.completer.complete(prompts, plan, seed=seed)

    def stream(
        self, prompt: str | Prompt, plan: GeneratePlan, *, seed: int
    ) -> Generator[str, None, Completion]:
        """Yield one continuation in pieces and return it whole; see `Completer.stream`."""
        return self.completer.stream(prompt, plan, seed=seed)

    def embedder(self, plan: VectorPlan) -> Embedder:
        """Return what makes vectors of texts; see `Embedder`."""
        return Embedder(self.model, self.tokenizer, self.generation.begin_id, plan)


def require_fit(tokenizer: Tokenizer, vocab_size: int) -> None:
    """Check that a model of so many entries knows all of its tokenizer's.

    Raises:
        DataError: The tokenizer has more.
    """
    if tokenizer.num_entries > vocab_size:
        raise DataError(
            f"the tokenizer has {tokenizer.num_entries} entries and the model only "
            f"{vocab_size}; they do not belong together"
        )


def read_tokenizer(directory: Path) -> Tokenizer:
    """Read a model directory's tokenizer: tokenizer.json, or GPT-2's pair of files.

    Raises:
        MissingInputError: There is neither.
        DataError: It is damaged, or of a kind that is not read.
    """
    pair = hub_files.tokenizer_pair(directory)
    return (
        Tokenizer.from_file(hub_files.tokenizer_file(directory))
        if pair is None
        else (Tokenizer.from_pair(*pair))
    )


def read_generation_config(directory: Path) -> GenerationConfig:
    """Read what a model directory says of generation.

    Raises:
        MissingInputError: There is no config.json.
        DataError: A file is damaged, or a setting not of its kind.
    """
    config, generation = (
        hub_files.read_config(directory),
        hub_files.read_generation_config(directory),
    )
    try:
        return generation_config(config, generation)
    except DataError as error:
        raise DataError(f"{directory}: {error}") from error


def load_transformer(
    directory: Path,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
) -> Transformer:
    """Read config.json and the weights.

    Nothing of the size that the config claims is allocated before the tensors' shapes
    in the files have been found to agree with it; then the weights go straight to where and
    what they are to be.

    Args:
        directory: The model directory.
        device: Of the weights.
        dtype: Of the weights; None for float32.

    Raises:
        MissingInputError: A file is not there.
        DataError: See `LanguageModel.load`.
    """
    found = open_model_files(directory)
    with torch.device("meta"):
        model = Transformer(found.architecture)
    _give_memory(model, dtype or torch.float32, device)
    found.tensors.fill(dict(stored_tensors(found.tensors, found.family, model)))
    return model.eval()


def open_model_files(directory: Path) -> ModelFiles:
    """Read config.json and the tensors' headers, and check that they agree.

    Raises:
        MissingInputError: A file is not there.
        DataError: See `LanguageModel.load`.
    """
    config = hub_files.read_config(directory)
    family = _family(config.get("model_type"), directory)
    try:
        architecture = family.read(config)
    except DataError as error:
        raise DataError(f"{directory}: {error}") from error
    tensors = TensorFiles(directory)
    check_tensors(tensors, family, architecture)
    return ModelFiles(directory, config, family, architecture, tensors)


def _give_memory(model: Transformer, dtype: torch.dtype, device: torch.device | str) -> None:
    """Give a model without memory uninitialised tensors in the place of its parameters.

    Not by `to_empty`: of tensors without memory, PyTorch works that out in Python, and takes a
    third of a second to import what it does it with.
    """
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            memory = torch.empty(parameter.shape, dtype=dtype, device=device)
            setattr(module, name, nn.Parameter(memory))


def _family(model_type: object, directory: Path) -> Family:
    if not isinstance(model_type, str) or model_type not in FAMILIES:
        raise DataError(
            f"{directory / hub_files.CONFIG_NAME}: unknown model_type {shortened(model_type)}; "
            f"known: {', '.join(sorted(FAMILIES))}"
        )
    return FAMILIES[model_type]


def check_tensors(files: TensorFiles, family: Family, architecture: Architecture) -> None:
    """Check that the files hold the architecture's tensors, in its shapes, and no others.

    Raises:
        DataError: They do not.
    """
    # A config may claim any number of layers and experts, and each takes memory to be described.
    num_experts = sum(layer.experts.num_experts for layer in architecture.layers if layer.experts)
    if len(architecture.layers) + num_experts > len(files.shapes):
        experts = f" and {num_experts:,} experts" if num_experts else ""
        raise DataError(
            f"{files.path}: {hub_files.CONFIG_NAME} calls for {len(architecture.layers):,} "
            f"layers{experts}, and the weights consist of {len(files.shapes):,} tensors only"
        )
    with torch.device("meta"):
        model = Transformer(architecture)
    known: set[str] = set()
    for name, tensor in stored_tensors(files, family, model):
        files.require(name, tuple(tensor.shape))
        known.add(name)
    ignored = re.compile(family.ignored)
    tied = family.file_name(OUTPUT_NAME)
    files.refuse_others(
        frozenset(known | {name for name in files.shapes if name == tied or ignored.match(name)})
    )


def stored_tensors(
    files: TensorFiles | None, family: Family, model: Transformer
) -> Iterator[tuple[str, Tensor]]:
    """Yield each tensor of a family's files and the view of the model that it fills.

    Args:
        files: Whose names may lack the family's optional prefix; None for names in full.
        family: Its names.
        model: Whose parameters the views belong to.
    """
    for parameter_name, parts in model.parts():
        whole = family.file_name(parameter_name)
        pieces = [(part.name, part.tensor) for part in parts]
        if whole is not None:
            pieces = [(parameter_name, parts[0].parameter.detach())]
        for ours, tensor in pieces:
            theirs = family.file_name(ours)
            if theirs is None:
                raise ValueError(f"{family.model_type} has no name for {ours}")
            short = theirs.removeprefix(family.optional_prefix)
            if files is not None and theirs not in files.shapes and short in files.shapes:
                theirs = short
            yield theirs, tensor.mT if family.is_transposed(ours) else tensor


def write_language_model(
    directory: Path, model: Transformer, tokenizer_path: Path, card: str
) -> None:
    """Write a model directory that transformers, vLLM and llama.cpp's converter read.

    Args:
        directory: There, and without these files.
        model: Saved in the type of its weights.
        tokenizer_path: Its tokenizer.json.
        card: The README, Markdown with a metadata block.

    Raises:
        OutputError: The files cannot be created.
        StorageError: The disk is full or failing.
    """
    family = WRITTEN_FAMILY
    if family.write is None:
        raise ValueError(f"{family.model_type} is never written anew")
    end_id = Tokenizer.from_file(tokenizer_path, lossless=True).end_of_text_id
    ends = {"bos_token_id": end_id, "eos_token_id": end_id}
    dtype = str(model.output_weight.dtype).removeprefix("torch.")
    files = HubFiles(
        config={
            "architectures": [family.architecture],
            "model_type": family.model_type,
            **family.write(model.architecture),
            **ends,
            # transformers 5 reads the first, older readers the second.
            "dtype": dtype,
            "torch_dtype": dtype,
        },
        # A padding token here quiets transformers; in the other two files it would keep
        # whoever trains the model further from learning where texts end.
        generation_config={**ends, "pad_token_id": end_id},
        tokenizer_config={
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": END_OF_TEXT,
            "eos_token": END_OF_TEXT,
            "model_max_length": model.context_tokens,
            "clean_up_tokenization_spaces": False,
        },
        tokenizer_path=tokenizer_path,
        card=card,
    )
    hub_files.write_hub_files(directory, files, dict(stored_tensors(None, family, model)))
