"""`llmctl verify`: are the files what their manifests say, byte for byte?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llmctl.commands import options


def verify(
    directory: Annotated[Path, typer.Argument(help="An artifact, or a run with its artifacts.")],
    as_json: options.AsJson = False,
) -> None:
    """Hash every file of an artifact, or of all artifacts of a run."""
    from llmctl.commands.stage_command import print_json
    from llmctl.core.stages.verify import verify_directory

    verified = verify_directory(directory)
    if as_json:
        print_json({str(path): num_files for path, num_files in verified.items()})
        return
    for path, num_files in verified.items():
        typer.echo(f"{path}: {num_files} files intact")
