"""`detect_bad_channels`, the labels of each chunk and the measures that are compared with a threshold; interpolation.

Labels are SpikeInterface's: where a measure is so near to its threshold that another order of sums could change the
label, the chunk or the call is left to SpikeInterface.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from steadyspike.integration.acceleration.calls import NotCoveredError, upstreams_own
from steadyspike.integration.acceleration.declarations import replaces
from steadyspike.integration.acceleration.sources import original_of
from steadyspike.integration.acceleration.threads import over_ranges
from steadyspike.kernels.channels.band_power import band_power
from steadyspike.kernels.channels.channel_quality import (
    likeness_to_all,
    likeness_to_neighbours,
    scaled_means,
)
from steadyspike.kernels.channels.column_statistics import column_median_deviations
from steadyspike.kernels.channels.moments import column_standard_deviations
from steadyspike.kernels.lanes import memory

MODULE = "spikeinterface.preprocessing.detect_bad_channels"
CLOSEST = 1e-4
"""Distance from a threshold within which SpikeInterface decides; of power, in units of the threshold."""


@replaces(
    MODULE,
    "_detect_bad_channels_chunk",
    name="detect_bad_channels",
    sources=("825427e095af14d7",),
    helpers=("_detect_bad_channels_chunk_init", "detect_bad_channels_ibl", "shrinking_median_filter"),
)
def labels_of_chunk(
    segment_index: int, start_frame: int, end_frame: int, worker_context: dict[str, Any]
) -> np.ndarray:
    """Do what `_detect_bad_channels_chunk` does: 0 good, 1 dead, 2 noisy, 3 outside, of "coherence+psd".

    Covered: integers of 16 bits and floats, with gains; chunks that hold a window of the spectrum and no value that is
    not finite.
    """
    recording, settings = (worker_context[key] for key in ("recording", "method_kwargs"))
    fs, dtype = recording.sampling_frequency, recording.get_dtype()
    window = int(settings["welch_window_ms"] * fs / 1000)
    lowest = fs / 2 * settings["nyquist_threshold"]
    if dtype not in ("int16", "uint16", "float32") or not recording.has_scaleable_traces():
        raise NotCoveredError(f"samples of {dtype}, or without gains")
    if not 1 < window <= end_frame - start_frame or not (np.fft.rfftfreq(window, 1 / fs) > lowest).any():
        raise NotCoveredError("a chunk shorter than a window of the spectrum, or no frequencies to look at")
    chunk = recording.get_traces(
        start_frame=start_frame, end_frame=end_frame, segment_index=segment_index, return_in_uV=False
    )
    gains, offsets = (
        recording.get_property(name).astype("float32") for name in ("gain_to_uV", "offset_to_uV")
    )
    means = scaled_means(chunk, gains, offsets)
    likeness = likeness_to_all(chunk, gains, offsets, means, over_ranges)
    with np.errstate(divide="ignore", invalid="ignore"):
        levels = (means - offsets) / gains
    power = band_power(chunk, fs, window, lowest, levels, over_ranges) * np.square(gains)
    if not (np.isfinite(likeness).all() and np.isfinite(power).all()):
        raise NotCoveredError("samples that are not finite, or a median of 0 throughout")
    order, back = settings["order_f"], settings["order_r"]
    if order is None:
        return _labels(likeness, power, settings)
    return np.asarray(_labels(likeness[order], power[order], settings)[back])


def _labels(likeness: np.ndarray, power: np.ndarray, settings: dict[str, Any]) -> np.ndarray:
    """Compare what was measured with the thresholds; outside counts before noisy, and noisy before dead."""
    trend = shrinking_medians(likeness, settings["n_neighbors"])
    beside = likeness - trend
    labels = np.zeros(len(likeness), dtype=int)
    labels[_less(beside, settings["dead_channel_threshold"])] = 1
    noisy = _less(-beside, -settings["noisy_channel_threshold"])
    threshold = settings["psd_hf_threshold"]
    labels[noisy | _less(-power, -threshold, scale=threshold)] = 2
    outside = _less(trend, settings["outside_channel_threshold"] + 1)
    where = settings["outside_channels_location"]
    if where in ("top", "both"):
        labels[np.logical_and.accumulate(outside[::-1])[::-1]] = 3
    if where in ("bottom", "both"):
        labels[np.logical_and.accumulate(outside)] = 3
    return labels


def _less(values: np.ndarray, threshold: float, scale: float = 1.0) -> np.ndarray:
    """Tell which values are below a threshold, if that is certain for all."""
    if (np.abs(values - threshold) < CLOSEST * scale).any():
        raise NotCoveredError("a measure too near to its threshold to be sure of SpikeInterface's label")
    return np.asarray(values < threshold)


def shrinking_medians(values: np.ndarray, size: int) -> np.ndarray:
    """Give the median of `size` values around each, fewer at the ends: SpikeInterface's `shrinking_median_filter`."""
    half = size // 2
    padded = np.pad(values, half, constant_values=np.nan)
    # NaN comes last
    windows = np.sort(np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1), axis=1)
    places = np.arange(len(values))
    last = np.minimum(places, half) + np.minimum(places[::-1], half)
    lower, upper = windows[places, last // 2], windows[places, (last + 1) // 2]
    return np.asarray((lower + upper) / values.dtype.type(2))


@replaces(
    MODULE,
    "detect_bad_channels",
    name="detect_bad_channels",
    sources=("e2ef580634fd49a8",),
    also_in=(
        "spikeinterface.preprocessing",
        "spikeinterface.preprocessing.interpolate_bad_channels",
        "spikeinterface.full",
    ),
)
def detect_bad_channels(
    recording: Any,
    method: str = "coherence+psd",
    std_mad_threshold: float = 5,
    psd_hf_threshold: float = 0.02,
    dead_channel_threshold: float = -0.5,
    noisy_channel_threshold: float = 1.0,
    outside_channel_threshold: float = -0.75,
    outside_channels_location: str = "top",
    n_neighbors: int = 11,
    nyquist_threshold: float = 0.8,
    direction: str = "y",
    chunk_duration_s: float = 0.3,
    num_random_chunks: int = 100,
    welch_window_ms: float = 10.0,
    highpass_filter_cutoff: float = 300,
    neighborhood_r2_threshold: float = 0.9,
    neighborhood_r2_radius_um: float = 30.0,
    seed: int | None = None,
    channel_filters: set | None = None,
    job_kwargs: dict | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Do what `detect_bad_channels` does.

    Covered: "std" and "mad" of integers and floats; "neighborhood_r2" of finite samples, where each channel has a
    neighbour. Of "coherence+psd" SpikeInterface draws the chunks, and `labels_of_chunk` does each.
    """
    arguments = locals()
    if method not in ("std", "mad", "neighborhood_r2"):
        with upstreams_own():
            found: tuple[np.ndarray, np.ndarray] = original_of(MODULE, "detect_bad_channels")(**arguments)
            return found
    from spikeinterface.core import get_random_data_chunks
    from spikeinterface.preprocessing import highpass_filter

    filtered = recording
    if not recording.is_filtered():
        filtered = highpass_filter(recording, freq_min=highpass_filter_cutoff)
    data = get_random_data_chunks(
        filtered,
        num_chunks_per_segment=num_random_chunks,
        chunk_size=int(chunk_duration_s * recording.sampling_frequency),
        seed=seed,
        return_in_uV=False,
        concatenated=method != "neighborhood_r2",
    )
    if method == "neighborhood_r2":
        bad = _unlike_neighbours(recording, data, neighborhood_r2_threshold, neighborhood_r2_radius_um)
    else:
        bad = _spread_widely(data, method, std_mad_threshold)
    labels = np.where(bad, "noise", "good").astype("U5")
    return recording.channel_ids[bad], labels


def _spread_widely(data: np.ndarray, method: str, threshold: float) -> np.ndarray:
    """Tell whose standard or median absolute deviation is above so many times the median of all."""
    if data.dtype not in ("int16", "int32", "float32", "float64") or data.size == 0:
        raise NotCoveredError(f"{len(data)} samples of {data.dtype}")
    if method == "std":
        deviations = column_standard_deviations(data, over_ranges)
    else:
        deviations = column_median_deviations(data, over_ranges)[1]
    # with numpy's digits, so that nothing is near
    return np.asarray(deviations > threshold * np.median(deviations))


def _unlike_neighbours(
    recording: Any, chunks: list[np.ndarray], threshold: float, radius_um: float
) -> np.ndarray:
    """Tell whose squared correlation with the median of its neighbours is too small, in the median chunk."""
    places = recording.get_channel_locations()
    apart_um = np.linalg.norm(places[:, None, :] - places[None, :, :], axis=2)
    np.fill_diagonal(apart_um, radius_um + 1)
    neighbours = [np.flatnonzero(row < radius_um) for row in apart_um]
    if min(map(len, neighbours)) < 1:
        raise NotCoveredError("channels without neighbours, of which SpikeInterface warns")
    for chunk in chunks:
        if chunk.dtype.kind not in "iuf" or len(chunk) == 0 or not np.isfinite(chunk.sum(dtype="float64")):
            raise NotCoveredError(f"{len(chunk)} samples of {chunk.dtype}, or some that are not finite")
    likeness = [likeness_to_neighbours(chunk, neighbours, over_ranges) for chunk in chunks]
    r2 = np.square(np.median(likeness, axis=0))
    if (np.abs(r2 - threshold) < CLOSEST).any():
        raise NotCoveredError("a correlation too near to its threshold to be sure of SpikeInterface's label")
    return np.asarray(r2 < threshold)


@replaces(
    "spikeinterface.preprocessing.interpolate_bad_channels",
    "InterpolateBadChannelsSegment.get_traces",
    name="interpolate_bad_channels",
    sources=("3a21ea64450bc4c1",),
    helpers=("InterpolateBadChannelsSegment.__init__",),
)
def with_channels_interpolated(
    self: Any, start_frame: int, end_frame: int, channel_indices: Any
) -> np.ndarray:
    """Do what `InterpolateBadChannelsSegment.get_traces` does, from the few channels that have a weight.

    Covered: integers, and floats that are finite.
    """
    traces = self.parent_recording_segment.get_traces(start_frame, end_frame, slice(None))
    if traces.dtype.kind not in "iu" and not np.isfinite(traces.sum(dtype="float64")):
        raise NotCoveredError("samples that are not finite")
    used = self._weights.any(axis=1)
    # indices, or a mask
    good = np.arange(traces.shape[1])[self._good_channel_indices]
    neighbours = traces[:, good[used]]
    interpolated = memory.result(traces.shape, traces.dtype)
    interpolated[:] = traces
    interpolated[:, self._bad_channel_indices] = neighbours @ self._weights[used]
    return interpolated[:, slice(None) if channel_indices is None else channel_indices]
