"""What no linear interpolation can better: weights fitted to the recording without drift, by the true motion.

Each contact and each displacement gets the weights with the least error in the very spikes that are scored, while the
noise keeps the level that "wiener" gives it. What a sorter loses after them was not there to be read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from spikeinterface.preprocessing.basepreprocessor import BasePreprocessor, BasePreprocessorSegment

from steadyspike.kernels.channels.wiener_weights import CONTACTS_PER_TARGET, KEPT_LEVEL, shares
from steadyspike.simulation.truth import true_displacement

if TYPE_CHECKING:
    from spikeinterface import BaseRecording

    from steadyspike_benchmarks.sorting.cases import TrueUnits

STEP_UM = 2.0
"""Displacements that share weights."""


class BestLinearRecording(BasePreprocessor):
    """Traces read at rest by weights that know the truth.

    Parameters
    ----------
    recording : BaseRecording
        Which drifts; one segment.
    weights : array (num_weights, num_channels, num_channels)
        Rows: corrected channels.
    periods : array of int (num_periods,)
        Weights of each period.
    period_samples : int
        Samples of a period.
    """

    def __init__(self, recording, weights, periods, period_samples):
        BasePreprocessor.__init__(self, recording, dtype="float32")
        self.fitted = dict(weights=weights, periods=periods, period_samples=period_samples)
        self.add_recording_segment(_Segment(recording.segments[0], **self.fitted))
        self._serializability.update(json=False, pickle=False, memory=True)
        self._kwargs = dict(recording=recording, **self.fitted)

    def of(self, recording: BaseRecording) -> BestLinearRecording:
        """Read another recording with the same weights."""
        return BestLinearRecording(recording, **self.fitted)


class _Segment(BasePreprocessorSegment):
    def __init__(self, parent, weights, periods, period_samples):
        BasePreprocessorSegment.__init__(self, parent)
        self.weights, self.periods, self.period_samples = weights, periods, period_samples

    def get_traces(self, start_frame, end_frame, channel_indices):
        start = 0 if start_frame is None else start_frame
        end = self.get_num_samples() if end_frame is None else end_frame
        traces = self.parent_recording_segment.get_traces(start, end, slice(None)).astype("float32")
        read = np.empty_like(traces)
        for period in range(start // self.period_samples, -(-end // self.period_samples)):
            rows = slice(
                max(period * self.period_samples - start, 0), (period + 1) * self.period_samples - start
            )
            read[rows] = traces[rows] @ self.weights[self.periods[period]].T
        return read if channel_indices is None else read[:, channel_indices]


def best_linear(recording: BaseRecording, made: TrueUnits) -> BestLinearRecording:
    """Correct a recording with the weights that suit its known spikes best; `ValueError` where they are not known."""
    if made.spikes is None or made.truth is None:
        raise ValueError("weights that know the truth need a simulated recording")
    period_samples = round(made.spikes.sampling_frequency / made.truth.displacement_sampling_frequency)
    num_periods = -(-made.spikes.get_num_samples() // period_samples)
    positions = made.spikes.get_channel_locations()
    times = (np.arange(num_periods) + 0.5) / made.truth.displacement_sampling_frequency
    displacement = true_displacement(made.truth, times, positions[:, 1])
    keys = np.round(displacement / STEP_UM).astype("int64")
    rows, periods = np.unique(keys, axis=0, return_inverse=True)
    fitted = _fitted(made, keys, positions, period_samples)
    weights = np.array([[fitted[contact, key] for contact, key in enumerate(row)] for row in rows])
    return BestLinearRecording(recording, weights.astype("float32"), periods.ravel(), period_samples)


def _fitted(made, keys, positions, period_samples) -> dict[tuple[int, int], np.ndarray]:
    """Weights of each contact at each displacement, (num_channels,) each."""
    from scipy.spatial import KDTree

    number = min(CONTACTS_PER_TARGET, len(positions))
    near = KDTree(positions).query(positions, k=np.arange(1, number + 1))[1]
    noise = np.cov(made.noise.get_traces(0, 0, round(made.noise.sampling_frequency)).T.astype("float64"))
    weights = {}
    for found, (drifting, crossed) in _moments(made, keys, period_samples).items():
        contact, sources = found[0], near[found[0]]
        every = np.zeros(len(positions))
        every[sources] = _weights(
            drifting[np.ix_(sources, sources)],
            crossed[sources],
            noise[np.ix_(sources, sources)],
            noise[contact, contact],
        )
        weights[found] = every
    return weights


def _moments(made, keys, period_samples) -> dict[tuple[int, int], list[np.ndarray]]:
    """Of spikes as they drift, and of these with the contact's spikes at rest, for each contact and displacement."""
    sums: dict[tuple[int, int], list[np.ndarray]] = {}
    for period, row in enumerate(keys):
        start = period * period_samples
        end = min(start + period_samples, made.spikes.get_num_samples())
        moved, rest = (
            one.get_traces(0, start, end).astype("float64") for one in (made.spikes, made.static_spikes)
        )
        drifting, crossed = moved.T @ moved, moved.T @ rest
        for contact, key in enumerate(row):
            of_contact = sums.setdefault((contact, int(key)), [0.0, 0.0])
            of_contact[0] = of_contact[0] + drifting
            of_contact[1] = of_contact[1] + crossed[:, contact]
    return sums


def _weights(drifting, crossed, noise, variance) -> np.ndarray:
    """Weights of least error in the spikes with the noise level of "wiener"; see `WienerWeights`."""
    scale = np.trace(drifting) / len(drifting)
    if scale == 0:
        return np.zeros(len(drifting))
    mean = np.trace(noise) / len(noise)
    root = np.linalg.inv(np.linalg.cholesky(noise / mean))
    spectrum, vectors = np.linalg.eigh(root @ (drifting / scale) @ root.T)
    whiten = root.T @ vectors
    coordinates = (crossed / scale) @ whiten
    share = shares(coordinates[None], spectrum[None], np.array([KEPT_LEVEL**2 * variance / mean]))
    return whiten @ (coordinates / (spectrum + share))
