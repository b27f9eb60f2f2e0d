"""Reading a config.json that anyone may have written: each field checked, none trusted."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from typing import Any

from llmctl.core.errors import DataError

Config = Mapping[str, Any]
# Far beyond any model; a matrix of two such sides still has a size that PyTorch can count.
LARGEST_SIDE = 2**20


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
        f"config.json: {name}: expected a whole number from 1 to {largest}, found {value!r}"
    )


def number(config: Config, name: str, default: float | None = None) -> float:
    """Return a field that is a positive finite number.

    Raises:
        DataError: It is missing without a default, or something else.
    """
    value = config.get(name)
    if value is None:
        value = default
    if isinstance(value, int | float) and not isinstance(value, bool):
        with contextlib.suppress(OverflowError):  # JSON has whole numbers of any length
            found = float(value)
            if math.isfinite(found) and found > 0:
                return found
    raise DataError(f"config.json: {name}: expected a positive number, found {value!r}")


def flag(config: Config, name: str, default: bool) -> bool:
    """Return a field that is true or false.

    Raises:
        DataError: It is something else.
    """
    value = config.get(name, default)
    if isinstance(value, bool):
        return value
    raise DataError(f"config.json: {name}: expected true or false, found {value!r}")


def require(config: Config, name: str, expected: Any) -> None:
    """Refuse a setting whose arithmetic is not there; a missing one is as expected.

    Raises:
        DataError: The field is there and differs.
    """
    value = config.get(name, expected)
    if value != expected:
        raise DataError(f"config.json: {name} is {value!r}; only {expected!r} can be computed yet")


def rotary_base(config: Config) -> float:
    """Return theta of plain rotary positions, in the new spelling or the old one.

    Raises:
        DataError: There is none, or positions are scaled.
    """
    parameters = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if not isinstance(parameters, dict):
        raise DataError(f"config.json: rope_parameters: expected an object, found {parameters!r}")
    kind = parameters.get("rope_type", parameters.get("type", "default"))
    if kind != "default":
        raise DataError(f"config.json: rope_type is {kind!r}; only 'default' can be computed yet")
    name = "rope_theta"
    return number(parameters if name in parameters else config, name)
