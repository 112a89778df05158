"""Periods of a recording that tell nothing about motion: artifacts, saturation, silence."""

import warnings

import numpy as np

from steadyspike.core.arguments import refuse


def check_periods(name, periods, recording):
    """Bring periods to leave out into one form.

    Periods are ``(start_s, stop_s)`` for a recording of one segment, ``(segment_index, start_s, stop_s)``, in the
    recording's own times; or an array with the fields "start_sample_index", "end_sample_index" and "segment_index",
    which SpikeInterface's detectors of artifacts return. Returns float64 (num_periods, 3): segment, first and last time
    in s.

    Refused, in the name of `name`, are other forms, segments that are not there, and periods that end before they
    start. Periods outside the recording, as those in times from its first sample may be, are warned of.
    """
    if periods is None or len(periods) == 0:
        return np.zeros((0, 3))
    num_segments = recording.get_num_segments()
    if isinstance(periods, np.ndarray) and periods.dtype.names is not None:
        periods = _in_seconds(name, periods, recording)
    try:
        rows = np.array([tuple(period) for period in periods], dtype="float64")
    except (TypeError, ValueError):
        rows = np.zeros((0, 0))
    if rows.ndim == 2 and rows.shape[1] == 2 and num_segments == 1:
        rows = np.column_stack([np.zeros(len(rows)), rows])
    if rows.ndim != 2 or rows.shape[1] != 3:
        allowed = (
            "a list of (segment_index, start_s, stop_s), or of (start_s, stop_s) for one segment, or what "
            "SpikeInterface's detectors of artifacts return"
        )
        refuse("periods", periods, allowed, name)
    for segment, start_s, stop_s in rows:
        if segment not in range(num_segments):
            refuse(
                "periods", periods, f"segments 0 to {num_segments - 1}, and here is segment {segment:g}", name
            )
        if not start_s <= stop_s:
            allowed = f"times that do not end before they start, as ({start_s:g}, {stop_s:g}) does"
            refuse("periods", periods, allowed, name)
    _warn_of_outside(name, rows, recording)
    return rows


def _warn_of_outside(name, rows, recording):
    outside = []
    for segment, start_s, stop_s in rows:
        num_samples = recording.get_num_samples(int(segment))
        if not num_samples:
            continue
        first_s, last_s = recording.sample_index_to_time(np.array([0, num_samples - 1]), int(segment))
        if stop_s < first_s or start_s > last_s:
            outside.append(
                f"({start_s:g}, {stop_s:g}) s, where segment {segment:g} has {first_s:g} to {last_s:g} s"
            )
    if outside:
        warnings.warn(
            f"{name}: {len(outside)} of {len(rows)} periods lie outside the recording, and leave out nothing: "
            f"{outside[0]}; give them in the recording's own times, as of recording.sample_index_to_time",
            stacklevel=4,
        )


def _in_seconds(name, periods, recording):
    fields = ("segment_index", "start_sample_index", "end_sample_index")
    missing = [field for field in fields if field not in periods.dtype.names]
    if missing:
        refuse("periods", periods, f"the fields {', '.join(fields)}, and {missing[0]!r} is not there", name)
    rows = []
    for period in periods:
        segment, start, end = (int(period[field]) for field in fields)
        if segment not in range(recording.get_num_segments()):
            # is refused with the others
            rows.append((segment, 0.0, 0.0))
            continue
        # a period that lasts to the end ends with the sample after the last, which has no time
        last = max(recording.get_num_samples(segment) - 1, 0)
        times_s = recording.sample_index_to_time(np.clip([start, end], 0, last), segment_index=segment)
        rows.append((segment, *times_s))
    return rows


def inside_periods(times_s, segment_index, periods):
    """Whether each time (in s) of a segment, or each of its own segment, lies in one of `check_periods`' periods."""
    inside = np.zeros(times_s.size, dtype=bool)
    for segment, start_s, stop_s in periods:
        inside |= (segment_index == segment) & (times_s >= start_s) & (times_s <= stop_s)
    return inside
