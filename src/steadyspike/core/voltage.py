"""What the counts of a recording are as voltages: the sign, the zero and the scale of its channels."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np


def voltage_signs(recording: Any) -> np.ndarray:
    """Return -1 for channels whose counts rise where the voltage falls (a negative gain), else 1; float32."""
    gains = recording.get_channel_gains()
    if gains is None:
        return np.ones(recording.get_num_channels(), dtype="float32")
    return np.where(np.asarray(gains) < 0, -1.0, 1.0).astype("float32")


def relative_gains(recording: Any) -> np.ndarray:
    """Return the gain of each channel over the typical size of gains; 1 where there are none; float32."""
    gains = recording.get_channel_gains()
    if gains is None or not np.all(gains):
        return np.ones(recording.get_num_channels(), dtype="float32")
    return (gains / np.median(np.abs(gains))).astype("float32")


def zero_counts(recording: Any) -> np.ndarray | None:
    """Return the counts of each channel that stand for no voltage, where the samples are unsigned; else None.

    They are those of the recording's gain and offset, or the middle of the range of the type without them.
    """
    dtype = recording.get_dtype()
    if dtype.kind != "u":
        return None
    highest = np.iinfo(dtype).max
    zeros = np.full(recording.get_num_channels(), (highest + 1) / 2)
    gains, offsets = recording.get_channel_gains(), recording.get_channel_offsets()
    if gains is None or offsets is None:
        return zeros
    with np.errstate(divide="ignore", invalid="ignore"):
        told = -np.asarray(offsets, dtype="float64") / np.asarray(gains, dtype="float64")
    # an offset of 0 is what a reader that knows none says
    return np.where(np.isfinite(told) & (told > 0) & (told <= highest), told, zeros)


def warn_of_unlike_scales(recording: Any, part: str, stacklevel: int = 4, sizes_only: bool = False) -> None:
    """Warn where a part puts counts of channels together that stand for different voltages, or sizes of them."""
    gains, offsets = recording.get_channel_gains(), recording.get_channel_offsets()
    if sizes_only:
        gains, offsets = None if gains is None else np.abs(gains), None
    for name, values in (("gains", gains), ("offsets", offsets)):
        if values is not None and not np.allclose(values, values[:1], rtol=1e-3, atol=1e-9):
            warnings.warn(
                f"{part}: the channels have {name} from {np.min(values):.6g} to {np.max(values):.6g}, and their counts "
                "are put together as if they were alike; scale them first, with si.scale_to_uV(recording)",
                stacklevel=stacklevel,
            )
            return
