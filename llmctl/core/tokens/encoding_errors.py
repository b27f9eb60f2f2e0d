"""What goes wrong while a text is encoded, told of the text that it went wrong with."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager

from llmctl.core.errors import DataError

_QUOTED_CHARACTERS = 60


@contextmanager
def encoding_errors(
    texts: Sequence[str], name: str, encode: Callable[[str], object]
) -> Generator[None]:
    """Turn whatever the libraries raise while they encode into an error that says for which text.

    Rust gives up with a panic, which is no Exception, where an expression goes back over a
    text too often: after ten million steps in one match, a fraction of a second.

    Args:
        texts: What is encoded.
        name: The tokenizer's.
        encode: Encodes one text, to find out which it was.

    Raises:
        DataError: A text cannot be encoded.
    """
    try:
        yield
    except BaseException as error:
        if not _is_of_libraries(error):
            raise
        for text in texts:
            _refuse_surrogates(text)
        # The batch tells of one of them only that it was one of them.
        text = next((text for text in texts if _fails(encode, text)), "")
        raise DataError(
            f"{name}: the text cannot be encoded: {error}; it begins {text[:_QUOTED_CHARACTERS]!r}"
        ) from None


def _is_of_libraries(error: BaseException) -> bool:
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


def _fails(encode: Callable[[str], object], text: str) -> bool:
    try:
        encode(text)
    except BaseException as error:
        if not _is_of_libraries(error):
            raise
        return True
    return False


def _refuse_surrogates(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(
            f"the text holds half a character, U+{ord(text[error.start]):04X} at character "
            f"{error.start:,}; remove it"
        ) from None
