"""A Transformer and its tokenizer as one thing: loaded, saved, asked to score and to write."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import torch

from llmctl.core.artifacts import hub_files
from llmctl.core.artifacts.hub_files import HubFiles
from llmctl.core.artifacts.tensor_files import TensorFiles
from llmctl.core.errors import DataError
from llmctl.core.language_model import completion, scoring
from llmctl.core.language_model.completion import Completion
from llmctl.core.language_model.families import FAMILIES
from llmctl.core.language_model.families.family import Family
from llmctl.core.language_model.scoring import TextScore
from llmctl.core.model.device import DTYPES, resolve_device, resolve_dtype
from llmctl.core.model.transformer import Transformer
from llmctl.core.recipe import GeneratePlan, ModelShape
from llmctl.core.tokens.tokenizer import END_OF_TEXT, Tokenizer

WRITTEN_FAMILY = FAMILIES["qwen3"]


class LanguageModel:
    """Strings in, strings and numbers out.

    Args:
        model: Filled with weights.
        tokenizer: The one it was trained with.

    Raises:
        DataError: The tokenizer has more entries than the model.
    """

    def __init__(self, model: Transformer, tokenizer: Tokenizer) -> None:
        if tokenizer.vocab_size > model.vocab_size:
            raise DataError(
                f"the tokenizer has {tokenizer.vocab_size} entries and the model only "
                f"{model.vocab_size}; they do not belong together"
            )
        self.model = model
        self.tokenizer = tokenizer

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
        model = load_transformer(path).to(device=target, dtype=torch_dtype)
        return cls(model.eval(), Tokenizer.from_file(hub_files.tokenizer_file(path)))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.output_weight.device

    def score(self, texts: Sequence[str]) -> list[TextScore]:
        """Score every token of each text; see `scoring.score_texts`."""
        return scoring.score_texts(self.model, self.tokenizer, texts)

    def complete(
        self, prompts: Sequence[str], plan: GeneratePlan, *, seed: int
    ) -> Iterator[Completion]:
        """Yield the continuation of each prompt, in order; see `completion.complete`."""
        return completion.complete(self.model, self.tokenizer, prompts, plan, seed=seed)

    def stream(
        self, prompt: str, plan: GeneratePlan, *, seed: int
    ) -> Generator[str, None, Completion]:
        """Yield one continuation in pieces and return it whole; see `completion.stream`."""
        return completion.stream(self.model, self.tokenizer, prompt, plan, seed=seed)


def load_transformer(directory: Path) -> Transformer:
    """Read config.json and the weights, in the types they are stored in, on the CPU.

    Nothing of the size that the config claims is allocated before the tensors' shapes
    in the file have been found to agree with it.

    Raises:
        MissingInputError: A file is not there.
        DataError: See `LanguageModel.load`.
    """
    config = hub_files.read_config(directory)
    family = _family(config.get("model_type"), directory)
    try:
        shape, vocab_size = family.shape_from_config(config)
    except DataError as error:
        raise DataError(f"{directory}: {error}") from error
    files = TensorFiles(directory)
    names = _check_tensors(files, family, shape, vocab_size)
    with torch.device("meta"):
        model = Transformer(shape, vocab_size)
    tensors = dict(files.read(names.values()))
    model.load_state_dict({ours: tensors[theirs] for ours, theirs in names.items()}, assign=True)
    return model


def _family(model_type: object, directory: Path) -> Family:
    if not isinstance(model_type, str) or model_type not in FAMILIES:
        raise DataError(
            f"{directory / hub_files.CONFIG_NAME}: unknown model_type {model_type!r}; "
            f"known: {', '.join(sorted(FAMILIES))}"
        )
    return FAMILIES[model_type]


def _check_tensors(
    files: TensorFiles, family: Family, shape: ModelShape, vocab_size: int
) -> dict[str, str]:
    """Return our name → the file's of every parameter, each one's shape compared."""
    # A config may claim any number of layers; this stops at the first without tensors.
    names: dict[str, str] = {}
    for ours, theirs in family.names(shape):
        files.require_name(theirs)
        names[ours] = theirs
    with torch.device("meta"):
        parameters = dict(Transformer(shape, vocab_size).named_parameters())
    for ours, theirs in names.items():
        files.require(theirs, tuple(parameters[ours].shape))
    files.refuse_others(frozenset(names.values()) | {family.output_name})
    return names


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
    family, shape = WRITTEN_FAMILY, model.shape
    end_id = Tokenizer.from_file(tokenizer_path).end_of_text_id
    ends = {"bos_token_id": end_id, "eos_token_id": end_id}
    dtype = str(model.output_weight.dtype).removeprefix("torch.")
    files = HubFiles(
        config={
            "architectures": [family.architecture],
            "model_type": family.model_type,
            "vocab_size": model.vocab_size,
            **family.config_from_shape(shape),
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
            "model_max_length": shape.context_tokens,
            "clean_up_tokenization_spaces": False,
        },
        tokenizer_path=tokenizer_path,
        card=card,
    )
    parameters = dict(model.named_parameters())
    tensors = {theirs: parameters[ours].detach() for ours, theirs in family.names(shape)}
    hub_files.write_hub_files(directory, files, tensors)
