"""A model named by its id on the Hugging Face Hub: found in the Hub's cache, else downloaded."""

from __future__ import annotations

from pathlib import Path

from llmctl.core.artifacts.hub_cache import HubReference, cache_directory
from llmctl.core.artifacts.hub_connection import DownloadRefusedError, refuse_offline
from llmctl.core.artifacts.hub_download import download
from llmctl.core.artifacts.hub_layout import is_whole, vocabulary_files
from llmctl.core.errors import MissingInputError
from llmctl.core.progress import Progress


def locate(
    reference: HubReference, *, progress: Progress | None = None, tokenizer_only: bool = False
) -> Path:
    """Return the directory of a model of the Hub, downloading what the cache lacks.

    Only safetensors, their index, the tokenizer and JSON are downloaded: nothing pickled,
    nothing that could be run. Files that are whole stay, so that the next call goes on.

    Args:
        reference: See `parse_reference`.
        progress: Told of the bytes that arrive.
        tokenizer_only: Neither look for weights nor download them.

    Raises:
        MissingInputError: It is neither in the cache nor to be had.
        OutputError: The cache cannot be written.
        StorageError: The disk is full or failing.
    """
    cached = reference.cached()
    is_enough = vocabulary_files if tokenizer_only else is_whole
    if cached is not None and is_enough(cached):
        return cached
    try:
        refuse_offline()
        return download(reference, progress or Progress(), tokenizer_only=tokenizer_only)
    except DownloadRefusedError as error:
        where = (
            f"the Hub's cache {cache_directory()} does not hold it"
            if cached is None
            else f"{cached} holds only parts of it"
        )
        advice = (
            "name the path of a tokenizer.json that lies elsewhere"
            if tokenizer_only
            else "name the directory of a model that lies elsewhere with -m DIRECTORY"
        )
        raise MissingInputError(
            f"{reference.id}: {where}, and it cannot be downloaded: {error}; {advice}"
        ) from error
