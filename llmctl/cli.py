"""The Typer app, and `main`: errors and signals → exit codes."""

from __future__ import annotations

import importlib
import signal
import sys
from collections.abc import Callable
from typing import Annotated, Any

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
)


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


def main() -> None:
    """Run the command line; never returns normally.

    A user's error is one plain message on stderr and its class's exit code. An end by
    signal is an end by that very signal, so that a shell's loop around llmctl ends too.
    """
    # A reader that closes its end of the pipe, such as `head`, ends us quietly.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:  # generated text is UTF-8 whatever the locale says
            reconfigure(encoding="utf-8", errors="backslashreplace")
    from llmctl.core.errors import Interrupted, LlmctlError

    try:
        app()
    except Interrupted as error:
        from llmctl.core.stopping import die_by

        _complain(str(error))
        sys.stdout.flush()
        die_by(error.signal_number)
    except LlmctlError as error:
        _complain(str(error))
        sys.exit(error.exit_code)
    except OSError as error:
        from llmctl.core.errors import StorageError

        _complain(str(error))
        sys.exit(StorageError.exit_code)


def _complain(message: str) -> None:
    sys.stderr.write(f"llmctl: {message}\n" if "\n" not in message else f"{message}\n")
    sys.stderr.flush()
