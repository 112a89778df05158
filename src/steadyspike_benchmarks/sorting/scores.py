"""How well a treated recording keeps spikes and noise, and what a sorter finds in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike.simulation.truth import true_displacement

if TYPE_CHECKING:
    from spikeinterface import BaseRecording, BaseSorting
    from spikeinterface.core.motion import Motion

    from steadyspike.simulation.drift import DriftTruth

GOOD_ACCURACY = 0.8
BEFORE_MS, AFTER_MS = 0.3, 0.5
"""Samples around a spike in which traces are compared."""
SPIKES_FOR_ERROR = 3000
SPIKES_PER_UNIT = 50
LOW_PERCENTILE = 10
# Of 0.1 s each, white noise that nothing was done to would seem to vary by 1 %.
NOISE_WINDOW_S = 1.0
NOISE_WINDOWS = 60
CHUNK_S = 1.0


def unit_scores(found: BaseSorting, known: BaseSorting, all_known: bool) -> dict[str, Any]:
    """Compare what a sorter found with the known units.

    Parameters
    ----------
    found, known : BaseSorting
        The sorter's units, and the truth.
    all_known : bool
        Whether units that match no known one are false.

    Returns
    -------
    scores : dict
        "accuracy" of each known unit, "good" (their number at `GOOD_ACCURACY` or above), "units" found, and where all
        are known "false" and "redundant" ones.
    """
    from spikeinterface.comparison import compare_sorter_to_ground_truth

    if found.get_num_units() == 0:
        accuracy = np.zeros(known.get_num_units())
        return dict(accuracy=accuracy.tolist(), good=0, units=0, false=0, redundant=0)
    comparison = compare_sorter_to_ground_truth(known, found, exhaustive_gt=all_known)
    accuracy = comparison.get_performance()["accuracy"].reindex(known.unit_ids).to_numpy(dtype="float64")
    scores = dict(
        accuracy=np.nan_to_num(accuracy).round(4).tolist(),
        good=int((accuracy >= GOOD_ACCURACY).sum()),
        units=int(found.get_num_units()),
    )
    if all_known:
        scores |= dict(
            false=len(comparison.get_false_positive_units()), redundant=len(comparison.get_redundant_units())
        )
    return scores


def signal_to_noise(static_spikes: BaseRecording, noise: BaseRecording, sorting: BaseSorting) -> list[float]:
    """Largest amplitude of each unit's mean spike, divided by the noise of that channel."""
    levels = _noise_levels(noise)
    means = (spikes.mean(axis=0) for spikes in _some_spikes(static_spikes, sorting))
    return [float((-mean.min(axis=0) / levels).max()) for mean in means]


def lowest_signal_to_noise(spikes: BaseRecording, noise: BaseRecording, sorting: BaseSorting) -> list[float]:
    """Where each unit is seen worst as it moves: `LOW_PERCENTILE` over its spikes of their largest amplitude by noise.

    The best interpolation can't show what no contact saw.
    """
    levels = _noise_levels(noise)
    each = ((-one.min(axis=1) / levels).max(axis=1) for one in _some_spikes(spikes, sorting))
    return [float(np.percentile(ratios, LOW_PERCENTILE)) for ratios in each]


def _noise_levels(noise: BaseRecording) -> np.ndarray:
    traces = _read(noise, np.arange(min(noise.get_num_samples(), round(noise.sampling_frequency))))
    return traces.std(axis=0)


def _some_spikes(recording: BaseRecording, sorting: BaseSorting) -> list[np.ndarray]:
    """Traces (num_spikes, num_samples, num_channels) around some spikes of each unit, spread over the recording."""
    windows = []
    for unit in sorting.unit_ids:
        frames = sorting.get_unit_spike_train(unit, segment_index=0)
        windows.append(_windows(frames[:: -(-len(frames) // SPIKES_PER_UNIT)], recording))
    traces = _read(recording, np.concatenate([window for window, _ in windows]))
    parts = np.split(traces, np.cumsum([len(window) for window, _ in windows])[:-1])
    return [
        part.reshape(number, -1, recording.get_num_channels())
        for part, (_, number) in zip(parts, windows, strict=True)
    ]


def spike_error(treated: BaseRecording, static: BaseRecording, sorting: BaseSorting, seed: int) -> float:
    r"""Relative error of treated traces around spikes, without noise.

    .. math:: \sqrt{\sum (y - x)^2 / \sum x^2}

    over all channels of `treated` (:math:`y`) and `static` (:math:`x`), around up to `SPIKES_FOR_ERROR` spikes.
    """
    frames = sorting.to_spike_vector()["sample_index"]
    chosen = np.random.default_rng(seed).choice(frames, min(SPIKES_FOR_ERROR, len(frames)), replace=False)
    window, _ = _windows(np.sort(chosen), static)
    window = np.unique(window)
    index = static.ids_to_indices(treated.channel_ids)
    truth = _read(static, window)[:, index].astype("float64")
    error = _read(treated, window) - truth
    return float(np.sqrt((error**2).sum() / (truth**2).sum()))


def with_same_rest(motion: Motion, truth: DriftTruth) -> Motion:
    """Shift a motion at each depth, by a constant in time, to the rest of the static recording.

    Which displacement is called zero is a choice that no spike can tell, and that costs a sorter nothing.
    """
    from spikeinterface.core.motion import Motion

    times, depths = motion.temporal_bins_s[0], motion.spatial_bins_um
    difference = motion.displacement[0] - true_displacement(truth, times, depths)
    shifted = motion.displacement[0] - np.median(difference, axis=0)
    return Motion([shifted], [times], depths, motion.direction, motion.interpolation_method)


def noise_scores(treated: BaseRecording, noise: BaseRecording) -> dict[str, float]:
    """Compare treated noise with the noise as it was recorded.

    Returns
    -------
    scores : dict
        Of the gain, the treated noise level by the recorded one: "noise_over_time", the median over channels of its
        coefficient of variation over windows of 1 s; "noise_along_probe", the coefficient of variation of its mean over
        channels; "noise_gain", its mean. "correlation_added" is the mean change of the correlation between nearest
        channels.
    """
    size = round(NOISE_WINDOW_S * noise.sampling_frequency)
    starts = np.linspace(0, noise.get_num_samples() - size, NOISE_WINDOWS).astype(int)
    index = noise.ids_to_indices(treated.channel_ids)
    levels, correlations = [], []
    neighbors = _nearest(treated)
    for recording, channels in ((treated, slice(None)), (noise, index)):
        level, covariance = [], 0.0
        for start in starts:
            window = recording.get_traces(0, start, start + size)[:, channels]
            level.append(window.std(axis=0, dtype="float64"))
            covariance = covariance + np.cov(window.T)
        levels.append(np.array(level))
        deviations = np.sqrt(np.diag(covariance))
        correlation = covariance / np.outer(deviations, deviations)
        correlations.append(correlation[np.arange(len(neighbors)), neighbors])
    gain = levels[0] / levels[1]
    mean_gain = gain.mean(axis=0)
    return dict(
        noise_over_time=float(np.median(gain.std(axis=0) / mean_gain)),
        noise_along_probe=float(mean_gain.std() / mean_gain.mean()),
        noise_gain=float(mean_gain.mean()),
        correlation_added=float((correlations[0] - correlations[1]).mean()),
    )


def _nearest(recording: BaseRecording) -> np.ndarray:
    from scipy.spatial import KDTree

    return KDTree(recording.get_channel_locations()).query(recording.get_channel_locations(), k=2)[1][:, 1]


def _windows(frames: np.ndarray, recording: BaseRecording) -> tuple[np.ndarray, int]:
    """Frames around those that are not too close to the ends, in rows, flattened; and the number of rows."""
    before, after = (round(ms / 1000 * recording.sampling_frequency) for ms in (BEFORE_MS, AFTER_MS))
    inside = frames[(frames >= before) & (frames < recording.get_num_samples() - after)]
    return (inside[:, np.newaxis] + np.arange(-before, after)).ravel(), len(inside)


def _read(recording: BaseRecording, frames: np.ndarray) -> np.ndarray:
    """Traces at increasing frames, or nearly so, chunk by chunk."""
    traces = np.empty((len(frames), recording.get_num_channels()), dtype="float32")
    step = round(CHUNK_S * recording.sampling_frequency)
    chunks = frames // step
    for chunk in np.unique(chunks):
        rows = chunks == chunk
        start = int(chunk) * step
        end = min(start + step, recording.get_num_samples())
        traces[rows] = recording.get_traces(0, start, end)[frames[rows] - start]
    return traces
