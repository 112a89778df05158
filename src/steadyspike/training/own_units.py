"""Groups of similar large spikes of a recording, where there is no sorting."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from steadyspike.kernels.spikes.contact_features import neighbour_lists
from steadyspike.kernels.spikes.spike_candidates import find_candidates

if TYPE_CHECKING:
    from spikeinterface import BaseRecording, BaseSorting

RADIUS_UM = 60.0
SWEEP_MS, WINDOW_MS = 0.5, (0.5, 1.0)
LEAST_SPIKES, MOST_GROUPS = 30, 4


def group_large_spikes(recording: BaseRecording, threshold: float = 8.0, seed: int = 0) -> BaseSorting:
    """Group the large spikes of each contact by their waveforms, so that each group's mean has little noise.

    This is no sorting: a unit may be in several groups, and groups may be mixed. What counts is that the means are
    waveforms as the recording has them. The recording is filtered, with contact positions, of one segment, which is
    read into memory. Troughs are at least `threshold` noise levels deep; `seed` is that of the groups, each of at least
    30 spikes. Raises `ValueError` if there is none.
    """
    from spikeinterface.core import NumpySorting

    from steadyspike.library.models.spike_finders import noise_scales

    frequency = recording.sampling_frequency
    scales = noise_scales(recording)
    neighbours = neighbour_lists(recording.get_channel_locations(), RADIUS_UM)
    traces = recording.get_traces()
    sweep = max(round(SWEEP_MS * frequency / 1000), 1)
    samples, channels, _ = find_candidates(traces, scales, *neighbours, sweep=sweep, threshold=threshold)
    before, after = (round(ms * frequency / 1000) for ms in WINDOW_MS)
    inside = (samples >= before) & (samples < len(traces) - after)
    samples, channels = samples[inside], channels[inside]
    trains: dict[int, np.ndarray] = {}
    for channel in np.unique(channels):
        own = samples[channels == channel]
        if own.size >= LEAST_SPIKES:
            near = neighbours[0][channel, : neighbours[1][channel]]
            around = own[:, np.newaxis] + np.arange(-before, after)
            waveforms = traces[around[:, :, np.newaxis], near] * scales[near]
            for group in _groups(waveforms.reshape(own.size, -1), seed):
                if group.size >= LEAST_SPIKES:
                    trains[len(trains)] = own[group]
    if not trains:
        raise ValueError(
            f"recording has no contact with {LEAST_SPIKES} spikes of at least {threshold:g} noise levels; "
            "pass a sorting"
        )
    return NumpySorting.from_unit_dict([trains], frequency)


def _groups(features: np.ndarray, seed: int) -> list[np.ndarray]:
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA

    number = min(MOST_GROUPS, len(features) // LEAST_SPIKES)
    if number < 2:
        return [np.arange(len(features))]
    reduced = PCA(n_components=3, random_state=seed).fit_transform(features)
    labels = KMeans(number, n_init=3, random_state=seed).fit_predict(reduced)
    return [np.flatnonzero(labels == label) for label in range(number)]
