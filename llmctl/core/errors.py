"""Errors that are the user's to mend, each with the exit code that a script sees.

The codes are those of BSD's sysexits.h where one fits. A programmer's mistake is a
ValueError and ends as a traceback.
"""

from __future__ import annotations

import signal


class LlmctlError(Exception):
    """What was found, what was expected, where, and what to do about it."""

    exit_code = 1


class NumericsError(LlmctlError):
    """The arithmetic left the finite numbers and the ways back are used up."""


class UsageError(LlmctlError):
    """The command's words do not fit together."""

    exit_code = 2


class DataError(LlmctlError):
    """Data that is damaged, unreadable or not of its format."""

    exit_code = 65


class MissingInputError(LlmctlError):
    """Something that was to be read is not there."""

    exit_code = 66


class DeviceError(LlmctlError):
    """The device asked for is absent or cannot do the work."""

    exit_code = 69


class OutputError(LlmctlError):
    """A file could not be made."""

    exit_code = 73


class StorageError(OutputError):
    """Reading or writing broke off: a full disk, a failing one."""

    exit_code = 74


class BusyError(LlmctlError):
    """Another process holds the run."""

    exit_code = 75


class OutOfTime(LlmctlError):
    """`--max-seconds` ran out; the same command goes on from where this one stopped."""

    exit_code = 75


class RecipeError(LlmctlError):
    """The recipe asks for something that cannot be."""

    exit_code = 78


class Interrupted(LlmctlError):
    """A signal asked for the end and the work was left in order.

    Args:
        signal_number: The signal, to be raised again once all is tidy, so that a shell
            sees a command ended by it.
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__(
            f"stopped by {signal.Signals(signal_number).name}; the same command goes on from here"
        )
        self.signal_number = signal_number
        self.exit_code = 128 + signal_number
