"""Lines of text and a model → a file of vectors."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from llmctl.core.artifacts.text_records import open_texts
from llmctl.core.artifacts.vector_file import write_vectors
from llmctl.core.errors import DataError
from llmctl.core.language_model.embedding import VectorPlan
from llmctl.core.language_model.language_model import LanguageModel
from llmctl.core.progress import Progress

BLOCK_TEXTS = 512  # sorted by length and in memory at a time


def embed(
    plan: VectorPlan,
    model: LanguageModel,
    source: str,
    out: Path,
    *,
    text_field: str | None,
    progress: Progress,
) -> tuple[int, int]:
    """Write a vector for each line of a file.

    Args:
        plan: What a vector is made of.
        model: The model.
        source: A file of lines or of JSON Lines; "-" for standard input.
        out: The .npy file.
        text_field: See `open_texts`.
        progress: Told of each batch.

    Returns:
        The shape that was written: texts and width.

    Raises:
        MissingInputError: The file is not there.
        DataError: A line is empty, unreadable or too long, or there is none.
        UsageError: The plan does not fit the model.
        OutputError: `out` cannot be created.
    """
    embedder = model.embedder(plan)
    num_texts = 0
    progress.begin("embed", unit="texts")
    with (
        open_texts(source, text_field) as texts,
        write_vectors(out, embedder.width) as append,
    ):
        while block := list(islice(texts, BLOCK_TEXTS)):
            append(embedder.embed([text for _, text in block], [at for at, _ in block], progress))
            num_texts += len(block)
        if not num_texts:
            raise DataError(f"{source}: no text in it")
    progress.end()
    return num_texts, embedder.width
