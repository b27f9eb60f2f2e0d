"""The Hugging Face Hub's ids of models and data sets, and where its cache on this disk keeps them.

The cache is the one that transformers and huggingface_hub fill and read. It is read here
without huggingface_hub, whose import takes as long as all of `llmctl --help`.
Layout: https://huggingface.co/docs/huggingface_hub/guides/manage-cache
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

COMMIT = re.compile(r"[0-9a-f]{40}")
_MAIN = "main"
_PART = r"[A-Za-z0-9_](?:[\w.-]{0,94}\w)?"
_REFERENCE = re.compile(
    rf"(?P<id>{_PART}(?:/{_PART})?)(?:@(?P<revision>{_PART}(?:/{_PART})*))?", re.ASCII
)


@dataclass(frozen=True)
class HubReference:
    """A repository of a model or a data set, and a commit of it.

    Attributes:
        id: As on the Hub: `gpt2`, `Qwen/Qwen3-0.6B`.
        revision: A branch, a tag or a commit's full hash.
        kind: Which of both.
    """

    id: str
    revision: str = _MAIN
    kind: Literal["model", "dataset"] = "model"

    @property
    def folder(self) -> Path:
        """Where the cache keeps the repository."""
        return cache_directory() / f"{self.kind}s--{self.id.replace('/', '--')}"

    def snapshot(self, commit: str) -> Path:
        """Where the cache keeps a commit's files."""
        return self.folder / "snapshots" / commit

    def cached(self) -> Path | None:
        """The snapshot in the cache, whole or not, or None."""
        try:
            commit = (self.folder / "refs" / self.revision).read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            commit = self.revision
        if not COMMIT.fullmatch(commit) or not self.snapshot(commit).is_dir():
            return None
        return self.snapshot(commit)


def parse_reference(text: str) -> HubReference | None:
    """Return what `owner/name` or `name`, with or without `@revision`, stands for.

    None where it cannot be the Hub's, by the Hub's own rules for names.
    """
    match = _REFERENCE.fullmatch(text)
    if match is None or "--" in match["id"] or ".." in text or match["id"].endswith(".git"):
        return None
    return HubReference(match["id"], match["revision"] or _MAIN)


def cache_directory() -> Path:
    """Where models of the Hub are kept: `$HF_HUB_CACHE`, `$HF_HOME/hub`, or the default."""
    variables = os.environ
    if not (found := variables.get("HF_HUB_CACHE")):
        home = variables.get("HF_HOME")
        found = f"{home or variables.get('XDG_CACHE_HOME') or '~/.cache'}"
        found += "/hub" if home else "/huggingface/hub"
    return Path(os.path.expandvars(found)).expanduser()
