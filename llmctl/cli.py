"""The Typer app, and `main`: errors and signals → exit codes."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Annotated, Any

import typer

from llmctl import __version__

app = typer.Typer(
    name="llmctl",
    help="Raw text to an evaluated, generating language model: one recipe, five verbs.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

COMMANDS = (
    "run",
    "clean",
    "tokenize",
    "train",
    "eval",
    "generate",
    "status",
    "validate",
    "recipes",
    "schema",
    "verify",
    "inspect",
    "embed",
    "export",
)


GARBAGE_THRESHOLD = 100_000
SHORT_SPIN, LONG_SPIN = 5_000, 50_000
LOAD = Path("/proc/loadavg")  # its fourth field: processes that run now, we among them


def _command(name: str) -> Callable[..., Any]:
    return getattr(importlib.import_module(f"llmctl.commands.{name}"), name)


for _name in COMMANDS:
    app.command(_name)(_command(_name))


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"llmctl {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Raw text to an evaluated, generating language model: one recipe, five verbs."""


def spin_count(command: Sequence[str]) -> int:
    """Return how often a waiting thread looks before it sleeps.

    Writing a text is thousands of small products a second: where nobody else wants the
    cores, threads that stay awake from one to the next write GPT-2 a quarter faster; with one
    busy neighbour they would write it at 40 % of the speed. A training outlasts what the
    machine looks like now.
    """
    if list(command) != ["generate"]:
        return SHORT_SPIN
    try:
        num_running = int(LOAD.read_text(encoding="ascii").split()[3].partition("/")[0])
    except (OSError, ValueError, IndexError):  # not Linux
        return SHORT_SPIN
    return LONG_SPIN if num_running <= 1 else SHORT_SPIN


def main() -> None:
    """Run the command line; never returns normally.

    A user's error is one plain message on stderr and its class's exit code. An end by
    signal is an end by that very signal, so that a shell's loop around llmctl ends too.
    """
    # What imports make is there to stay; looking for cycles in it each 700 objects takes a tenth
    # of the time of importing torch.
    gc.set_threshold(GARBAGE_THRESHOLD)
    # Threads that spin long while they wait for one another make a busy machine ten times
    # slower; some microseconds of it let small products, such as those of one token, begin
    # at once. Read when torch is first imported, the second by GNU's OpenMP alone.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if os.environ["OMP_WAIT_POLICY"] == "PASSIVE":
        os.environ.setdefault("GOMP_SPINCOUNT", str(spin_count(sys.argv[1:2])))
    # A reader that closes its end of the pipe, such as `head`, ends us quietly.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    # Outside of the work that ends in good order, an interrupt ends us as it would anyone: by
    # the signal, which a shell's loop around us understands, and not by an exception.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    _prepare_streams()
    from llmctl.core.errors import Interrupted, LlmctlError

    try:
        app()
    except Interrupted as error:
        from llmctl.core.stopping import die_by

        _complain(str(error))
        _give_up_broken_streams()
        die_by(error.signal_number)
    except LlmctlError as error:
        _complain(str(error))
        _give_up_broken_streams()
        sys.exit(error.exit_code)
    except OSError as error:
        from llmctl.core.errors import StorageError

        reason = error.strerror or str(error)
        _complain(f"{error.filename}: {reason}" if error.filename else reason)
        _give_up_broken_streams()
        sys.exit(StorageError.exit_code)


def _prepare_streams() -> None:
    """Text is UTF-8 whatever the locale says; a stream that is closed leads nowhere."""
    for name, mode, errors in (
        ("stdin", "r", "surrogateescape"),
        ("stdout", "w", "backslashreplace"),
        ("stderr", "w", "backslashreplace"),
    ):
        stream = getattr(sys, name)
        reconfigure = getattr(stream, "reconfigure", None)
        if stream is None:  # takes the free descriptor, too, lest a file of ours get it
            setattr(sys, name, _nowhere(mode))
        elif reconfigure is not None:
            reconfigure(encoding="utf-8", errors=errors)


def _complain(message: str) -> None:
    with contextlib.suppress(OSError):  # a full disk may be the reason, and hold the log as well
        sys.stderr.write(f"llmctl: {message}\n" if "\n" not in message else f"{message}\n")
        sys.stderr.flush()


def _give_up_broken_streams() -> None:
    """Drop what cannot be written, or Python would fail at it again and exit with 120."""
    for name in ("stdout", "stderr"):
        try:
            getattr(sys, name).flush()
        except OSError:
            setattr(sys, name, _nowhere("w"))


def _nowhere(mode: str) -> IO[Any]:
    return Path(os.devnull).open(mode, encoding="utf-8")
