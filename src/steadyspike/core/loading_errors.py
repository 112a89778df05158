"""How what cannot be opened is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spikeinterface import BaseRecording


class LoadingError(ValueError):
    """A path that could not be opened as a recording; the message says what was tried."""


@contextmanager
def told(what: str) -> Iterator[None]:
    """Make a `LoadingError` of any other error."""
    try:
        yield
    except LoadingError:
        raise
    except Exception as error:
        raise LoadingError(f"{what}: {type(error).__name__}: {error}") from error


def as_recording(loaded: Any, place: Path | str) -> BaseRecording:
    """Give what was loaded from a place; raises `LoadingError` unless it is a recording."""
    from spikeinterface import BaseRecording

    if not isinstance(loaded, BaseRecording):
        raise LoadingError(f"{place} holds a {type(loaded).__name__}, not a recording")
    return loaded
