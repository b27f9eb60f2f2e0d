"""Lines of text → ids, and ids → text, as they come: JSON Lines on the side of the ids."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
import orjson

from llmctl.core.artifacts.documents import named_type, not_utf8, shortened
from llmctl.core.artifacts.line_batches import LineSource
from llmctl.core.errors import DataError
from llmctl.core.tokens.ids_decoder import IdsDecoder
from llmctl.core.tokens.tokenizer import Tokenizer

PATIENCE_BYTES = 4_000_000

Encode = Callable[[Sequence[str]], list[list[int]]]
"""Texts → the ids of each; raises DataError for one that cannot be encoded."""

_EXPECTED = 'expected {"ids": [1, 2]}, [1, 2] or 1 2'


def faster_encoding(tokenizer_json: Path) -> Encode | None:
    """Return the fast encoder of a tokenizer.json; None where it is not proved to be right.

    Raises:
        DataError: The file's expression goes back over texts without end.
    """
    from llmctl.core.tokens.encoder_proof import open_encoder, prove
    from llmctl.core.tokens.rank_file import is_rank_file

    if not tokenizer_json.is_file() or tokenizer_json.name in ("vocab.json", "merges.txt"):
        return None
    if is_rank_file(tokenizer_json) or not prove(tokenizer_json).is_equal:
        return None
    encoder = open_encoder(tokenizer_json, is_proved=True)

    def encode(texts: Sequence[str]) -> list[list[int]]:
        ids, lengths = encoder.encode(texts)
        stops = np.cumsum(lengths).tolist()
        every = ids.tolist()
        return [every[start:stop] for start, stop in zip([0, *stops], stops, strict=False)]

    return encode


class LineEncoder:
    """Encodes each line of a source: a row `{"ids":[…]}` for it, an empty line included.

    Args:
        tokenizer: What to encode with.
        recognise_specials: A special token in the text becomes its id; else it is text.
        with_pieces: The row tells also `pieces`, each id in a form for people.
        open_faster: Gives what encodes faster to the same ids, special tokens being text, or
            None; asked once there was so much text that looking for it pays.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        recognise_specials: bool = False,
        with_pieces: bool = False,
        open_faster: Callable[[], Encode | None] | None = None,
    ) -> None:
        self._encoded: Encode = partial(
            tokenizer.encode_batch, recognise_specials=recognise_specials
        )
        self._pieces = _Pieces(tokenizer) if with_pieces else None
        self._open_faster = None if recognise_specials else open_faster
        self._num_bytes = 0

    def encode(self, source: LineSource, target: BinaryIO) -> None:
        """Write the rows of all lines; those that are there at once are written at once.

        Raises:
            MissingInputError: The source is not there.
            DataError: A line is not UTF-8, too long, or cannot be encoded; those before it
                are written.
        """
        with source.open() as batches:
            for number, lines in batches:
                self._hurry(lines)
                try:
                    target.writelines(self._rows(source, number, lines))
                finally:
                    target.flush()

    def _hurry(self, lines: Sequence[bytes]) -> None:
        self._num_bytes += sum(map(len, lines))
        if self._open_faster is not None and self._num_bytes > PATIENCE_BYTES:
            self._encoded = self._open_faster() or self._encoded
            self._open_faster = None

    def _rows(self, source: LineSource, number: int, lines: Sequence[bytes]) -> Iterator[bytes]:
        texts: list[str] = []
        fault: DataError | None = None
        try:
            texts.extend(line.decode("utf-8") for line in lines)
        except UnicodeDecodeError as error:
            reason = f"{not_utf8(error)} at byte {error.start:,} of the line"
            fault = source.fault(number + len(texts), reason)
        try:
            yield self._joined_rows(self._encoded(texts))
        except DataError:  # of which line?
            for index, text in enumerate(texts):
                try:
                    yield self._joined_rows(self._encoded([text]))
                except DataError as error:
                    raise source.fault(number + index, str(error)) from error
        if fault is not None:
            raise fault

    def _joined_rows(self, found: list[list[int]]) -> bytes:
        if not found:
            return b""
        if self._pieces is None:
            # Measured: a third of the time that row by row takes.
            inner = orjson.dumps(found)[2:-2].replace(b"],[", b']}\n{"ids":[')
            return b'{"ids":[%b]}\n' % inner
        piece = self._pieces.__getitem__
        rows = ({"ids": ids, "pieces": list(map(piece, ids))} for ids in found)
        return b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)


class _Pieces(dict[int, str]):
    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__()
        self._tokenizer = tokenizer

    def __missing__(self, token: int) -> str:
        piece = self[token] = self._tokenizer.piece(token)
        return piece


def decode_lines(
    tokenizer: Tokenizer, source: LineSource, target: BinaryIO, *, raw: bool = False
) -> None:
    r"""Write the text of each line of ids; those that are there at once are written at once.

    A line is an object with `ids`, a list, or numbers with blanks between them; an empty one
    has none. Special tokens are written by their names, so that what `LineEncoder` encodes
    comes back, whether it recognised them or not.

    Args:
        tokenizer: What the ids mean.
        source: The lines.
        target: Gets a row `{"text":…}` for each line, in which bytes that are no UTF-8 are
            U+FFFD.
        raw: Write the very bytes instead, one text after the other with nothing between.

    Raises:
        MissingInputError: The source is not there.
        DataError: A line holds something else, or an id that the vocabulary lacks; the texts
            of those before it are written.
    """
    decoder = IdsDecoder(tokenizer)

    def texts(number: int, lines: Sequence[bytes]) -> Iterator[bytes]:
        for index, line in enumerate(lines):
            try:
                text = decoder.text_bytes(_parsed(line))
            except ValueError as error:
                raise source.fault(number + index, str(error)) from error
            yield text if raw else _text_row(text)

    with source.open() as batches:
        for number, lines in batches:
            try:
                target.writelines(texts(number, lines))
            finally:
                target.flush()


def _text_row(text: bytes) -> bytes:
    row = {"text": text.decode("utf-8", "replace")}
    return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)


def _parsed(line: bytes) -> list[int]:
    line = line.strip()
    if not line.startswith((b"{", b"[")):
        words = line.split()
        if not all(map(bytes.isdigit, words)):
            raise ValueError(f"found {_shown(line)}, {_EXPECTED}")
        return list(map(_number, words))
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error}") from error
    if isinstance(found, dict):
        if "ids" not in found:
            fields = shortened(", ".join(found)) or "none"
            raise ValueError(f"no field ids (fields: {fields}), {_EXPECTED}")
        found = found["ids"]
    if not isinstance(found, list):
        raise ValueError(f"the ids are {named_type(found)}, {_EXPECTED}")
    if not {type(token) for token in found} <= {int}:
        other = next(token for token in found if type(token) is not int)
        raise ValueError(f"an id is {_shown(orjson.dumps(other))}, expected whole numbers")
    return found


def _number(digits: bytes) -> int:
    # Python refuses to read thousands of digits; so many are no id in any case.
    return int(digits.lstrip(b"0")[:20] or b"0")


def _shown(content: bytes) -> str:
    return shortened(repr(content.decode("utf-8", "replace")))
