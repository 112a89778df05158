"""What a scenario is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Scenario:
    """A fixed set of data and the error of what is computed from it.

    Parameters
    ----------
    name : str
        Group and what happens.
    group : str
        What it exercises: constants of other groups leave it as it is.
    unit : str
        Of the error.
    error : callable
        Computes the error, at least 0, the same each time.
    what : str
        What happens in the data, in a few words.
    """

    name: str
    group: str
    unit: str
    error: Callable[[], float]
    what: str = ""
