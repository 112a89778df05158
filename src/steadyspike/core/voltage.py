"""What the counts of a recording are as voltages: the sign, the zero and the scale of its channels."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

FEW_SAMPLES = 1000


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

    They are those of the recording's gain and offset. Without these, a few samples tell the power of two that is the
    middle of the converter's range, which may be less than that of the type.
    """
    if recording.get_dtype().kind != "u":
        return None
    number, gains, offsets = recording.get_num_channels(), recording.get_channel_gains(), None
    if gains is not None:
        offsets = recording.get_channel_offsets()
    told = np.zeros(number)
    if offsets is not None:
        told = np.divide(-np.asarray(offsets, "float64"), gains, out=told, where=np.asarray(gains) != 0)
    # an offset of 0 is what a reader that knows none says
    known = np.isfinite(told) & (told > 0) & (told <= np.iinfo(recording.get_dtype()).max)
    return told if known.all() else np.where(known, told, _middle(recording))


def _middle(recording: Any) -> float:
    """Return the power of two around which the samples lie, or the middle of the type's range if there are none."""
    for segment in range(recording.get_num_segments()):
        some = recording.get_traces(segment, 0, min(FEW_SAMPLES, recording.get_num_samples(segment)))
        if np.any(some):
            return float(2.0 ** np.round(np.log2(np.median(some[some > 0]))))
    return float(2.0 ** (8 * recording.get_dtype().itemsize - 1))


def warn_of_counts(recording: Any) -> None:
    """Warn where troughs of the counts, which detectors by thresholds look for, are no troughs of the voltage."""
    told = "detectors by thresholds take counts as they are, and spikes"
    if recording.get_dtype().kind == "u":
        warnings.warn(f"{told} of unsigned samples lie far from 0: filter the recording first", stacklevel=4)
    elif (voltage_signs(recording) < 0).any():
        warnings.warn(
            f"{told} are peaks where the gain is negative: scale the recording first, with "
            'si.scale_to_uV(recording), or use peak_sign="pos"',
            stacklevel=4,
        )


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
