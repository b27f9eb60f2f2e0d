"""Every file of an artifact against its manifest, by content."""

from __future__ import annotations

from pathlib import Path

from llmctl.core.errors import LlmctlError, MissingInputError
from llmctl.core.manifest import MANIFEST_NAME, check_files, read_manifest


def verify_directory(directory: Path) -> dict[Path, int]:
    """Hash every file of an artifact, or of all artifacts below a run's directory.

    Returns:
        The number of intact files by artifact.

    Raises:
        MissingInputError: There is no artifact, or a file of one is missing.
        DataError: A file differs from its manifest. All that is wrong is named at once.
    """
    artifacts = [path.parent for path in sorted(directory.rglob(MANIFEST_NAME))]
    artifacts = [path for path in artifacts if not _is_hidden(path.relative_to(directory))]
    if not artifacts:
        raise MissingInputError(f"{directory}: no artifact here ({MANIFEST_NAME} is missing)")
    verified: dict[Path, int] = {}
    errors: list[LlmctlError] = []
    for artifact in artifacts:
        try:
            manifest = read_manifest(artifact)
            if manifest is not None:
                check_files(artifact, manifest)
                verified[artifact] = len(manifest.files)
        except LlmctlError as error:
            errors.append(error)
    if errors:
        raise type(errors[0])("\n".join(str(error) for error in errors))
    return verified


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
