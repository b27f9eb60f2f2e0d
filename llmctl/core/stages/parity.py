"""A checkpoint in llmctl beside the same in transformers: logits and greedy continuation.

D width, T time, V vocabulary.
"""

from __future__ import annotations

import importlib
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from llmctl.core.errors import DataError, MissingInputError
from llmctl.core.language_model.language_model import LanguageModel
from llmctl.core.recipe import GeneratePlan

EXTRA = "pip install 'llmctl-toolkit[parity]'"
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Parity:
    """What the comparison found.

    Attributes:
        num_prompt_tokens: Ids of the prompt, equal in both.
        ids_agree: Both tokenizers gave these ids.
        largest_difference: Of any logit at any position, prompt and continuation, both read
            whole, in float32.
        largest_logit: The greatest of their absolute values.
        num_tokens: Tokens that both wrote greedily.
        first_difference: Index of the first token that differs, or None.
        text: What llmctl wrote.
        their_text: What transformers wrote.
    """

    num_prompt_tokens: int
    ids_agree: bool
    largest_difference: float
    largest_logit: float
    num_tokens: int
    first_difference: int | None
    text: str
    their_text: str

    @property
    def agrees(self) -> bool:
        """Whether ids, logits and continuation are the same."""
        is_close = self.largest_difference <= TOLERANCE * max(1.0, self.largest_logit)
        return self.ids_agree and is_close and self.first_difference is None

    def __str__(self) -> str:
        at = self.first_difference
        tokens = f"all {self.num_tokens} tokens agree" if at is None else f"token {at + 1} differs"
        lines = [
            f"prompt: {self.num_prompt_tokens} tokens, ids "
            + ("agree" if self.ids_agree else "differ"),
            f"logits: largest difference {self.largest_difference:.2g}, "
            f"largest logit {self.largest_logit:.2f}",
            f"greedy: {tokens}",
        ]
        if at is not None:
            lines += [f"  llmctl       {self.text!r}", f"  transformers {self.their_text!r}"]
        return "\n".join(lines)


def compare(path: Path, prompt: str, *, max_tokens: int) -> Parity:
    """Run both on the CPU in float32.

    Args:
        path: A model directory.
        prompt: Continued greedily by both.
        max_tokens: Tokens of the continuation.

    Raises:
        MissingInputError: transformers is not installed, or the model is not there.
        DataError: Either cannot read the checkpoint.
    """
    transformers = _transformers()
    model = LanguageModel.load(path, device="cpu", dtype="float32")
    ids = list(model.completer.request(0, model.completer.prompt(prompt)).prompt)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = transformers.AutoModelForCausalLM.from_pretrained(
                path, dtype=torch.float32, attn_implementation="eager"
            ).eval()
            tokenizer = transformers.AutoTokenizer.from_pretrained(path)
            their_ids = list(tokenizer(prompt)["input_ids"]) or ids
    except Exception as error:  # whatever transformers ends with
        raise DataError(f"{path}: transformers cannot read it: {error}") from error
    plan = GeneratePlan(temperature=0.0, max_tokens=max_tokens)
    written = next(iter(model.complete([prompt], plan, seed=0)))
    their_written = _greedy(theirs, ids, len(written.token_ids), model.generation.stop_ids)
    text_1T = torch.tensor([[*ids, *written.token_ids]])[:, : model.model.context_tokens]
    with torch.inference_mode():
        ours_1TV, theirs_1TV = model.model(text_1T), theirs(text_1T).logits
    pairs = zip(written.token_ids, their_written, strict=False)
    differing = (index for index, (ours, other) in enumerate(pairs) if ours != other)
    return Parity(
        num_prompt_tokens=len(ids),
        ids_agree=ids == their_ids,
        largest_difference=float((ours_1TV - theirs_1TV).abs().max()),
        largest_logit=float(theirs_1TV.abs().max()),
        num_tokens=len(written.token_ids),
        first_difference=next(differing, None),
        text=written.text,
        their_text=model.tokenizer.decode_continuation(their_written),
    )


def _transformers() -> Any:
    try:
        transformers = importlib.import_module("transformers")
    except ImportError as error:
        raise MissingInputError(f"--parity needs transformers: {EXTRA}") from error
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers


def _greedy(model: Any, ids: list[int], num_tokens: int, stop_ids: frozenset[int]) -> list[int]:
    """Plain greedy search: what a checkpoint's own settings would change is left out."""
    tokens_1T = torch.tensor([ids])
    cache, written = None, list[int]()
    with torch.inference_mode():
        while len(written) < num_tokens:
            result = model(tokens_1T, past_key_values=cache, use_cache=True)
            cache = result.past_key_values
            written.append(int(result.logits[0, -1].argmax()))
            if written[-1] in stop_ids:
                break
            tokens_1T = torch.tensor([written[-1:]])
    return written
