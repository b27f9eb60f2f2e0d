"""Text that came from elsewhere, shown so that it cannot steer the terminal."""

from __future__ import annotations


def visible(text: str) -> str:
    """Text with control characters written out, so that it cannot steer the terminal."""
    return "".join(
        character if character in "\n\t" or _is_harmless(character) else _written_out(character)
        for character in text
    )


def _is_harmless(character: str) -> bool:
    number = ord(character)
    is_control = number < 0x20 or 0x7F <= number < 0xA0
    changes_direction = 0x202A <= number <= 0x202E or 0x2066 <= number <= 0x2069
    return not (is_control or changes_direction)


def _written_out(character: str) -> str:
    return f"\\x{ord(character):02x}" if ord(character) < 0x100 else f"\\u{ord(character):04x}"
