"""Arguments that depend on the recording or on each other, checked before any data is read.

What can be said of a parameter alone is declared (`steadyspike.core.settings`); errors are worded alike.
"""

from __future__ import annotations

import textwrap
from typing import Any, NoReturn

import numpy as np

LONGEST = 10_000


def shown(value: Any) -> str:
    """Write a value for a message, a long one cut short."""
    try:
        with np.printoptions(threshold=6):
            text = repr(value)
    except (ValueError, RecursionError):
        # thousands of digits, or nested as deep
        return f"<{type(value).__name__}>"
    return textwrap.shorten(text[:LONGEST], 200, placeholder=" ...")


def refuse(name: str, value: Any, allowed: str, part: str) -> NoReturn:
    """Raise the error for an argument of a part that can't work, with long values cut short."""
    raise ValueError(f"{part}: {name}={shown(value)}; allowed: {allowed}")


def channel_indices(name: str, ids: Any, recording: Any, part: str) -> np.ndarray:
    """Return the indices of channels that are named by a list of their ids, maybe an empty one."""
    known = recording.channel_ids.tolist()
    some = f"[{', '.join(map(repr, known[:2]))}{', ...' if len(known) > 2 else ''}]"
    listed = ids.tolist() if isinstance(ids, np.ndarray) else ids
    if not isinstance(listed, list | tuple) or not all(np.isscalar(each) for each in listed):
        refuse(name, ids, f"a list of ids of channels, as {some}", part)
    # True is 1 to Python, so that a mask would name the channels 0 and 1
    unknown = [each for each in listed if isinstance(each, bool | np.bool_) or each not in known]
    if unknown:
        refuse(name, unknown, f"ids of channels of the recording, as {some}", part)
    return np.array([known.index(each) for each in listed], dtype="int64")


def checked_times(name: str, times: Any, min_size: int, part: str) -> np.ndarray:
    """Return increasing times of at least `min_size` values as float64."""
    times = np.array(times, dtype="float64")
    if (
        times.ndim != 1
        or times.size < min_size
        or not np.isfinite(times).all()
        or (np.diff(times) <= 0).any()
    ):
        refuse(name, times, f"one row of at least {min_size} finite, strictly increasing times in s", part)
    return times


def contact_positions(recording: Any, part: str) -> np.ndarray:
    """Contact positions in um, shape (num_channels, 2 or 3), float64."""
    if not recording.has_probe():
        raise ValueError(
            f"{part}: recording has no probe; allowed: one with contact positions, see set_probe()"
        )
    axes = "xyz" if recording.is_probe_3d() else "xy"
    positions = np.array(recording.get_channel_locations(axes=axes), dtype="float64")
    if not np.isfinite(positions).all():
        refuse("contact positions of recording", positions, "finite um", part)
    return positions


def finite_locations(recording: Any, part: str) -> np.ndarray:
    """Contact positions in um as SpikeInterface's localizers take them, shape (num_channels, 2)."""
    locations: np.ndarray = recording.get_channel_locations()
    if not np.isfinite(locations).all():
        refuse("contact positions of recording", locations, "finite ones, in um", part)
    return locations
