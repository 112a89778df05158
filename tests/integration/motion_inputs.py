"""Peaks of a drifting recording as arrays, and a comparison of SpikeInterface's estimates with and without us."""

import gc

import numpy as np
import spikeinterface.full as si
from spikeinterface.sortingcomponents.motion import estimate_motion

import steadyspike
from steadyspike.integration.acceleration import calls

DURATION_S = 60.0


def drifting_peaks(num_peaks=6000, seed=0, t_start=None, duration_s=DURATION_S, frequency=1000.0):
    """A recording without traces of interest, and its peaks and their locations."""
    rng = np.random.default_rng(seed)
    recording = si.NumpyRecording([np.zeros((int(duration_s * frequency), 64), dtype="float32")], frequency)
    recording.set_dummy_probe_from_locations(
        np.column_stack([np.tile([0.0, 20.0], 32), np.repeat(np.arange(32) * 20.0, 2)])
    )
    if t_start is not None:
        recording.shift_times(t_start)
    depths, amplitudes = rng.uniform(0, 620, 60), rng.lognormal(4.5, 0.5, 60)
    unit = rng.integers(0, 60, num_peaks)
    peaks = np.zeros(num_peaks, dtype=PEAK_DTYPE)
    peaks["sample_index"] = np.sort(rng.integers(0, recording.get_num_samples(), num_peaks))
    peaks["amplitude"] = -amplitudes[unit] * rng.lognormal(0, 0.1, num_peaks)
    times = peaks["sample_index"] / frequency
    locations = np.zeros(num_peaks, dtype=[("x", "float64"), ("y", "float64"), ("z", "float64")])
    drift = 25.0 * np.abs(times / 30.0 % 2 - 1) * (0.5 + depths[unit] / 1200.0)
    locations["y"] = depths[unit] + drift + rng.normal(0, 3.0, num_peaks)
    return recording, peaks, locations


PEAK_DTYPE = [
    ("sample_index", "int64"),
    ("channel_index", "int64"),
    ("amplitude", "float64"),
    ("segment_index", "int64"),
]


def both(inputs, **arguments):
    """Estimates and extra outputs of SpikeInterface, ours, and ours without extra outputs."""
    theirs = estimate_motion(*inputs, extra_outputs=True, **arguments)
    calls.forget()
    with steadyspike.accelerate():
        ours = estimate_motion(*inputs, extra_outputs=True, **arguments)
        alone = estimate_motion(*inputs, **arguments)
        report = steadyspike.accelerated()
    return theirs, ours, alone, report


def assert_same(theirs, ours, atol=0.01):
    """Same bins, same kind of arrays, same displacement."""
    assert ours.direction == theirs.direction
    assert ours.num_segments == theirs.num_segments == 1
    np.testing.assert_array_equal(ours.temporal_bins_s[0], theirs.temporal_bins_s[0])
    np.testing.assert_array_equal(ours.spatial_bins_um, theirs.spatial_bins_um)
    assert ours.displacement[0].dtype == theirs.displacement[0].dtype
    assert ours.displacement[0].shape == theirs.displacement[0].shape
    np.testing.assert_allclose(ours.displacement[0], theirs.displacement[0], rtol=0, atol=atol)


def assert_same_extra(theirs, ours):
    """Same keys, shapes and types; nearly all values equal, as a tie may be decided otherwise."""
    assert list(ours) == list(theirs)
    for key, value in theirs.items():
        mine = ours[key]
        if isinstance(value, list):
            assert len(mine) == len(value), key
        value, mine = np.asarray(value, dtype=object if value is None else None), np.asarray(mine)
        assert mine.shape == value.shape, key
        if value.dtype.kind == "f" and value.size:
            assert mine.dtype == value.dtype, key
            assert np.mean(~np.isclose(mine, value, rtol=1e-4, atol=1e-5)) < 1e-3, key


def without_collection(monkeypatch):
    """SpikeInterface collects garbage in each of its iterations, which takes seconds and changes nothing."""
    monkeypatch.setattr(gc, "collect", lambda *_: 0)
