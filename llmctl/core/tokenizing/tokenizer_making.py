"""The tokenizer of shards: trained on the corpora, or taken from elsewhere."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import tokenizers

from llmctl.core import atomic
from llmctl.core.artifacts.documents import json_bytes
from llmctl.core.artifacts.shards import TOKENIZER_NAME, dtype_for
from llmctl.core.artifacts.shards_facts import TokenizerTraining, TrainingText
from llmctl.core.errors import DataError, RecipeError
from llmctl.core.job_runner import JobRunner
from llmctl.core.progress import Progress
from llmctl.core.text.splitting import validation_bound
from llmctl.core.tokenize_plan import TokenizePlan
from llmctl.core.tokenizing.corpus_units import CorpusUnits
from llmctl.core.tokenizing.survey import Survey, Surveyor, survey_path
from llmctl.core.tokenizing.tokenizer_reference import resolve_tokenizer
from llmctl.core.tokenizing.training_text import TextSampler, plan_text, training_text_path
from llmctl.core.tokens.tokenizer import END_OF_TEXT, Tokenizer
from llmctl.core.tokens.tokenizer_training import TrainingRequest, cut
from llmctl.core.tokens.training_process import train_in_child
from llmctl.core.workspace import Workspace

_LARGEST_NAME = "tokenizer-largest.json"
_TEXT_NAME = "tokenizer-text.json"
_TRAINING_NAME = "tokenizer-training"
_TEXTS_NAME = "tokenizer-texts"


@dataclass(frozen=True, slots=True)
class MadeTokenizer:
    """A tokenizer, and what belongs to it.

    Attributes:
        path: Its tokenizer.json.
        largest: That of the largest size trained; None where none was trained.
        end_token: What ends a document.
        template: Where its chat template lies; None: nowhere.
        training: What it was trained on; None where it was given.
        end_id: The id of `end_token`.
        dtype: What holds each id.
    """

    path: Path
    largest: Path | None
    end_token: str
    template: Path | None
    training: TokenizerTraining | None
    end_id: int
    dtype: np.dtype[Any]


def make_tokenizer(
    plan: TokenizePlan,
    units: CorpusUnits,
    workspace: Workspace,
    runner: JobRunner,
    base: Path,
    progress: Progress,
) -> MadeTokenizer:
    """Take the tokenizer that `from` names, or train one on the training documents.

    What an earlier start trained is taken up.

    Args:
        plan: The recipe's section.
        units: The corpora.
        workspace: Where the tokenizer goes.
        runner: Reads the corpora.
        base: What the plan's paths are relative to.
        progress: Who watches.

    Raises:
        MissingInputError: The tokenizer is not there.
        DataError: It or the corpora are damaged, texts would not come back from it, or there
            is too little text for two splits.
        RecipeError: There is no token that ends a document, a share is given to a language
            that there is no text of, a special token cannot be one, or a size holds less than
            bytes and special tokens.
        LlmctlError: Training failed.
        StorageError: The disk is full.
        Interrupted, OutOfTime: `progress` asked for the end.
    """
    if plan.from_ is not None:
        return _reused(plan, plan.from_, workspace, base, progress)
    return _trained(plan, units, workspace, runner, progress)


def _reused(
    plan: TokenizePlan, reference: str, workspace: Workspace, base: Path, progress: Progress
) -> MadeTokenizer:
    source = resolve_tokenizer(
        reference,
        base,
        end_token=plan.end_token,
        pretokenizer=plan.pretokenizer,
        progress=progress,
    )
    reason = source.tokenizer.lossy_reason()
    if reason is not None:
        if not plan.allow_lossy:
            raise DataError(
                f"tokenize.from {reference}: {reason}; set tokenize.allow_lossy to use it all "
                "the same"
            )
        progress.warn(f"tokenize.from {reference}: {reason}")
    path = workspace.units / TOKENIZER_NAME
    if not path.exists():
        atomic.write_file(path, source.content)
    return _made(path, source.tokenizer, source.end_token, template=source.chat_template_directory)


def _trained(
    plan: TokenizePlan,
    units: CorpusUnits,
    workspace: Workspace,
    runner: JobRunner,
    progress: Progress,
) -> MadeTokenizer:
    request = _request(plan)
    largest = workspace.units / _LARGEST_NAME
    text_path = workspace.units / _TEXT_NAME
    if not largest.exists():
        texts = workspace.path / _TEXTS_NAME
        atomic.remove_tree(texts)
        texts.mkdir(parents=True)
        taken, names = _write_texts(plan, units, workspace, runner, texts)
        atomic.write_file(
            text_path, json_bytes({name: asdict(text) for name, text in taken.items()})
        )
        train_in_child(
            [training_text_path(texts, name) for name in names],
            request,
            workspace.path / _TRAINING_NAME,
            largest,
            progress=progress,
        )
        atomic.remove_tree(texts)
    path = workspace.units / TOKENIZER_NAME
    if not path.exists():
        trained = tokenizers.Tokenizer.from_file(str(largest))
        content = cut(trained, plan.vocab_size).to_str(pretty=True)
        atomic.write_file(path, content.encode("utf-8") + b"\n")
    tokenizer = Tokenizer.from_file(path, lossless=True)
    if tokenizer.vocab_size < plan.vocab_size and plan.model != "byte":
        progress.warn(
            f"the text gives a vocabulary of {tokenizer.vocab_size:,} entries, not of "
            f"{plan.vocab_size:,}: nothing else occurs {plan.min_frequency} times"
        )
    found = orjson.loads(text_path.read_bytes())
    training = TokenizerTraining(
        plan.model,
        plan.pretokenizer or "llmctl",
        plan.min_frequency,
        {name: TrainingText(**text) for name, text in found.items()},
    )
    end_token = plan.end_token or END_OF_TEXT
    return _made(path, tokenizer, end_token, largest=largest, training=training)


def _made(
    path: Path,
    tokenizer: Tokenizer,
    end_token: str,
    *,
    largest: Path | None = None,
    template: Path | None = None,
    training: TokenizerTraining | None = None,
) -> MadeTokenizer:
    end_id = tokenizer.id_of(end_token)
    if end_id is None:
        raise RecipeError(f"tokenize.end_token: the tokenizer has no token {end_token!r}")
    dtype = dtype_for(tokenizer.vocab_size)
    return MadeTokenizer(path, largest, end_token, template, training, end_id, dtype)


def _request(plan: TokenizePlan) -> TrainingRequest:
    sizes = (plan.vocab_size, *plan.vocab_sizes)
    try:
        request = TrainingRequest(
            kind=plan.model,
            pretokenizer=plan.pretokenizer or "llmctl",
            vocab_size=min(sizes),
            min_frequency=plan.min_frequency,
            special_tokens=plan.special_tokens,
        )
    except ValueError as error:
        raise RecipeError(f"tokenize.vocab_size: {error}: bytes and special tokens") from error
    return replace(request, vocab_size=max(sizes))


def _write_texts(
    plan: TokenizePlan,
    units: CorpusUnits,
    workspace: Workspace,
    runner: JobRunner,
    texts: Path,
) -> tuple[dict[str, TrainingText], list[str]]:
    for _ in runner.run("read corpus", None, units.jobs(), Surveyor, workspace.units):
        pass
    names = [job.name for job in units.jobs()]
    survey = Survey.together(Survey.read(survey_path(workspace.units, name)) for name in names)
    bound = None
    if not units.is_one_document:
        bound = validation_bound(survey.hashes_D, plan.validation_share)
    text_plan = plan_text(plan, survey, bound)
    documents, num_bytes = Counter[str](), Counter[str]()
    for _, taken in runner.run("sample text", None, units.jobs(), TextSampler, texts, text_plan):
        for language, (count, size) in taken.items():
            documents[language] += count
            num_bytes[language] += size
    return {
        language: TrainingText(documents[language], num_bytes[language])
        for language in sorted(documents)
    }, names
