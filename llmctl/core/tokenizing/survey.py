"""What there is in a corpus, before a tokenizer is trained on a part of it. D documents."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from llmctl.core import atomic
from llmctl.core.errors import DataError
from llmctl.core.text.splitting import content_hashes
from llmctl.core.tokenizing.corpus_units import UnitJob
from llmctl.core.worker_pool import Advance, Done


@dataclass(frozen=True)
class Survey:
    """Of a unit, or of all.

    Attributes:
        hashes_D: Content hash of each document.
        byte_counts_D: Bytes of its text in UTF-8.
        languages_D: The number of its language in `languages`.
        languages: Those that occur.
    """

    hashes_D: NDArray[np.uint64]
    byte_counts_D: NDArray[np.int64]
    languages_D: NDArray[np.int64]
    languages: tuple[str, ...]

    @classmethod
    def together(cls, surveys: Iterable[Survey]) -> Survey:
        """Put the surveys of units together."""
        found = list(surveys)
        languages = sorted({language for survey in found for language in survey.languages})
        numbers = {language: number for number, language in enumerate(languages)}
        return cls(
            np.concatenate([survey.hashes_D for survey in found]),
            np.concatenate([survey.byte_counts_D for survey in found]),
            np.concatenate(
                [
                    np.array([numbers[name] for name in survey.languages], dtype=np.int64)[
                        survey.languages_D
                    ]
                    for survey in found
                ]
            ),
            tuple(languages),
        )

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all.

        Raises:
            StorageError: The disk is full.
        """
        content = io.BytesIO()
        np.savez(
            content,
            hashes=self.hashes_D,
            byte_counts=self.byte_counts_D,
            languages=self.languages_D,
            names=np.array(self.languages, dtype=np.str_),
        )
        atomic.write_file(path, content.getvalue())

    @classmethod
    def read(cls, path: Path) -> Survey:
        """Read a file that `write` made.

        Raises:
            DataError: It is damaged.
        """
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as found:
                return cls(
                    found["hashes"],
                    found["byte_counts"],
                    found["languages"],
                    tuple(map(str, found["names"])),
                )
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise DataError(f"{path}: damaged; remove it and run the same command again") from error


def survey_path(units: Path, name: str) -> Path:
    """Where the survey of a unit lies."""
    return units / f"{name}.survey.npz"


class Surveyor:
    """Surveys units; what is there already is left alone.

    Args:
        units: Where the surveys go.
    """

    def __init__(self, units: Path) -> None:
        self._units = units

    def __call__(self, job: UnitJob, advance: Advance) -> None:
        """Survey one unit."""
        path = survey_path(self._units, job.name)
        if not path.exists():
            survey(job).write(path)
        advance(Done(documents=job.lines.count(b"\n")))


def survey(job: UnitJob) -> Survey:
    """Survey one unit, and write nothing."""
    documents = job.documents()
    texts = [document.plain_text for document in documents]
    languages = sorted({document.language for document in documents})
    numbers = {language: number for number, language in enumerate(languages)}
    return Survey(
        content_hashes(texts),
        np.array([len(text.encode("utf-8")) for text in texts], dtype=np.int64),
        np.array([numbers[document.language] for document in documents], dtype=np.int64),
        tuple(languages),
    )
