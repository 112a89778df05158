"""What monopolar localization minimizes, evaluated at given locations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from spikeinterface import BaseRecording

MS_BEFORE, MS_AFTER = 0.5, 0.5
"""The waveform that `localize_peaks` cuts out by default."""


def monopolar_objective(
    recording: BaseRecording, peaks: np.ndarray, locations: np.ndarray, radius_um: float = 75.0
) -> np.ndarray:
    """Evaluate SpikeInterface's objective of "minimize_with_log_penality" on peak-to-peak amplitudes.

    Parameters
    ----------
    recording : BaseRecording
        What the peaks were localized on.
    peaks : ndarray, shape (num_peaks,)
        The peaks.
    locations : ndarray, shape (num_peaks,)
        With the fields "x", "y" and "z", in um.
    radius_um : float, default: 75.0
        Channels this near to the peak's take part.

    Returns
    -------
    objective : ndarray, shape (num_peaks,)
        Smaller is better.
    """
    from spikeinterface.postprocessing.localization_tools import estimate_distance_error_with_log

    contacts = recording.get_channel_locations()
    before, after = (int(ms * recording.sampling_frequency / 1000) for ms in (MS_BEFORE, MS_AFTER))
    traces = recording.get_traces()
    objective = np.empty(peaks.size)
    for row, (peak, location) in enumerate(zip(peaks, locations, strict=True)):
        near = np.linalg.norm(contacts - contacts[peak["channel_index"]], axis=1) <= radius_um
        start, stop = peak["sample_index"] - before, peak["sample_index"] + after
        feature = np.ptp(traces[max(start, 0) : stop, near], axis=0)
        point = np.array([location["x"], location["y"], location["z"]], dtype=float)
        objective[row] = estimate_distance_error_with_log(point, feature, contacts[near], feature.max())
    return objective
