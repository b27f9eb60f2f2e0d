"""`llmctl tokenize --text` and `--decode`: lines in, lines out, without recipe and corpus."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from llmctl.commands import options
from llmctl.commands.late_progress import LateProgress
from llmctl.core.stopping import Stop, stop_on_signals

if TYPE_CHECKING:
    from llmctl.core.tokens.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Conversion:
    """What is to be turned into what.

    Attributes:
        text: Lines of text to encode: a file, or "-".
        decode: Lines of ids to decode: likewise.
        model: Whose tokenizer; None for the newest model's.
        special: Recognise special tokens in the text.
        with_pieces: Tell the pieces, too.
        raw: Write the very bytes of what is decoded.
    """

    text: str | None
    decode: str | None
    model: str | None
    special: bool
    with_pieces: bool
    raw: bool

    def is_wanted(self, others: Mapping[str, object]) -> bool:
        """Tell whether there is anything to do.

        Args:
            others: What else the command was given, by name; false values were not.

        Raises:
            UsageError: The options do not fit together.
        """
        from llmctl.core.errors import UsageError

        ways = {"--text": self.text, "--decode": self.decode}
        chosen = [name for name, value in ways.items() if value is not None]
        clashing = [*chosen, *(name for name, value in others.items() if value)]
        if chosen and len(clashing) > 1:
            raise UsageError(f"{clashing[0]} and {clashing[1]} do not go together")
        needs = (
            ("--special", self.special, ("--text",)),
            ("--with-pieces", self.with_pieces, ("--text",)),
            ("--raw", self.raw, ("--decode",)),
            ("--model", self.model is not None, ("--text", "--decode")),
        )
        for name, is_given, needed in needs:
            if is_given and not set(chosen) & set(needed):
                raise UsageError(f"{name} needs {' or '.join(needed)}")
        return bool(chosen)


def convert(conversion: Conversion, *, quiet: bool) -> None:
    """Encode or decode lines onto stdout."""
    from llmctl.core.artifacts.line_batches import LineSource
    from llmctl.core.stages.tokenize_text import LineEncoder, decode_lines, faster_encoding

    path, tokenizer = found_tokenizer(conversion.model, quiet=quiet)
    target = sys.stdout.buffer
    if conversion.text is not None:
        encoder = LineEncoder(
            tokenizer,
            recognise_specials=conversion.special,
            with_pieces=conversion.with_pieces,
            open_faster=lambda: faster_encoding(_tokenizer_json(path)),
        )
        encoder.encode(LineSource(conversion.text), target)
    elif conversion.decode is not None:
        decode_lines(tokenizer, LineSource(conversion.decode), target, raw=conversion.raw)


def _tokenizer_json(path: Path) -> Path:
    return path / "tokenizer.json" if path.is_dir() else path


def found_tokenizer(reference: str | None, *, quiet: bool) -> tuple[Path, Tokenizer]:
    """Return a tokenizer and the directory or file that it was named by or found in.

    Args:
        reference: A tokenizer.json, a vocab.json beside its merges.txt, a directory with
            either, a run (its model's, else its shards'), or an id of the Hub; None for the
            newest finished model.
        quiet: Do not tell on stderr which it is.

    Raises:
        LlmctlError: There is none, or it is damaged.
    """
    from llmctl.core.tokenizing.tokenizer_reference import resolve_tokenizer

    if reference is None:
        path = options.found_model(None, quiet=quiet)
        return path, resolve_tokenizer(str(path), Path()).tokenizer
    with stop_on_signals(Stop()) as stop:
        source = resolve_tokenizer(reference, Path(), progress=LateProgress(stop, quiet=quiet))
    path = source.directory or source.vocabulary[0]
    if path != Path(reference) and not Path(reference).is_file() and not quiet:
        typer.echo(f"tokenizer: {path}", err=True)
    return path, source.tokenizer
