"""A model named by its id on the Hugging Face Hub: found in the Hub's cache, else downloaded."""

from __future__ import annotations

import os
from pathlib import Path

from llmctl.core.artifacts.hub_cache import HubReference, cache_directory
from llmctl.core.artifacts.hub_download import DownloadRefusedError, download
from llmctl.core.artifacts.hub_layout import is_whole
from llmctl.core.errors import MissingInputError
from llmctl.core.progress import Progress

_OFFLINE_VARIABLES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
_TRUE = ("1", "ON", "YES", "TRUE")


def locate(reference: HubReference, *, progress: Progress | None = None) -> Path:
    """Return the directory of a model of the Hub, downloading what the cache lacks.

    Only safetensors, their index, the tokenizer and JSON are downloaded: nothing pickled,
    nothing that could be run. Files that are whole stay, so that the next call goes on.

    Args:
        reference: See `parse_reference`.
        progress: Told of the bytes that arrive.

    Raises:
        MissingInputError: It is neither in the cache nor to be had.
        OutputError: The cache cannot be written.
        StorageError: The disk is full or failing.
    """
    cached = reference.cached()
    if cached is not None and is_whole(cached):
        return cached
    offline = [name for name in _OFFLINE_VARIABLES if os.environ.get(name, "").upper() in _TRUE]
    try:
        if offline:
            raise DownloadRefusedError(f"{offline[0]} is set")
        return download(reference, progress or Progress())
    except DownloadRefusedError as error:
        where = (
            f"the Hub's cache {cache_directory()} does not hold it"
            if cached is None
            else f"{cached} holds only parts of it"
        )
        raise MissingInputError(
            f"{reference.id}: {where}, and it cannot be downloaded: {error}; "
            "name the directory of a model that lies elsewhere with -m DIRECTORY"
        ) from error
