"""What every refusal has in common, whatever was refused."""

from __future__ import annotations

from preloaded_server import Ended

from llmctl.core.errors import DataError, MissingInputError, OutputError, StorageError

BAD_DATA, NO_INPUT = DataError.exit_code, MissingInputError.exit_code
NO_OUTPUT, NO_STORAGE = OutputError.exit_code, StorageError.exit_code


def refused(ended: Ended, exit_code: int, *phrases: str) -> bool:
    """The command ended with this code and one plain message, and soon."""
    assert ended.exit_code == exit_code, ended.stderr
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    message = ended.stderr[ended.stderr.index("llmctl: ") :] if "llmctl: " in ended.stderr else ""
    for phrase in phrases:
        assert phrase in (message or ended.stderr)
    assert len(ended.stderr) < 2000
    assert ended.seconds < 5
    return True
