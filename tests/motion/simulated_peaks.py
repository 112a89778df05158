"""Peaks of units that move as a test says, as arrays, and the error of an estimate."""

import importlib

import numpy as np
from spikeinterface.core.node_pipeline import base_peak_dtype
from spikeinterface.generation import NoiseGeneratorRecording

import steadyspike  # noqa: F401  (registers the methods)
from steadyspike.simulation.drift import build_probe

RATE_HZ = 30_000.0
DEPTHS_UM = np.linspace(0, 940, 20)


def estimate_motion(*args, **kwargs):
    # looked up at each call: a name imported before steadyspike is SpikeInterface's own
    return importlib.import_module("spikeinterface.sortingcomponents.motion").estimate_motion(*args, **kwargs)


def segmented_recording(durations_s, num_channels=96):
    recording = NoiseGeneratorRecording(
        num_channels=num_channels, sampling_frequency=RATE_HZ, durations=list(durations_s), seed=0
    )
    recording.set_probe(build_probe("np1", num_channels))
    return recording


def empty_recording(duration_s, num_channels=96):
    return segmented_recording((duration_s,), num_channels)


def segmented_peaks(
    motion_of, durations_s, num_units=80, rate_hz=4.0, jitter_um=3.0, height_um=940.0, seed=0
):
    """Peaks of the same units in each segment, displaced by `motion_of(segment, times_s, depths_um)`."""
    rng = np.random.default_rng(seed)
    rest = rng.uniform(-20, height_um + 20, num_units)
    sizes = np.exp(rng.uniform(3.5, 6, num_units))
    parts, places = [], []
    for segment, duration_s in enumerate(durations_s):
        count = int(rate_hz * duration_s * num_units)
        times = np.sort(rng.uniform(0, duration_s, count))
        units = rng.integers(0, num_units, count)
        peaks = np.zeros(count, dtype=base_peak_dtype)
        peaks["segment_index"] = segment
        peaks["sample_index"] = np.minimum(times * RATE_HZ, duration_s * RATE_HZ - 1)
        peaks["amplitude"] = -sizes[units] * rng.normal(1, 0.1, count)
        locations = np.zeros(count, dtype=[("x", "float64"), ("y", "float64")])
        locations["y"] = (
            rest[units] + motion_of(segment, times, rest[units]) + jitter_um * rng.standard_normal(count)
        )
        parts.append(peaks)
        places.append(locations)
    return np.concatenate(parts), np.concatenate(places)


def drifting_peaks(motion_of, duration_s=60.0, jitter_um=2.0, **kwargs):
    """Peaks of one segment, displaced by `motion_of(times_s, depths_um)`."""
    return segmented_peaks(in_segments(motion_of), (duration_s,), jitter_um=jitter_um, **kwargs)


def in_segments(motion_of):
    """The same motion in every segment."""
    return lambda segment, times_s, depths_um: motion_of(times_s, depths_um)


def true_displacement(motion_of, segment, times, depth_um):
    """Displacement of what is seen at a depth: `motion_of` takes the depth at rest."""
    rest = np.full(times.size, depth_um)
    for _ in range(20):
        rest = depth_um - motion_of(segment, times, rest)
    return depth_um - rest


def mean_error(motion, motion_of):
    """Mean of |estimate - truth| after removing one offset for each depth, which spikes cannot tell."""
    differences = []
    for segment, times in enumerate(motion.temporal_bins_s):
        estimate = motion.get_displacement_at_time_and_depth(
            times, DEPTHS_UM, segment_index=segment, grid=True
        )
        truth = [true_displacement(motion_of, segment, times, depth) for depth in DEPTHS_UM]
        differences.append(estimate - np.stack(truth))
    difference = np.concatenate(differences, axis=1)
    return np.abs(difference - np.median(difference, axis=1, keepdims=True)).mean()


def zigzag(times_s):
    return 15 * np.abs((times_s / 12.5) % 2 - 1) - 7.5


def rigid(times_s, depths_um):
    return zigzag(times_s)


def gradient(times_s, depths_um):
    return zigzag(times_s) * (1.2 - np.asarray(depths_um) / 940)


def jump(times_s, depths_um):
    return np.where(times_s < 30, 0.0, 12.0)


def still(segment, times_s, depths_um):
    return 0.0 * times_s


def far_apart(segment, times_s, depths_um):
    """A slow drift within each segment, and offsets between them that grow along the probe."""
    offset = (0.0, 130.0, -60.0)[segment]
    stretch = (0.0, 20.0, -15.0)[segment]
    return offset + stretch * (np.asarray(depths_um) / 940 - 0.5) + 8 * np.sin(times_s / 6 + segment)
