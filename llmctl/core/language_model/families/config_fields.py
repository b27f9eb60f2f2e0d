"""Reading a config.json that anyone may have written: each field checked, none trusted."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from reprlib import repr as shortened
from typing import Any

from llmctl.core.errors import DataError

Config = Mapping[str, Any]
# Far beyond any model; a matrix of two such sides still has a size that PyTorch can count.
LARGEST_SIDE = 2**20
# Likewise, and what the arithmetic makes of two of these stays finite.
_SMALLEST_NUMBER, _LARGEST_NUMBER = 1e-30, 1e30


def count(
    config: Config, name: str, default: int | None = None, largest: int = LARGEST_SIDE
) -> int:
    """Return a field that is a whole number from 1 to `largest`.

    Raises:
        DataError: It is missing without a default, or something else.
    """
    value = config.get(name)
    if value is None:
        value = default
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= largest:
        return value
    raise DataError(
        f"config.json: {name}: expected a whole number from 1 to {largest}, "
        f"found {shortened(value)}"
    )


def number(config: Config, name: str, default: float | None = None) -> float:
    """Return a field that is a positive number of no absurd size.

    Raises:
        DataError: It is missing without a default, or something else.
    """
    value = config.get(name)
    if value is None:
        value = default
    if isinstance(value, int | float) and not isinstance(value, bool):
        with contextlib.suppress(OverflowError):  # JSON has whole numbers of any length
            if _SMALLEST_NUMBER <= (found := float(value)) <= _LARGEST_NUMBER:
                return found
    raise DataError(
        f"config.json: {name}: expected a positive number, found {shortened(value)}; "
        f"{_SMALLEST_NUMBER:g} to {_LARGEST_NUMBER:g} are read"
    )


def flag(config: Config, name: str, default: bool) -> bool:
    """Return a field that is true or false.

    Raises:
        DataError: It is something else.
    """
    value = config.get(name, default)
    if isinstance(value, bool):
        return value
    raise DataError(f"config.json: {name}: expected true or false, found {shortened(value)}")


def require(config: Config, name: str, expected: Any) -> None:
    """Refuse a setting whose arithmetic is not there; a missing one is as expected.

    Raises:
        DataError: The field is there and differs.
    """
    value = config.get(name, expected)
    if value != expected:
        raise DataError(
            f"config.json: {name} is {shortened(value)}; only {expected!r} can be computed"
        )


def optional_count(config: Config, name: str, default: int | None = None) -> int | None:
    """Return a field that is a whole number or null; the default where it is missing.

    Raises:
        DataError: It is something else.
    """
    return None if config.get(name, default) is None else count(config, name, default)


def optional_number(config: Config, name: str, default: float | None = None) -> float | None:
    """Return a field that is a positive number or null; the default where it is missing.

    Raises:
        DataError: It is something else.
    """
    return None if config.get(name, default) is None else number(config, name, default)


def numbers(config: Config, name: str, length: int) -> tuple[float, ...]:
    """Return a field that is a list of so many positive numbers.

    Raises:
        DataError: It is something else.
    """
    values = config.get(name)
    if not isinstance(values, list) or len(values) != length:
        raise DataError(f"config.json: {name}: expected a list of {length} positive numbers")
    return tuple(number({name: value}, name) for value in values)
