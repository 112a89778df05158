import warnings

import numpy as np
import pytest
import spikeinterface as si

from steadyspike.core.voltage import relative_gains, voltage_signs, warn_of_unlike_scales, zero_counts


def recording_of(dtype, gains=None, offsets=None):
    recording = si.NumpyRecording([np.zeros((5, 3), dtype)], 30_000.0)
    if gains is not None:
        recording.set_channel_gains(gains)
    if offsets is not None:
        recording.set_channel_offsets(offsets)
    return recording


def test_signs_are_those_of_the_gains():
    assert voltage_signs(recording_of("int16")).tolist() == [1, 1, 1]
    assert voltage_signs(recording_of("int16", [0.2, -0.2, 0.0])).tolist() == [1, -1, 1]


@pytest.mark.parametrize(
    ("dtype", "gains", "offsets", "zeros"),
    [
        ("int16", 0.2, -6553.6, None),
        ("float32", 0.2, -6553.6, None),
        ("uint16", None, None, 32_768),
        ("uint8", None, None, 128),
        ("uint16", 0.2, 0.0, 32_768),
        ("uint16", 0.2, -6553.6, 32_768),
        ("uint16", 6.3, -512 * 6.3, 512),
        ("uint16", -0.5, 1024.0, 2048),
        ("uint16", 0.0, -1.0, 32_768),
    ],
)
def test_counts_without_a_voltage(dtype, gains, offsets, zeros):
    found = zero_counts(recording_of(dtype, gains, offsets))
    assert found is None if zeros is None else found == pytest.approx([zeros] * 3)


@pytest.mark.parametrize(
    ("gains", "offsets", "unlike"),
    [
        (None, None, None),
        (0.2, 0.0, None),
        ([0.2, 0.2, 0.200001], [1.0, 1.0, 1.0], None),
        ([0.2, 0.2, 0.4], 0.0, "gains from 0.2 to 0.4"),
        ([0.2, 0.2, -0.2], 0.0, "gains from -0.2 to 0.2"),
        (0.2, [0.0, 5.0, 0.0], "offsets from 0 to 5"),
    ],
)
def test_unlike_scales_are_told(gains, offsets, unlike):
    recording = recording_of("int16", gains, offsets)
    if unlike is None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warn_of_unlike_scales(recording, "part")
    else:
        with pytest.warns(UserWarning, match=unlike):
            warn_of_unlike_scales(recording, "part")


def test_relative_gains():
    assert relative_gains(recording_of("int16")).tolist() == [1, 1, 1]
    assert relative_gains(recording_of("int16", 0.195)).tolist() == [1, 1, 1]
    assert relative_gains(recording_of("int16", [0.2, -0.2, 0.4])) == pytest.approx([1, -1, 2])
    assert relative_gains(recording_of("int16", [0.2, 0.0, 0.4])).tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("dtype", "middle"),
    [("uint8", 128), ("uint16", 2048), ("uint16", 512), ("uint16", 32_768), ("uint32", 2**31)],
)
def test_the_middle_of_the_range_is_seen_in_the_samples(dtype, middle):
    traces = np.random.default_rng(0).normal(1.05 * middle, 0.02 * middle, size=(50, 3)).astype(dtype)
    empty = np.zeros((0, 3), dtype)
    recording = si.NumpyRecording([empty, traces], 30_000.0)
    assert zero_counts(recording).tolist() == [middle] * 3
    recording.set_channel_gains([0.2, 0.0, 0.2])
    recording.set_channel_offsets([-20.0, -20.0, 0.0])
    assert zero_counts(recording) == pytest.approx([100.0, middle, middle])
