"""What a tokenizer learns from: a bounded, fair part of the training documents' text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson

from llmctl.core import atomic
from llmctl.core.errors import RecipeError
from llmctl.core.text.splitting import content_hashes
from llmctl.core.tokenize_plan import TokenizePlan
from llmctl.core.tokenizing.corpus_units import UnitJob
from llmctl.core.tokenizing.survey import Survey
from llmctl.core.worker_pool import Advance, Done

PASSAGE_CHARACTERS = 4096


@dataclass(frozen=True, slots=True)
class TextPlan:
    """Which part of the text is taken.

    Attributes:
        fractions: By language, the part of its text that is left when long documents are cut.
        max_document_bytes: Of one document.
        bound: A document of a content hash below it is held out; None: the second one is.
    """

    fractions: Mapping[str, float]
    max_document_bytes: int
    bound: int | None


def plan_text(plan: TokenizePlan, survey: Survey, bound: int | None) -> TextPlan:
    """Divide `max_training_bytes` among the languages.

    Args:
        plan: The recipe's section.
        survey: Of all documents.
        bound: As in `TextPlan`.

    Raises:
        RecipeError: A share is given to a language that there is no text of.
    """
    is_learnt_D = np.arange(len(survey.hashes_D)) == 0
    if bound is not None:
        is_learnt_D = survey.hashes_D >= np.uint64(bound)
    usable_D = np.minimum(survey.byte_counts_D, plan.max_document_training_bytes) * is_learnt_D
    usable = dict(
        zip(
            survey.languages,
            np.bincount(survey.languages_D, usable_D, len(survey.languages)).tolist(),
            strict=True,
        )
    )
    unknown = sorted(plan.training_shares.keys() - usable.keys())
    if unknown:
        raise RecipeError(
            f"tokenize.training_shares: no text in {', '.join(unknown)}; the corpus has "
            f"{', '.join(survey.languages)}"
        )
    quotas = divided(plan.max_training_bytes, usable, plan.training_shares)
    fractions = {name: quotas[name] / size if size else 0.0 for name, size in usable.items()}
    return TextPlan(fractions, plan.max_document_training_bytes, bound)


def divided(
    total: float, available: Mapping[str, float], shares: Mapping[str, float]
) -> dict[str, float]:
    """Divide a total: by the shares first, the rest evenly, and nobody more than it has.

    What one cannot use goes to the others.

    Args:
        total: To be divided.
        available: What each has.
        shares: Of the total, for some of them.
    """
    quotas = {name: min(available[name], share * total) for name, share in shares.items()}
    left = total - sum(quotas.values())
    others = sorted(
        (name for name in available if name not in shares), key=lambda name: available[name]
    )
    for position, name in enumerate(others):
        quotas[name] = min(available[name], left / (len(others) - position))
        left -= quotas[name]
    return quotas


class TextSampler:
    """Writes the text of units that a tokenizer is to learn from.

    Args:
        directory: Where it goes, a file a unit.
        plan: Which part is taken.
    """

    def __init__(self, directory: Path, plan: TextPlan) -> None:
        self._directory = directory
        self._plan = plan

    def __call__(self, job: UnitJob, advance: Advance) -> dict[str, tuple[int, int]]:
        """Write one unit's; return the documents and bytes taken by language."""
        documents = job.documents()
        texts = [document.plain_text for document in documents]
        if self._plan.bound is None:
            is_learnt = [number == 0 for number in range(len(texts))]
        else:
            is_learnt = (content_hashes(texts) >= np.uint64(self._plan.bound)).tolist()
        samples = {name: _Sample(fraction) for name, fraction in self._plan.fractions.items()}
        path = training_text_path(self._directory, job.name)
        with path.open("wb") as handle:
            for document, text, learnt in zip(documents, texts, is_learnt, strict=True):
                if not learnt:
                    continue
                sample = samples[document.language]
                for passage in sample.taken(text, self._plan.max_document_bytes):
                    handle.write(orjson.dumps(passage, option=orjson.OPT_APPEND_NEWLINE))
        atomic.observer("write", path)
        advance(Done(documents=len(texts)))
        return {
            name: (sample.num_documents, sample.num_bytes)
            for name, sample in samples.items()
            if sample.num_documents
        }


def training_text_path(directory: Path, name: str) -> Path:
    """Where the text of a unit lies."""
    return directory / f"{name}.jsonl"


class _Sample:
    """A fraction of texts, from all over them."""

    def __init__(self, fraction: float) -> None:
        self._fraction = fraction
        self._seen = 0
        self.num_documents = 0
        self.num_bytes = 0

    def taken(self, text: str, max_bytes: int) -> Iterator[str]:
        size = len(text.encode("utf-8"))
        if not size or not self._fraction:
            return
        share = min(1.0, max_bytes / size) * self._fraction
        if share >= 1:
            self.num_documents += 1
            self.num_bytes += size
            yield text
            return
        is_counted = False
        for start in range(0, len(text), PASSAGE_CHARACTERS):
            passage = text[start : start + PASSAGE_CHARACTERS]
            size = len(passage.encode("utf-8"))
            self._seen += size * share
            if self.num_bytes + size <= self._seen:
                self.num_bytes += size
                is_counted = True
                yield passage
        self.num_documents += is_counted
