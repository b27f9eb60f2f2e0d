"""What an entry of a vocabulary stands for: the decoder of a tokenizer.json, token by token.

A decoder is written for whole texts: it takes the space off the front that the encoder put
there. A continuation has no such space to lose, so here the two are told apart: `token_bytes`
is what a token stands for inside a text, `whole_text` the text that begins with it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tokenizers

from llmctl.core.errors import DataError

_BYTE_ENTRY = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_EXPECTED = "expected ByteLevel, Metaspace, Replace, ByteFallback, Fuse and Strip"

Step = Callable[[str], str | bytes]


def byte_characters() -> dict[int, str]:
    """Return the printable character that stands for each byte in a byte-level vocabulary.

    Printable Latin-1 bytes stand for themselves; the others, in order, for U+0100 and on.

    Source: `bytes_to_unicode` of GPT-2's encoder.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in printable]
    moved = {byte: chr(0x100 + index) for index, byte in enumerate(others)}
    return {byte: chr(byte) for byte in printable} | moved


_BYTE_OF = {character: byte for byte, character in byte_characters().items()}
# A character that stands for no byte becomes one that Latin-1 has not.
_LATIN_1 = dict.fromkeys(range(0x100), "\uffff") | {
    ord(character): chr(byte) for character, byte in _BYTE_OF.items()
}


@dataclass(frozen=True)
class _Strip:
    content: bytes
    start: int
    stop: int

    def __call__(self, text: bytes) -> bytes:
        for _ in range(self.start):
            text = text.removeprefix(self.content)
        for _ in range(self.stop):
            text = text.removesuffix(self.content)
        return text


class TokenDecoder:
    """Vocabulary entries to bytes, as a tokenizer's decoder does it, but one at a time.

    Args:
        decoder: The library's; none is as good as an unknown one.

    Raises:
        DataError: What a token stands for depends on the others in a way unknown here.
    """

    def __init__(self, decoder: tokenizers.decoders.Decoder | None) -> None:
        self.is_byte_level = False
        self._steps: list[Step] = []
        self._strips: list[_Strip] = []
        self._drops_first_spaces = False
        if decoder is None:
            raise DataError(f"no decoder; {_EXPECTED}")
        is_fused = False  # from there on, steps see the whole text
        for state in _flat(json.loads(decoder.__getstate__())):
            self._add(state, is_fused=is_fused)
            is_fused = is_fused or state["type"] in ("Fuse", "ByteLevel")

    def _add(self, state: dict[str, Any], *, is_fused: bool) -> None:
        match state:
            case {"type": "Fuse"}:
                pass
            case {"type": "Strip"} if is_fused:
                content = state["content"].encode("utf-8")
                self._strips.append(_Strip(content, state["start"], state["stop"]))
            case {"type": kind} if is_fused:
                raise DataError(f"a decoder with {kind} after the tokens are joined; {_EXPECTED}")
            case {"type": "ByteLevel"}:
                self.is_byte_level = True
                self._steps.append(_from_byte_characters)
            case {"type": "ByteFallback"}:
                self._steps.append(_from_byte_entry)
            case {"type": "Replace", "pattern": {"String": pattern}}:
                self._steps.append(_replacement(pattern, state["content"]))
            case {"type": "Metaspace"}:
                self._steps.append(_replacement(state["replacement"], " "))
                self._drops_first_spaces = state["prepend_scheme"] != "never"
            case _:
                raise DataError(f"a decoder of the kind {state['type']}; {_EXPECTED}")

    def token_bytes(self, entry: str) -> bytes:
        """Return the bytes that an entry stands for inside a text."""
        content: str | bytes = entry
        for step in self._steps:
            content = step(content)
            if isinstance(content, bytes):
                return content
        assert isinstance(content, str)
        return content.encode("utf-8")

    def whole_text(self, tokens: Sequence[bytes]) -> bytes:
        """Return the text of all its tokens: theirs joined, without what the encoder put before.

        Args:
            tokens: The bytes of each token, b"" for special ones.
        """
        text = b"".join(tokens)
        if self._drops_first_spaces:
            first = next(filter(None, tokens), b"")
            text = text[len(first) - len(first.lstrip(b" ")) :]
        for strip in self._strips:
            text = strip(text)
        return text


def byte_level_contents(entries: Mapping[str, int], contents: list[bytes]) -> list[str]:
    """Put what the entries of a byte-level vocabulary stand for into a list, at their ids.

    Returns:
        The entries that were passed over, as some character of theirs stands for no byte.
    """
    others: list[str] = []
    for entry, token in entries.items():
        try:
            contents[token] = entry.translate(_LATIN_1).encode("latin-1")
        except UnicodeEncodeError:
            others.append(entry)
    return others


def _flat(state: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if state.get("type") != "Sequence":
        yield state
        return
    for part in state["decoders"]:
        yield from _flat(part)


def _from_byte_characters(entry: str) -> bytes:
    try:
        return bytes([_BYTE_OF[character] for character in entry])
    except KeyError:  # an entry that was added as text
        return entry.encode("utf-8")


def _from_byte_entry(entry: str) -> str | bytes:
    found = _BYTE_ENTRY.fullmatch(entry)
    return bytes([int(found[1], 16)]) if found else entry


def _replacement(pattern: str, content: str) -> Step:
    return lambda entry: entry.replace(pattern, content)
