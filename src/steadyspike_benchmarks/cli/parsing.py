"""Texts of options that hold several values with commas, read and checked."""

from __future__ import annotations

from collections.abc import Collection

from steadyspike.cli.errors import UsageError


def split_names(text: str, allowed: Collection[str], option: str) -> list[str]:
    """Read names such as ``np1,np2``, each of which must be among those allowed."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    wrong = [name for name in names if name not in allowed]
    if wrong or not names:
        raise UsageError(f"{option} {text} is not known; allowed: {', '.join(allowed)}")
    return names


def whole_numbers(text: str, option: str) -> list[int]:
    """Read whole numbers such as ``1,2,3``."""
    try:
        return [int(number) for number in text.split(",")]
    except ValueError:
        raise UsageError(f"{option} {text} is no list of whole numbers; write such as 1,2,3") from None


def positive_numbers(text: str, option: str) -> list[float]:
    """Read numbers above 0 such as ``0.5,1,2``."""
    try:
        numbers = [float(number) for number in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or not all(0 < number < float("inf") for number in numbers):
        raise UsageError(f"{option} {text} is no list of numbers above 0; write such as 0.5,1,2")
    return numbers


def shares_of_one(text: str, option: str) -> list[float]:
    """Read numbers from 0 to 1 such as ``0,0.5``."""
    try:
        numbers = [float(number) for number in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or not all(0 <= number <= 1 for number in numbers):
        raise UsageError(f"{option} {text} is no list of numbers from 0 to 1; write such as 0,0.5")
    return numbers
