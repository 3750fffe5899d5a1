"""Checks of numbers among options: errors that name the option and the value."""

from __future__ import annotations


def whole(name: str, value: object, least: int) -> None:
    """Raise unless it is an int, and at least so much.

    Raises:
        TypeError: For another type.
        ValueError: For less.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be >= {least}, got {value}")


def number(name: str, value: object) -> float:
    """The value, if it is a number.

    Raises:
        TypeError: For another type.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number, got {value!r}")
    return value


def positive(name: str, value: float) -> None:
    """Raise unless it is a number above 0.

    Raises:
        TypeError: For another type.
        ValueError: For 0 or less, or NaN.
    """
    if not number(name, value) > 0:
        raise ValueError(f"{name} must be > 0, got {value}")


def not_negative(name: str, value: float) -> None:
    """Raise unless it is a number of at least 0.

    Raises:
        TypeError: For another type.
        ValueError: For less than 0, or NaN.
    """
    if not number(name, value) >= 0:
        raise ValueError(f"{name} must be >= 0, got {value}")
