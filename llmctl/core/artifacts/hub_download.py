"""Downloading a model from the Hugging Face Hub into the Hub's cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from llmctl.core import atomic
from llmctl.core.artifacts.hub_cache import HubReference, cache_directory
from llmctl.core.artifacts.hub_connection import (
    ANSWER_SECONDS,
    DownloadRefusedError,
    bar_class,
    endpoint,
    quiet_hub,
    refusals,
    repository_files,
)
from llmctl.core.artifacts.hub_layout import (
    BPE_NAMES,
    CONFIG_NAME,
    GENERATION_CONFIG_NAME,
    INDEX_NAME,
    TOKENIZER_CONFIG_NAME,
    TOKENIZER_NAME,
    WEIGHTS_NAME,
    has_tokenizer,
    read_index,
    vocabulary_names,
)
from llmctl.core.progress import Progress

# Beside the weights; nothing pickled and nothing that could be run.
_SMALL_NAMES = (
    CONFIG_NAME,
    GENERATION_CONFIG_NAME,
    TOKENIZER_NAME,
    *BPE_NAMES,
    TOKENIZER_CONFIG_NAME,
    "special_tokens_map.json",
    "chat_template.jinja",
)


def download(reference: HubReference, progress: Progress, *, tokenizer_only: bool = False) -> Path:
    """Download what the cache lacks of a model and return its snapshot.

    Files that arrived whole stay if it breaks off, and the next call goes on after them.

    Args:
        reference: The model.
        progress: Told of the bytes that arrive.
        tokenizer_only: Leave the weights where they are.

    Raises:
        DownloadRefusedError: The Hub is not to be reached, or does not give the model away.
        DataError: The index of the weights that was downloaded is damaged.
        OutputError: The cache cannot be written.
        StorageError: The disk is full or failing.
    """
    with quiet_hub():
        return _Download(reference, progress, tokenizer_only=tokenizer_only).run()


class _Download:
    """The files of one commit on their way into the cache."""

    def __init__(
        self, reference: HubReference, progress: Progress, *, tokenizer_only: bool
    ) -> None:
        self.reference = reference
        self.progress = progress
        self._tokenizer_only = tokenizer_only
        self._endpoint = endpoint()
        self._has_begun = False
        self._num_bytes = 0.0

    def run(self) -> Path:
        """Download what is missing and return the snapshot."""
        commit, sizes = self._ask()
        names = [name for name in _SMALL_NAMES if name in sizes]
        if self._tokenizer_only:
            names += [name for name in vocabulary_names(set(sizes)) if name not in names]
        elif WEIGHTS_NAME in sizes:
            names.append(WEIGHTS_NAME)
        else:
            index = self._fetch(commit, INDEX_NAME)
            names += [INDEX_NAME, *sorted({*read_index(index).values()})]
        missing = [name for name in names if name not in sizes]
        if missing:
            raise DownloadRefusedError(f"its index names {missing[0]}, which is not there")
        self._begin(sum(sizes[name] for name in names))
        try:
            for name in names:
                before = self._num_bytes
                self._fetch(commit, name)
                # What was there already, or came compressed.
                self._count(sizes[name] - (self._num_bytes - before))
        finally:
            self.progress.end()
        self._name(commit)
        return self.reference.snapshot(commit)

    def _ask(self) -> tuple[str, dict[str, int]]:
        """Return the commit and the size of each of its files, in bytes."""
        commit, sizes = repository_files(self.reference, self.progress)
        if self._tokenizer_only:
            if not vocabulary_names(set(sizes)):
                raise DownloadRefusedError("it holds no tokenizer")
            return commit, sizes
        if not {WEIGHTS_NAME, INDEX_NAME} & sizes.keys():
            raise DownloadRefusedError(
                "it holds no safetensors, and pickled weights are never opened"
            )
        if CONFIG_NAME not in sizes or not has_tokenizer(set(sizes)):
            raise DownloadRefusedError(
                f"it lacks {CONFIG_NAME}, or both {TOKENIZER_NAME} and {' with '.join(BPE_NAMES)}"
            )
        return commit, sizes

    def _fetch(self, commit: str, name: str) -> Path:
        from huggingface_hub import hf_hub_download

        self.progress.check()
        with refusals(self.reference, self._endpoint):
            path = hf_hub_download(
                self.reference.id,
                name,
                revision=commit,
                cache_dir=cache_directory(),
                endpoint=self._endpoint,
                etag_timeout=ANSWER_SECONDS,
                tqdm_class=cast("Any", bar_class(self._count, self.progress.check)),
            )
        return Path(path)

    def _name(self, commit: str) -> None:
        """Let the revision lead to the commit; last, so that no name leads to a part."""
        if commit == self.reference.revision:
            return
        ref = self.reference.folder / "refs" / self.reference.revision
        with atomic.storage_errors(ref):
            ref.parent.mkdir(parents=True, exist_ok=True)
            atomic.write_file(ref, commit.encode())

    def _begin(self, total_bytes: int) -> None:
        self._has_begun = True
        self.progress.begin(f"download {self.reference.id}", total_bytes / 1e6, "MB")

    def _count(self, num_bytes: float) -> None:
        if self._has_begun:
            self._num_bytes += num_bytes
            self.progress.advance(num_bytes / 1e6)
